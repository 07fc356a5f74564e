"""`python -m penstock.testing.simulation`: play many seeds, or one with everything that happened in it."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

from penstock.testing.simulation.world import Outcome, simulate

HASH_SEED = "0"
CHUNK = 10


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every invariant held in every seed, else 1."""
    _same_hashes()
    given = _parser().parse_args(arguments)
    if given.seed is not None:
        outcome = simulate(given.seed, keep_trace=given.trace)
        _tell(outcome, lines=given.trace or bool(outcome.breaches))
        return 1 if outcome.breaches else 0
    began, failed, seconds, calls = time.perf_counter(), 0, 0.0, 0
    for outcome in played(range(given.first, given.first + given.seeds), given.jobs):
        seconds, calls = seconds + outcome.seconds, calls + outcome.calls
        if outcome.breaches:
            failed += 1
            _tell(outcome, lines=False)
    took = time.perf_counter() - began
    print(
        f"{given.seeds} seeds from {given.first}: {failed} failed; "
        f"{calls} calls in {seconds / 3600:.1f} virtual hours took {took:.1f} s"
    )
    return 1 if failed else 0


def played(seeds: range, jobs: int = 1) -> Iterator[Outcome]:
    """The outcomes of these seeds, in order."""
    if jobs == 1:
        yield from map(simulate, seeds)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(simulate, seeds, chunksize=CHUNK)


def _tell(outcome: Outcome, lines: bool) -> None:
    if lines:
        print("\n".join(outcome.lines))
    print(
        f"seed {outcome.seed}: {'; '.join(outcome.breaches[:3]) or 'every invariant held'} "
        f"({outcome.seconds:.1f} virtual s, {outcome.transactions} transactions, {outcome.calls} calls, "
        f"trace {outcome.digest})"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m penstock.testing.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, metavar="N", help="how many seeds to play")
    parser.add_argument("--from", type=int, default=0, dest="first", metavar="N", help="the first of them")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes side by side")
    parser.add_argument("--seed", type=int, metavar="N", help="play this one, and show how it ended")
    parser.add_argument("--trace", action="store_true", help="with --seed: show all that happened")
    return parser


def _same_hashes() -> None:
    """Sets must come in the same order in every process that replays a seed."""
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
        environment = {**os.environ, "PYTHONHASHSEED": HASH_SEED}
        os.execve(
            sys.executable, [sys.executable, "-m", "penstock.testing.simulation", *sys.argv[1:]], environment
        )
