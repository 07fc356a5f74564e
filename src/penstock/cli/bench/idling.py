"""How soon an idle node starts a task: from the return of `submit` to the handler's first line."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator

from penstock.cli.bench.measurement import BenchOptions, Figure, Measurement, at_most
from penstock.cli.bench.rig import DATA, raw, running, scratch
from penstock.runtime.context import TaskContext
from penstock.stores.sqlite.store import Durability

PAUSE_SECONDS = (0.002, 0.008)


def _idle(options: BenchOptions) -> Iterator[Figure]:
    count = options.size(2_000, 100)
    for durability in options.durable("normal"):
        seconds = sorted(asyncio.run(_latencies(options, durability, count)))
        alone = 1e3 / raw(options, durability, count, batch=1).claim
        yield Figure(
            f"p50, {durability}", seconds[count // 2] * 1e3, "ms", alone, note="raw: a claim of one row"
        )
        yield Figure(f"p99, {durability}", seconds[count * 99 // 100] * 1e3, "ms", None, at_most(5))
        yield Figure(f"largest of {count:,}, {durability}", seconds[-1] * 1e3, "ms")


async def _latencies(options: BenchOptions, durability: Durability, count: int) -> list[float]:
    """Seconds of each submission; 0 when the handler began before `submit` had returned."""
    chance = random.Random(1)
    began: asyncio.Future[float]

    async def handler(context: TaskContext) -> None:
        began.set_result(time.perf_counter())

    latencies = []
    with scratch(options.directory) as folder:
        async with running(folder, durability, handler, paused=False) as manager:
            for _ in range(count):
                began = asyncio.get_running_loop().create_future()
                id = await manager.submit("bench", DATA)
                returned = time.perf_counter()
                latencies.append(max(0.0, await began - returned))
                await manager.wait(id)
                await asyncio.sleep(chance.uniform(*PAUSE_SECONDS))
    return latencies


IDLE = Measurement("idle", "from the return of submit to the handler's first line, nothing else to do", _idle)
