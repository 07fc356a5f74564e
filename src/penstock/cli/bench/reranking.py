"""What a switch of the strategy costs: everything that waits is ranked anew while others go on committing."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator

from penstock.cli.bench.measurement import BenchOptions, Figure, Measurement, at_most
from penstock.cli.bench.rig import CHUNK, DATA, running, scratch
from penstock.manager import Manager, Submission
from penstock.stores.sqlite.store import Durability

TENANTS = 10_000

# By size scatters what lay in order; from there into flows; and back from an order that is unlike the file's.
SWITCHES = ("shortest_job_first", "fair", "fifo")

BETWEEN_SECONDS = 0.005


def _rerank(options: BenchOptions) -> Iterator[Figure]:
    for durability in options.durable("normal"):
        yield from asyncio.run(_switches(options, durability))


async def _switches(options: BenchOptions, durability: Durability) -> list[Figure]:
    count = options.size(100_000, 3_000)
    figures = []
    with scratch(options.directory) as folder:
        async with running(folder, durability) as manager:
            await _fill(manager, count)
            for name in SWITCHES:
                figures += await _switch(manager, name, count, durability)
    return figures


async def _fill(manager: Manager, count: int) -> None:
    """Tasks of many tenants and sizes, neither in the order in which they entered."""
    for begin in range(0, count, CHUNK):
        await manager.submit_many(
            [
                Submission("bench", DATA, tenant=f"tenant-{place % TENANTS}", size=place * 7919 % 10_007)
                for place in range(begin, min(begin + CHUNK, count))
            ]
        )


async def _switch(manager: Manager, name: str, count: int, durability: Durability) -> list[Figure]:
    waits: list[float] = []
    others = asyncio.create_task(_submit_on(manager, waits))
    begun = time.perf_counter()
    done = await manager.switch_strategy(name)
    seconds = time.perf_counter() - begun
    others.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await others
    if done < count:
        raise AssertionError(f"{done} of {count} waiting tasks were ranked anew")
    note = f"one task after another was submitted meanwhile, {len(waits)} in all"
    return [
        Figure(f"{done:,} ranked anew as {name}, {durability}", seconds, "s", None, at_most(1.5)),
        Figure(
            "  longest wait for another commit", 1e3 * max(waits, default=0.0), "ms", None, at_most(100), note
        ),
    ]


async def _submit_on(manager: Manager, waits: list[float]) -> None:
    """Submit one task at a time until cancelled; how long each waited for its commit."""
    while True:
        begun = time.perf_counter()
        await manager.submit("bench", DATA)
        waits.append(time.perf_counter() - begun)
        await asyncio.sleep(BETWEEN_SECONDS)


RERANK = Measurement(
    "rerank", "a switch of the strategy with 100,000 waiting, others commit meanwhile", _rerank
)
