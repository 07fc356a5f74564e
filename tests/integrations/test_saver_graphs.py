"""Graphs on our checkpointer go through the same states as on LangGraph's own in memory."""

import asyncio
import re

import pytest
from langchain_core.messages import RemoveMessage
from langgraph.checkpoint.memory import InMemorySaver
from tests.integrations.saver_graphs import chat, fan_out, resume, said, with_delta, with_subgraph

from penstock.integrations.langgraph import PenstockSaver
from penstock.manager import Manager
from penstock.runtime.settings import Settings

CONFIG = {"configurable": {"thread_id": "t"}}

# What is made anew in every life: ids of checkpoints and tasks, with them namespaces, and stamps.
IDS = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b[0-9a-f]{32}\b")


def plain(value, names):
    """A snapshot without what differs between lives: ids become numbers in the order in which they appear."""
    return IDS.sub(lambda found: f"#{names.setdefault(found[0], len(names))}", repr(value))


def told(snapshot, names):
    tasks = [
        (task.name, task.path, task.error, [one.value for one in task.interrupts], task.result)
        for task in snapshot.tasks
    ]
    metadata = {key: value for key, value in snapshot.metadata.items() if key != "parents"}
    parts = (snapshot.values, snapshot.next, metadata, tasks, snapshot.config, snapshot.parent_config)
    return plain(parts, names)


def history(graph, config=CONFIG):
    names = {}
    return [told(one, names) for one in graph.get_state_history(config)]


async def ahistory(graph, config=CONFIG):
    names = {}
    return [told(one, names) async for one in graph.aget_state_history(config)]


def talk(saver):
    graph = chat(saver)
    for n in range(5):
        graph.invoke(said(n), CONFIG)
    graph.invoke({"messages": [RemoveMessage(id="q1"), RemoveMessage(id="a3")]}, CONFIG)
    return graph


def spread(saver):
    graph = fan_out(saver)
    graph.invoke({"items": list(range(12))}, CONFIG)
    return graph


def ask(saver):
    graph = with_subgraph(saver)
    graph.invoke({"draft": "hello"}, CONFIG)
    inside = graph.get_state(CONFIG, subgraphs=True).tasks[0].state
    assert inside.values["seen"] == ["read"]
    assert graph.invoke(resume("yes"), CONFIG)["seen"] == ["read", "review yes", "sent"]
    return graph


def ask_with_memory(saver):
    graph = with_subgraph(saver, memory=True)
    for n in range(2):
        graph.invoke({"draft": f"hello {n}"}, CONFIG)
        graph.invoke(resume(n), CONFIG)
    return graph


def travel(saver):
    graph = chat(saver)
    for n in range(3):
        graph.invoke(said(n), CONFIG)
    past = next(one for one in graph.get_state_history(CONFIG) if len(one.values.get("messages", ())) == 4)
    graph.invoke(said(7), past.config)
    past = [one for one in graph.get_state_history(CONFIG) if one.next == ("answer",)][-1]
    graph.update_state(past.config, said(8), as_node="answer")
    graph.invoke(None, past.config)
    return graph


def delta(saver):
    graph = with_delta(saver)
    for n in range(8):
        graph.invoke({"items": [n]}, CONFIG)
    past = list(graph.get_state_history(CONFIG))[7]
    graph.invoke({"items": ["branch"]}, past.config)
    graph.update_state(CONFIG, {"items": ["by hand"]}, as_node="one")
    return graph


STORIES = [talk, spread, ask, ask_with_memory, travel, delta]


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_same_history_as_in_memory(story, tmp_path):
    expected = history(story(InMemorySaver()))
    assert len(expected) > 2
    with PenstockSaver.from_store(str(tmp_path / "a.db"), durability="normal") as saver:
        assert history(story(saver)) == expected
        assert saver._access._store.verify() == []
    with PenstockSaver.from_store(str(tmp_path / "a.db")) as saver:
        graph = {talk: chat, spread: fan_out, travel: chat, delta: with_delta}.get(story, with_subgraph)(
            saver
        )
        assert history(graph) == expected  # the same in another life


async def story_of(saver):
    graph = with_subgraph(saver)
    await graph.ainvoke({"draft": "hello"}, CONFIG)
    await graph.ainvoke(resume("yes"), CONFIG)
    other = with_delta(saver)
    config = {"configurable": {"thread_id": "other"}}
    await asyncio.gather(
        *(other.ainvoke({"items": [n]}, {"configurable": {"thread_id": f"n{n}"}}) for n in range(8))
    )
    for n in range(8):
        await other.ainvoke({"items": [n]}, config, durability=("sync", "async", "exit")[n % 3])
    return await ahistory(graph), await ahistory(other, config)


@pytest.mark.parametrize("kind", ["manager", "store", "store without loop"])
async def test_same_history_asynchronously(kind, tmp_path):
    expected = await story_of(InMemorySaver())
    path = str(tmp_path / "a.db")
    if kind == "manager":
        async with Manager(Settings(store=path)) as manager:
            assert await story_of(PenstockSaver(manager)) == expected
    elif kind == "store":
        async with PenstockSaver.from_store(path) as saver:
            assert await story_of(saver) == expected
    else:
        with PenstockSaver.from_store(path) as saver:
            assert await story_of(saver) == expected


def test_state_after_pruning_and_copying(tmp_path):
    with PenstockSaver.from_store(str(tmp_path / "a.db"), durability="normal") as saver:
        for story, make in ((travel, chat), (delta, with_delta), (ask_with_memory, with_subgraph)):
            before = story(saver).get_state(CONFIG).values
            saver.copy_thread("t", "copy")
            saver.prune(["t"])
            for thread in ("t", "copy"):
                config = {"configurable": {"thread_id": thread}}
                assert make(saver).get_state(config).values == before
            saver.prune(["t", "copy"], strategy="delete")
            assert saver.threads() == []
        assert saver._access._store.verify() == []


def test_a_pruned_thread_goes_on(tmp_path):
    with PenstockSaver.from_store("memory") as saver, PenstockSaver.from_store("memory") as whole:
        for n in range(12):
            for one in (saver, whole):
                with_delta(one).invoke({"items": [n]}, CONFIG)
            saver.prune(["t"])
        states = [with_delta(one).get_state(CONFIG).values for one in (saver, whole)]
        assert states[0] == states[1]
        assert len(list(saver.list(CONFIG))) < 8 < len(list(whole.list(CONFIG)))
