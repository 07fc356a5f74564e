"""Small graphs with everything that leaves traces in a checkpointer."""

import operator
from typing import Annotated, TypedDict

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, Send, interrupt


class Talk(TypedDict):
    messages: Annotated[list, add_messages]


def chat(saver):
    def answer(state):
        n = len(state["messages"])
        return {"messages": [AIMessage("answer " + "x" * 400, id=f"a{n}")]}

    graph = StateGraph(Talk)
    graph.add_node("answer", answer)
    graph.add_edge(START, "answer")
    graph.add_edge("answer", END)
    return graph.compile(checkpointer=saver)


def said(n, length=400):
    return {"messages": [HumanMessage("question " + "y" * length, id=f"q{n}")]}


class Spread(TypedDict):
    items: list[int]
    squares: Annotated[list[int], operator.add]
    total: int


def fan_out(saver):
    graph = StateGraph(Spread)
    graph.add_node("square", lambda one: {"squares": [one["n"] ** 2]})
    graph.add_node("add", lambda state: {"total": sum(state["squares"])})
    graph.add_conditional_edges(
        START, lambda state: [Send("square", {"n": n}) for n in state["items"]], ["square"]
    )
    graph.add_edge("square", "add")
    graph.add_edge("add", END)
    return graph.compile(checkpointer=saver)


class Asked(TypedDict):
    draft: str
    seen: Annotated[list[str], operator.add]


def inner(memory=None):
    def review(state):
        answer = interrupt({"question": "good?", "draft": state["draft"]})
        return {"seen": [f"review {answer}"]}

    graph = StateGraph(Asked)
    graph.add_node("read", lambda state: {"seen": ["read"]})
    graph.add_node("review", review)
    graph.add_edge(START, "read")
    graph.add_edge("read", "review")
    graph.add_edge("review", END)
    return graph.compile(checkpointer=memory)


def with_subgraph(saver, memory=None):
    """A graph with a graph inside, which asks a person. With `memory` the inner one has its own."""
    graph = StateGraph(Asked)
    graph.add_node("write", lambda state: {"draft": state["draft"] + "!"})
    graph.add_node("check", inner(memory))
    graph.add_node("send", lambda state: {"seen": ["sent"]})
    for before, after in ((START, "write"), ("write", "check"), ("check", "send"), ("send", END)):
        graph.add_edge(before, after)
    return graph.compile(checkpointer=saver)


def collect(state, writes):
    return [*state, *(item for write in writes for item in write)]


class Collected(TypedDict):
    items: Annotated[list, DeltaChannel(collect, snapshot_frequency=5)]
    plain: int


def with_delta(saver):
    graph = StateGraph(Collected)
    graph.add_node(
        "one", lambda state: {"items": [f"one{len(state['items'])}"], "plain": len(state["items"])}
    )
    graph.add_node("two", lambda state: {"items": [f"two{len(state['items'])}"]})
    graph.add_edge(START, "one")
    graph.add_edge(START, "two")
    return graph.compile(checkpointer=saver)


def resume(answer):
    return Command(resume=answer)
