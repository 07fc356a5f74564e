"""Many tasks that wait at the same time: how long they take beyond the wait itself, and how much memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from penstock.cli.bench.measurement import BenchOptions, Figure, Measurement, at_most
from penstock.cli.bench.processes import in_fresh_process, peak_bytes
from penstock.cli.bench.rig import Ends, add_beforehand, raw, running, scratch
from penstock.runtime.context import TaskContext
from penstock.stores.sqlite.store import Durability

SECONDS = 1.0


def _sleeps(options: BenchOptions) -> Iterator[Figure]:
    count = options.size(10_000, 500)
    for durability in options.durable("normal"):
        makespan, memory = in_fresh_process(slept, options, durability, count)
        alone = SECONDS + count / raw(options, durability, count).claim_and_finish
        yield Figure(
            f"{count:,} sleeps of {SECONDS:g} s, {durability}",
            makespan,
            "s",
            alone,
            at_most(2.3),
            "raw: the sleep, and claim and finish of as many rows",
        )
        if memory is not None:
            yield Figure(f"peak memory, {durability}", memory / 1e6, "MB", None, at_most(600))


def slept(options: BenchOptions, durability: Durability, count: int) -> tuple[float, int | None]:
    """Seconds from start to last finish, and peak memory of this process."""
    return asyncio.run(_makespan(options, durability, count)), peak_bytes()


async def _makespan(options: BenchOptions, durability: Durability, count: int) -> float:
    async def handler(context: TaskContext) -> None:
        await asyncio.sleep(SECONDS)

    with scratch(options.directory) as folder:
        async with running(folder, durability, handler, max_concurrent=count) as manager:
            await add_beforehand(manager, count)
            ends = Ends(manager, count)
            begun = time.perf_counter()
            await manager.resume()
            await ends.wait()
            return time.perf_counter() - begun


SLEEPS = Measurement(
    "sleeps", "10,000 tasks that sleep a second, added beforehand, all open at once", _sleeps
)
