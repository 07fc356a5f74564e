"""One life of a process that runs a graph, with Penstock or with LangGraph alone, and may be killed."""

from __future__ import annotations

import asyncio
import itertools
import logging
import operator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypedDict

import httpx2
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send

from penstock.integrations.langgraph.graph_task import add_graph
from penstock.manager.ai_task_manager import AITaskManager
from penstock.manager.client import APIConfig, OpenAICompatibleClient
from penstock.manager.task_config import TaskConfig

Side = Literal["penstock", "langgraph"]

PATH = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Shape:
    """A graph of so many calls: `loop` makes them in one node, `chain` in a node each, `fan` in branches that
    run side by side and have so many calls under way at a time (`bounded`: because LangGraph's
    `max_concurrency` says so)."""

    kind: Literal["loop", "chain", "fan"]
    calls: int
    at_a_time: int = 1
    bounded: bool = False

    @property
    def config(self) -> dict[str, Any]:
        return {"max_concurrency": self.at_a_time} if self.bounded else {}


class State(TypedDict):
    said: Annotated[list[str], operator.add]


class Branch(TypedDict):
    number: int


def body(number: int) -> dict[str, Any]:
    """The request of one call."""
    return {"model": "sim", "messages": [{"role": "user", "content": f"call {number}"}], "max_tokens": 8}


def make_graph(shape: Shape, base_url: str) -> Any:
    """The uncompiled graph; its nodes call the model as anybody would."""
    client = httpx2.AsyncClient(base_url=base_url, timeout=30)
    # LangGraph's own bound counts the saving of a branch's result among the branches, and puts it last.
    turns = asyncio.Semaphore(shape.at_a_time)

    async def ask(number: int) -> str:
        async with turns:
            reply = await client.post("/chat/completions", json=body(number))
        reply.raise_for_status()
        return f"{number}: {reply.json()['choices'][0]['message']['content']}"

    async def loop(state: State) -> dict[str, Any]:
        return {"said": [await ask(number) for number in range(shape.calls)]}

    async def branch(state: Branch) -> dict[str, Any]:
        return {"said": [await ask(state["number"])]}

    def link(number: int) -> Any:
        async def node(state: State) -> dict[str, Any]:
            return {"said": [await ask(number)]}

        return node

    builder: Any = StateGraph(State)
    if shape.kind == "loop":
        builder.add_node("loop", loop)
        builder.add_edge(START, "loop")
        builder.add_edge("loop", END)
    elif shape.kind == "fan":
        builder.add_node("branch", branch)
        sends = [Send("branch", {"number": number}) for number in range(shape.calls)]
        builder.add_conditional_edges(START, lambda _: sends, ["branch"])
        builder.add_edge("branch", END)
    else:
        names = [START, *(f"link{number}" for number in range(shape.calls)), END]
        for number in range(shape.calls):
            builder.add_node(names[number + 1], link(number))
        for before, after in itertools.pairwise(names):
            builder.add_edge(before, after)
    return builder


def live(side: Side, shape: Shape, store: str, base_url: str, ends: Any) -> None:
    """Begin the graph or go on with it, and send its result."""
    logging.getLogger("penstock").setLevel(logging.ERROR)  # a loaded machine makes the watchdog bark
    run = with_penstock if side == "penstock" else with_langgraph
    ends.send(asyncio.run(run(shape, store, base_url)))
    ends.close()


async def with_penstock(shape: Shape, store: str, base_url: str) -> list[str]:
    """The graph as a task; what an earlier life left goes on by itself."""
    client = OpenAICompatibleClient(APIConfig("none", base_url))
    async with AITaskManager(client, max_concurrent=16, store=store, requests_per_minute=None) as manager:
        add_graph(manager, "graph", make_graph(shape, base_url).compile())
        data = {"input": {"said": []}, "config": shape.config}
        id = await manager.submit_task("graph", data, config=TaskConfig(idempotency_key="the graph"))
        result: dict[str, list[str]] = await manager.wait_for_task(id, timeout=60)
        return result["said"]


async def with_langgraph(shape: Shape, store: str, base_url: str) -> list[str]:
    """The graph alone, with LangGraph's own checkpointer on SQLite; invoked as its documentation says."""
    async with AsyncSqliteSaver.from_conn_string(store) as saver:
        graph = make_graph(shape, base_url).compile(checkpointer=saver)
        config = {"configurable": {"thread_id": "the graph"}, **shape.config}
        begun = (await graph.aget_state(config)).created_at is not None
        given: Any = None if begun else {"said": []}
        result: dict[str, list[str]] = await graph.ainvoke(given, config, durability="sync")
        return result["said"]
