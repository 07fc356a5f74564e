"""Under `LANGGRAPH_STRICT_MSGPACK` the state of a graph keeps its own types, before and after a wait."""

import os
import subprocess
import sys

PROGRAM = """
import asyncio, dataclasses, sys
from typing import TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt

from penstock import AITaskManager
from penstock.integrations.langgraph import add_graph


@dataclasses.dataclass
class Doc:
    text: str


class State(TypedDict):
    doc: Doc
    seen: str


def make(state: State):
    return {"doc": Doc("x")}


def look(state: State):
    interrupt("go on?")
    return {"seen": type(state["doc"]).__name__}


builder = StateGraph(State)
builder.add_node(make)
builder.add_node(look)
builder.add_edge(START, "make")
builder.add_edge("make", "look")
builder.add_edge("look", END)


async def main():
    async with AITaskManager(store="memory") as manager:
        task = add_graph(manager, "graph", builder.compile())
        id = await manager.submit_task("graph", {"input": {"seen": ""}})
        while not (asked := manager.approvals()):
            await asyncio.sleep(0.01)
        await manager.decide(id, True, name=asked[0].name)
        print((await manager.wait_for_task(id, timeout=20))["seen"], (await task.state(id)).values["doc"])


asyncio.run(main())
"""


def test_nodes_read_objects_and_not_plain_data():
    environment = {**os.environ, "LANGGRAPH_STRICT_MSGPACK": "true"}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=60
    )
    assert run.stdout.split("\n")[0] == "Doc Doc(text='x')", run.stderr
    assert "Blocked" not in run.stderr
