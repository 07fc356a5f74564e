"""How quickly tasks are accepted: durable when `submit` returns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from penstock.cli.bench.measurement import BenchOptions, Figure, Measurement
from penstock.cli.bench.rig import CHUNK, DATA, add_beforehand, raw, running, scratch
from penstock.stores.sqlite.store import Durability

SUBMITTERS = 100


def _add_one(options: BenchOptions) -> Iterator[Figure]:
    count = options.size(2_000, 200)
    for durability in options.durable("normal", "full"):
        alone = raw(options, durability, count, batch=1).add
        together = raw(options, durability, 10 * count).add
        one, many = asyncio.run(_singly(options, durability, count))
        yield Figure(
            f"one after another, {durability}",
            one,
            "tasks/s",
            alone,
            note="raw of one after another: one row a transaction",
        )
        yield Figure(
            f"{SUBMITTERS} submitters, {durability}",
            many,
            "tasks/s",
            together,
            note="raw of submitters: 100 rows a transaction",
        )


async def _singly(options: BenchOptions, durability: Durability, count: int) -> tuple[float, float]:
    """Tasks per second of one submitter, and of many at once that each await every submission."""
    with scratch(options.directory) as folder:
        async with running(folder, durability) as manager:

            async def submit(number: int) -> None:
                for _ in range(number):
                    await manager.submit("bench", DATA)

            begun = time.perf_counter()
            await submit(count)
            alone = count / (time.perf_counter() - begun)
            each = max(1, 10 * count // SUBMITTERS)
            begun = time.perf_counter()
            async with asyncio.TaskGroup() as group:
                for _ in range(SUBMITTERS):
                    group.create_task(submit(each))
            return alone, each * SUBMITTERS / (time.perf_counter() - begun)


def _add_bulk(options: BenchOptions) -> Iterator[Figure]:
    count = options.size(50_000, 2_000)
    for durability in options.durable("normal", "full"):
        yardstick = raw(options, durability, count, CHUNK).add
        yield Figure(
            f"in bulk, {durability}", asyncio.run(_bulk(options, durability, count)), "tasks/s", yardstick
        )


async def _bulk(options: BenchOptions, durability: Durability, count: int) -> float:
    with scratch(options.directory) as folder:
        async with running(folder, durability) as manager:
            begun = time.perf_counter()
            await add_beforehand(manager, count)
            return count / (time.perf_counter() - begun)


ADD_ONE = Measurement("add-one", "tasks accepted per second, each submission awaited", _add_one)
ADD_BULK = Measurement("add-bulk", f"tasks accepted per second, {CHUNK:,} a transaction", _add_bulk)
