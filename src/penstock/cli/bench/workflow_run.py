"""What a workflow costs: nodes that do nothing, nodes that take a while, and a diamond."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from statistics import median
from typing import Any

from penstock.cli.bench.measurement import BenchOptions, Figure, Measurement, at_most
from penstock.cli.bench.rig import RESULT, nothing, running, scratch
from penstock.runtime.context import TaskContext
from penstock.stores.sqlite.store import Durability

LAYERS, NEEDS = 10, 3
SLEEP = 0.5


def _workflows(options: BenchOptions) -> Iterator[Figure]:
    width, rounds = options.size(100, 10), options.size(5, 1)
    for durability in options.durable("normal", "full"):
        spent = [timed(options, durability, layered(width), nothing) for _ in range(rounds)]
        yield Figure(
            f"no-op node of {LAYERS * width:,} in {LAYERS} layers, {durability}",
            1_000 * median(spent) / (LAYERS * width),
            "ms",
            None,
            at_most(0.5),
            "from submit to result",
        )
    yield from _makespans(options, width)
    yield from _diamonds(options)


def _makespans(options: BenchOptions, width: int) -> Iterator[Figure]:
    async def wait(context: TaskContext) -> dict[str, bool]:
        await asyncio.sleep(SLEEP)
        return RESULT

    shortest = LAYERS * SLEEP
    seconds = timed(options, "normal", layered(width), wait)
    yield Figure(
        f"makespan of {LAYERS * width:,} nodes of {SLEEP:g} s, normal",
        seconds,
        "s",
        shortest,
        at_most(1.1 * shortest),
        "raw: the critical path",
    )


def _diamonds(options: BenchOptions) -> Iterator[Figure]:
    for count in (options.size(1_000, 100), options.size(10_000, 1_000)):
        seconds = timed(options, "normal", diamond(count), nothing)
        edges = 2 * (count - 2)
        yield Figure(f"edge of a diamond of {count:,} nodes, normal", 1_000 * seconds / edges, "ms")


def layered(width: int) -> dict[str, Any]:
    """`LAYERS` layers of `width` nodes, each of which needs `NEEDS` of the layer before."""
    nodes: list[dict[str, Any]] = []
    for layer in range(LAYERS):
        for place in range(width):
            needed = {(place * NEEDS + step) % width for step in range(NEEDS)} if layer else set()
            after = [f"n{layer - 1}.{one}" for one in sorted(needed)]
            nodes.append({"id": f"n{layer}.{place}", "type": "bench", "after": after})
    return {"name": "layers", "nodes": nodes}


def diamond(count: int) -> dict[str, Any]:
    """One node, then all but two side by side, then one that needs them all."""
    middle = [f"m{number}" for number in range(count - 2)]
    nodes: list[dict[str, Any]] = [{"id": "first", "type": "bench"}]
    nodes += [{"id": id, "type": "bench", "after": ["first"]} for id in middle]
    return {"name": "diamond", "nodes": [*nodes, {"id": "last", "type": "bench", "after": middle}]}


def timed(
    options: BenchOptions,
    durability: Durability,
    flow: dict[str, Any],
    function: Callable[[TaskContext], Awaitable[Any]],
) -> float:
    """Seconds from submit to result, on a fresh store."""
    return asyncio.run(_run(options, durability, flow, function))


async def _run(
    options: BenchOptions,
    durability: Durability,
    flow: dict[str, Any],
    function: Callable[[TaskContext], Awaitable[Any]],
) -> float:
    with scratch(options.directory) as folder:
        async with running(folder, durability, function, max_concurrent=512, paused=False) as manager:
            warm = await manager.run({"nodes": [{"id": "one", "type": "bench"}]})
            await warm.result()
            begun = time.perf_counter()
            run = await manager.run(flow)
            await run.result()
            return time.perf_counter() - begun


WORKFLOW = Measurement(
    "workflow", "a DAG of 1,000 nodes in layers, submit to result; diamonds of 1,000 and 10,000", _workflows
)
