"""How quickly durable no-op tasks are worked off, from the claim to the stored result."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from statistics import median

from penstock.cli.bench.measurement import BenchOptions, Figure, Measurement, at_least
from penstock.cli.bench.rig import Ends, add_beforehand, raw, running, scratch
from penstock.stores.sqlite.store import Durability


def _drain(options: BenchOptions) -> Iterator[Figure]:
    count, rounds = options.size(50_000, 2_000), options.size(3, 1)
    for durability in options.durable("normal", "full"):
        # Taking turns: a machine that is slow for a while is slow for both.
        pairs = [
            (
                asyncio.run(drained(options, durability, count)),
                raw(options, durability, count).claim_and_finish,
            )
            for _ in range(rounds)
        ]
        rate, yardstick = median(ours for ours, _ in pairs), median(theirs for _, theirs in pairs)
        yield Figure(f"drain, {durability}", rate, "tasks/s", yardstick, at_least(8_000))
        yield Figure(f"share of raw, {durability}", rate / yardstick, "x", None, at_least(1 / 3))


async def drained(options: BenchOptions, durability: Durability, count: int) -> float:
    """Tasks per second, all of them added beforehand."""
    with scratch(options.directory) as folder:
        async with running(folder, durability) as manager:
            await add_beforehand(manager, count)
            ends = Ends(manager, count)
            begun = time.perf_counter()
            await manager.resume()
            await ends.wait()
            return count / (time.perf_counter() - begun)


DRAIN = Measurement(
    "drain", "durable no-op tasks per second, results stored; raw: claim + finish by 100", _drain
)
