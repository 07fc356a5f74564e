"""Calls paid again after `kill -9` of a process that runs a graph: Penstock, and LangGraph's own saver."""

from __future__ import annotations

import contextlib
import importlib.util
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.cli.bench.measurement import BenchOptions, Figure, Measurement, at_most
from penstock.errors import ConfigurationError, MissingExtra, PenstockError
from penstock.simulator import Latency, SimulatorConfig, SimulatorThread, request_hash
from penstock.stores.sqlite.store import SqliteStore

if TYPE_CHECKING:
    from penstock.cli.bench.langgraph_lives import Shape, Side

LIVES = "penstock.cli.bench.langgraph_lives"
PATIENCE = 60.0
RANDOM_KILLS = 50
AT_A_TIME = 2


@dataclass(frozen=True, slots=True)
class Kill:
    """Kill `after` seconds after the provider saw so many calls arrive; a run that ends before is left
    alone."""

    calls: int
    after: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run that was killed once cost: how often each call was paid, and how many calls the kill left
    open (as the store knows; `None` for LangGraph, whose store does not)."""

    paid: tuple[int, ...]
    killed: bool
    open: int | None

    @property
    def total(self) -> int:
        return sum(self.paid)

    @property
    def again(self) -> int:
        return self.total - len(self.paid)


class Killer:
    """Runs graphs in processes of their own, against a provider of its own, and kills them."""

    def __init__(self, latency: float) -> None:
        self._simulator = SimulatorThread(SimulatorConfig(latency=Latency(latency)))
        self._context: Any = get_context("spawn" if sys.platform == "win32" else "forkserver")
        if sys.platform != "win32":
            self._context.set_forkserver_preload([LIVES])

    def __enter__(self) -> Killer:
        self._simulator.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._simulator.stop()

    def run(self, side: Side, shape: Shape, kill: Kill, folder: Path) -> Outcome:
        """One run to its end, killed once. Raises `PenstockError` when the graph's result is not whole."""
        from penstock.cli.bench.langgraph_lives import PATH, body

        self._simulator.reset()
        store = folder / f"{side}.db"
        process, ends = self._begin(side, shape, store)
        killed = self._kill(process, ends, kill)
        open = _open(store) if killed and side == "penstock" else None
        said = _result(process, ends) if not killed else None
        if killed:
            process, ends = self._begin(side, shape, store)
            said = _result(process, ends)
        if said is None or [line.split(":")[0] for line in said] != [str(n) for n in range(shape.calls)]:
            raise PenstockError(f"{side}: the graph of {shape} ended with {said!r}")
        hashes = [request_hash(PATH, body(number)) for number in range(shape.calls)]
        return Outcome(tuple(sum(self._simulator.paid_for(one)) for one in hashes), killed, open)

    def _begin(self, side: Side, shape: Shape, store: Path) -> tuple[BaseProcess, Any]:
        from penstock.cli.bench.langgraph_lives import live

        ours, theirs = self._context.Pipe(duplex=False)
        arguments = (side, shape, str(store), self._simulator.base_url, theirs)
        process = self._context.Process(target=live, args=arguments, name=f"graph-{side}", daemon=True)
        process.start()
        theirs.close()
        return process, ours

    def _kill(self, process: BaseProcess, ends: Any, kill: Kill) -> bool:
        """Whether it came to the kill."""
        deadline = time.monotonic() + PATIENCE
        while self._simulator.stats()["calls"] < kill.calls:
            if time.monotonic() > deadline:
                process.kill()
                raise PenstockError(f"no {kill.calls} calls came in {PATIENCE:g} seconds")
            if ends.poll() or not process.is_alive():
                return False
            time.sleep(0.002)
        time.sleep(kill.after)
        if ends.poll():
            return False
        process.kill()
        process.join()
        ends.close()
        return True


def _result(process: BaseProcess, ends: Any) -> list[str] | None:
    """What the graph said, once its process has ended."""
    try:
        said: list[str] | None = ends.recv() if ends.poll(PATIENCE) else None
    except EOFError:
        said = None
    process.join(PATIENCE)
    if process.is_alive():
        process.kill()
        process.join()
    return said


def _open(store: Path) -> int:
    """How many calls have gone out (or may have) of which the store knows no end."""
    if not store.exists():
        return 0
    # Not only to read: what the killed process left in its log has to be taken in first.
    with contextlib.closing(SqliteStore.open(str(store))) as opened:
        return len(opened.read(lambda reader: reader.reservations(("held",))))


def cases() -> list[tuple[str, Shape, Kill, int]]:
    """Name, graph, kill, and the most that may be paid."""
    from penstock.cli.bench.langgraph_lives import Shape

    return [
        ("one node of six calls, killed at the fourth", Shape("loop", 6), Kill(4, 0.02), 7),
        ("six nodes of one call, killed at the fourth", Shape("chain", 6), Kill(4, 0.02), 7),
        ("a fan-out of eight, killed at the fifth", Shape("fan", 8), Kill(5, 0.02), 9),
        ("the same fan-out by max_concurrency 1", Shape("fan", 8, bounded=True), Kill(5, 0.02), 9),
    ]


def killed_anywhere(
    shape: Shape, kills: Sequence[Kill], side: Side, directory: Path | None = None
) -> list[Outcome]:
    """The outcome of one run for each of these kills, two at a time."""

    def some(mine: Sequence[Kill]) -> list[Outcome]:
        with Killer(SHORT) as killer:
            return [_in_scratch(killer, side, shape, kill, directory) for kill in mine]

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        parts = pool.map(some, [kills[place::AT_A_TIME] for place in range(AT_A_TIME)])
        return [one for part in parts for one in part]


SHORT = 0.03


def random_kills(shape: Shape, count: int, seed: int = 0) -> list[Kill]:
    """Kills spread over the whole run: between any two calls, inside of any, before the first and behind the
    last."""
    chance = random.Random(f"{seed} {shape}")
    return [Kill(chance.randint(0, shape.calls), chance.uniform(0, 1.5 * SHORT)) for _ in range(count)]


def _in_scratch(killer: Killer, side: Side, shape: Shape, kill: Kill, directory: Path | None) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="penstock-bench-", dir=directory) as folder:
        return killer.run(side, shape, kill, Path(folder))


def measure(options: BenchOptions) -> Iterator[Figure]:
    """What graphs cost as tasks; kills side by side, and random ones."""
    if importlib.util.find_spec("langgraph") is None:
        raise MissingExtra("langgraph", "langgraph")
    if importlib.util.find_spec("langgraph.checkpoint.sqlite") is None:
        raise ConfigurationError("to compare with it, run: pip install langgraph-checkpoint-sqlite")
    from penstock.cli.bench.langgraph_costs import costs

    yield from costs(options)
    theirs = "RAW is LangGraph alone with its AsyncSqliteSaver, durability sync, in the same run"
    with Killer(0.15) as killer:
        for name, shape, kill, most in cases():
            paid = {
                side: _in_scratch(killer, side, shape, kill, options.directory).total
                for side in ("langgraph", "penstock")
            }
            yield Figure(f"{name}: paid", paid["penstock"], "calls", paid["langgraph"], at_most(most), theirs)
    for name, shape, _, _ in cases():
        kills = random_kills(shape, options.size(RANDOM_KILLS, 2))
        ours = killed_anywhere(shape, kills, "penstock", options.directory)
        alone = killed_anywhere(shape, kills, "langgraph", options.directory)
        killed = sum(one.killed for one in ours)
        open = sum(one.open or 0 for one in ours)
        if over := [one for one in ours if one.again > (one.open or 0)]:
            raise PenstockError(f"{name}: paid again without a call that the kill left open: {over}")
        again = sum(one.again for one in ours)
        note = f"{name}: {killed} of {len(kills)} random kills came before the end"
        figure = f"{name.split(',')[0]}, {len(kills)} random kills: paid again"
        yield Figure(figure, again, "calls", sum(one.again for one in alone), at_most(open), note)


LANGGRAPH = Measurement(
    "langgraph", "graphs as tasks, and calls that are paid again after kill -9", measure, long=True
)
