"""What graphs cost as tasks whose nodes do nothing, beside LangGraph alone in the same minute."""

from __future__ import annotations

import asyncio
import itertools
import operator
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any, TypedDict

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph

from penstock.cli.bench.measurement import BenchOptions, Figure
from penstock.cli.bench.rig import scratch
from penstock.integrations.langgraph.graph_task import add_graph
from penstock.manager.ai_task_manager import AITaskManager

SIDE_BY_SIDE = 16
NOTE = "RAW is LangGraph alone with its AsyncSqliteSaver, durability sync, in the same minute"


class State(TypedDict):
    said: Annotated[list[int], operator.add]


@dataclass(frozen=True, slots=True)
class Load:
    """So many graphs of so many nodes, so many at a time."""

    graphs: int
    nodes: int
    at_a_time: int

    def __str__(self) -> str:
        return f"graph of {self.nodes} no-op node{'s' * (self.nodes > 1)}, {self.at_a_time} at a time"


Side = Callable[[Path, Load], Coroutine[Any, Any, None]]


def costs(options: BenchOptions) -> Iterator[Figure]:
    """Milliseconds a graph, on the clock and of the processor."""
    few, many = options.size(300, 10), options.size(1_000, 20)
    for load in (Load(few, 1, 1), Load(many, 1, SIDE_BY_SIDE), Load(many, 3, SIDE_BY_SIDE)):
        rounds = [
            (_spent(options, with_langgraph, load), _spent(options, with_penstock, load))
            for _ in range(options.size(3, 1))
        ]
        for place, name in enumerate(("on the clock", "of the processor")):
            theirs, ours = (median(one[side][place] for one in rounds) for side in (0, 1))
            yield Figure(f"{load}: {name}", ours, "ms", theirs, None, NOTE)


async def with_penstock(store: Path, load: Load) -> None:
    """From the first submission to the last result."""
    async with AITaskManager(
        store=str(store), max_concurrent=load.at_a_time, requests_per_minute=None
    ) as manager:
        add_graph(manager, "graph", chain(load.nodes).compile())
        data: dict[str, Any] = {"input": {"said": []}}
        if load.at_a_time == 1:
            for _ in range(load.graphs):
                await manager.wait_for_task(await manager.submit_task("graph", data))
        else:
            ids = await manager.submit_batch([{"task_type": "graph", "data": data}] * load.graphs)
            await asyncio.gather(*(manager.wait_for_task(id) for id in ids))


async def with_langgraph(store: Path, load: Load) -> None:
    """The same graphs, invoked."""
    async with AsyncSqliteSaver.from_conn_string(str(store)) as saver:
        graph = chain(load.nodes).compile(checkpointer=saver)
        turns = asyncio.Semaphore(load.at_a_time)

        async def run(number: int) -> None:
            async with turns:
                thread: Any = {"configurable": {"thread_id": str(number)}}
                await graph.ainvoke({"said": []}, thread, durability="sync")

        await asyncio.gather(*(run(number) for number in range(load.graphs)))


def chain(length: int) -> Any:
    """The uncompiled graph."""

    async def node(state: State) -> dict[str, list[int]]:
        return {"said": [len(state["said"])]}

    builder: Any = StateGraph(State)
    names = [START, *(f"node{number}" for number in range(length)), END]
    for name in names[1:-1]:
        builder.add_node(name, node)
    for before, after in itertools.pairwise(names):
        builder.add_edge(before, after)
    return builder


def _spent(options: BenchOptions, side: Side, load: Load) -> tuple[float, float]:
    """Milliseconds a graph: on the clock, and of the processor, all threads together."""
    with scratch(options.directory) as folder:
        wall, processor = time.perf_counter(), time.process_time()
        asyncio.run(side(folder / "graphs.db", load))
        spent = time.perf_counter() - wall, time.process_time() - processor
    return 1e3 * spent[0] / load.graphs, 1e3 * spent[1] / load.graphs
