"""Compiled graphs as tasks: journaled node by node, resumed after a crash, answered by people, streamed."""

import asyncio
import itertools
import json
import operator
import time
from typing import Annotated, TypedDict

import httpx2
import pytest
from langchain_core.messages import AIMessage
from langchain_openai import ChatOpenAI
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import CachePolicy, Command, RetryPolicy, Send, interrupt
from pydantic import BaseModel

from penstock import AITaskManager, TaskConfig, TaskFailed, TaskFilter
from penstock.errors import ConfigurationError, InvalidTask, TaskCancelled, TaskNotFound
from penstock.integrations.langgraph import PenstockSaver, graph_run
from penstock.integrations.langgraph.graph_questions import ask
from penstock.integrations.langgraph.graph_task import add_graph, current_task, resume_graph, state
from penstock.integrations.langgraph.plain import plain
from penstock.model.states import TaskStatus
from penstock.simulator import Latency, Simulator, SimulatorConfig, request_hash

PATH = "/v1/chat/completions"


class Notes(TypedDict):
    topic: str
    notes: Annotated[list, operator.add]


def body(text):
    return {"model": "sim", "messages": [{"role": "user", "content": text}], "max_tokens": 8}


class Place:
    """A provider, a store, and managers one after the other."""

    def __init__(self, simulator, path):
        self.simulator = simulator
        self.store = str(path / "graphs.db")
        self.manager = None
        self.life = 0
        self.http = httpx2.AsyncClient(base_url=simulator.base_url)
        self.held = asyncio.Event()

    async def ask(self, text):
        reply = await self.http.post("/chat/completions", json=body(text))
        return reply.json()["choices"][0]["message"]["content"][:12]

    def ask_now(self, text):
        with httpx2.Client(base_url=self.simulator.base_url) as http:
            return http.post("/chat/completions", json=body(text)).json()["object"]

    def paid(self, *texts):
        return [sum(self.simulator.paid_for(request_hash(PATH, body(text)))) for text in texts]

    async def start(self, graph, **details):
        self.life += 1
        self.held.clear()
        self.manager = AITaskManager(store=self.store, requests_per_minute=None, max_concurrent=10)
        self.task = add_graph(self.manager, "graph", graph, **details)
        await self.manager.start()
        return self.manager

    async def stop(self):
        if self.manager is not None:
            await self.manager.stop(now=True)

    async def again(self, graph, **details):
        """The process ends here, and another begins."""
        await self.stop()
        await self.start(graph, **details)

    async def hold(self):
        """In a node: the first life goes no further."""
        if self.life == 1:
            self.held.set()
            await asyncio.Event().wait()

    async def reached(self):
        async with asyncio.timeout(8):
            await self.held.wait()

    async def result(self, id):
        return await self.manager.wait_for_task(id, timeout=20)

    async def run(self, graph, given, **details):
        await self.start(graph, **details)
        return await self.result(await self.manager.submit_task("graph", {"input": given}))

    async def run_twice(self, graph, given, **details):
        """The result of a graph whose first life ends where `hold` is called."""
        await self.start(graph, **details)
        id = await self.manager.submit_task("graph", {"input": given})
        await self.reached()
        await self.again(graph, **details)
        return await self.result(id)

    async def asked(self, id, count=1):
        """The interrupts that wait for an answer, once the task is suspended."""
        async with asyncio.timeout(8):
            while True:
                view = await self.manager.engine.get(id)
                found = await self.task.pending(id)
                if view.status is TaskStatus.SUSPENDED and len(found) == count:
                    return found
                await asyncio.sleep(0.01)

    async def asked_of(self, thread):
        """Wait until a thread asks and its tasks are suspended."""
        async with asyncio.timeout(8):
            while True:
                asked = await self.task.pending(thread)
                views = await self.manager.engine.read(lambda reader: reader.tasks(TaskFilter()))
                if asked and all(one.status is TaskStatus.SUSPENDED for one in views):
                    return
                await asyncio.sleep(0.01)

    async def question(self, id):
        """What a person is asked."""
        found = await self.manager.engine.read(lambda reader: reader.approvals())
        return json.loads(found[0].question) if found else {"details": {}}

    def events(self, kind="graph"):
        told = self.manager.engine.peek(lambda reader: reader.events(0, limit=10_000, kinds=(kind,)))
        return [event.data for event in told]


@pytest.fixture
async def place(tmp_path):
    async with Simulator(SimulatorConfig(latency=Latency(0.01))) as simulator:
        one = Place(simulator, tmp_path)
        yield one
        await one.stop()
        await one.http.aclose()


def graph_of(*nodes, schema=Notes, **compiled):
    """A chain of functions by their names."""
    builder = StateGraph(schema)
    names = [START, *(node.__name__ for node in nodes), END]
    for node in nodes:
        builder.add_node(node.__name__, node)
    for before, after in itertools.pairwise(names):
        builder.add_edge(before, after)
    return builder.compile(**compiled)


async def test_a_graph_is_a_task_and_stays_as_it_was(place):
    async def first(given: Notes):
        return {"notes": [await place.ask(f"first {given['topic']}")]}

    def second(given: Notes):
        return {"notes": [place.ask_now(f"second {given['topic']}")]}

    graph = graph_of(first, second)
    result = await place.run(graph, {"topic": "tides"})
    assert result["topic"] == "tides"
    assert result["notes"][1] == "chat.completion"
    assert place.paid("first tides", "second tides") == [1, 1]
    assert graph.checkpointer is None
    (id,) = [one.task_id for one in place.manager.list_tasks()]
    snapshot = await state(place.manager, id)
    assert snapshot.values == result
    assert snapshot.metadata["run_id"] == id
    assert [one.metadata["step"] async for one in place.task.history(id)] == [2, 1, 0, -1]
    view = await place.manager.engine.get(id)
    scopes = [step.key.scope for step in await place.manager.engine.read(lambda r: r.journal(view.seq))]
    assert [scope.partition(":")[0] for scope in scopes] == ["", "graph/first", "graph/second"]


async def test_a_node_that_makes_several_calls_repeats_none_of_them(place):
    async def node(given: Notes):
        notes = [await place.ask(f"call {number}") for number in range(3)]
        await place.hold()
        return {"notes": [*notes, await place.ask("call 3")]}

    result = await place.run_twice(graph_of(node), {"topic": "x"})
    assert len(result["notes"]) == 4
    assert place.paid(*(f"call {number}" for number in range(4))) == [1] * 4


async def test_steps_in_nodes_belong_to_their_nodes(place):
    made = []

    def note(name):
        made.append(name)
        return f"{name} {len(made)}"

    def one(given: Notes):
        return {"notes": [current_task().sync.step("note", note, "the same")]}

    async def two(given: Notes):
        made_here = await current_task().step("note", note, "the same")
        await place.hold()
        return {"notes": [made_here]}

    result = await place.run_twice(graph_of(one, two), {"topic": "x"})
    assert result["notes"] == ["the same 1", "the same 2"]
    assert len(made) == 2
    with pytest.raises(ConfigurationError, match="no task"):
        current_task()


async def test_equal_calls_of_different_nodes_are_different_calls(place):
    async def one(given: Notes):
        return {"notes": [await place.ask("the same")]}

    async def two(given: Notes):
        note = await place.ask("the same")
        await place.hold()
        return {"notes": [note]}

    await place.run_twice(graph_of(one, two), {"topic": "x"})
    assert place.paid("the same") == [2]


async def test_a_fan_out_in_threads(place):
    def branch(given):
        if given["number"] == 3 and place.life == 1:
            while len(place.events("step")) < 4:
                time.sleep(0.005)
            place.manager.engine.node.services.loop.call_soon_threadsafe(place.held.set)
            raise TimeoutError("this life ends here")
        note = place.ask_now(f"branch {given['number']}")
        return {"notes": [note]}

    builder = StateGraph(Notes)
    builder.add_node("branch", branch)
    builder.add_conditional_edges(
        START, lambda _: [Send("branch", {"number": number}) for number in range(4)], ["branch"]
    )
    result = await place.run_twice(builder.compile(), {"topic": "x"})
    assert len(result["notes"]) == 4
    assert place.paid(*(f"branch {number}" for number in range(4))) == [1] * 4


@pytest.mark.parametrize("kept", [None, False])
async def test_subgraphs_with_and_without_checkpoints_of_their_own(place, kept):
    async def inner_one(given: Notes):
        return {"notes": [await place.ask(f"one {len(given['notes'])}")]}

    async def inner_two(given: Notes):
        note = await place.ask("two")
        await place.hold()
        return {"notes": [note]}

    inner = graph_of(inner_one, inner_two, checkpointer=kept)

    async def outer(given: Notes):
        before = await place.ask("before")
        for _ in range(2 if kept is False else 1):
            await inner.ainvoke({"topic": "inner", "notes": []})
        return {"notes": [before, await place.ask("after")]}

    await place.run_twice(graph_of(outer), {"topic": "x"})
    times = 2 if kept is False else 1
    assert place.paid("before", "one 0", "two", "after") == [1, times, times, 1]


async def test_a_synchronous_subgraph_in_a_thread(place):
    def inner_node(given: Notes):
        note = place.ask_now("within")
        if place.life == 1:
            place.manager.engine.node.services.loop.call_soon_threadsafe(place.held.set)
            raise TimeoutError("this life ends here")
        return {"notes": [note]}

    inner = graph_of(inner_node)

    def outer(given: Notes):
        before = place.ask_now("before")
        return {"notes": [before, *inner.invoke({"topic": "inner"})["notes"]]}

    assert len((await place.run_twice(graph_of(outer), {"topic": "x"}))["notes"]) == 2
    assert place.paid("before", "within") == [1, 1]


async def test_cached_nodes(place):
    async def costly(given: Notes):
        return {"notes": [await place.ask("costly")]}

    async def after(given: Notes):
        await place.hold()
        return {"notes": ["after"]}

    builder = StateGraph(Notes)
    builder.add_node("costly", costly, cache_policy=CachePolicy())
    builder.add_node("after", after)
    builder.add_edge(START, "costly")
    builder.add_edge("costly", "after")
    graph = builder.compile(cache=InMemoryCache())
    await place.run_twice(graph, {"topic": "x"})
    again = await place.manager.submit_task("graph", {"input": {"topic": "x"}})
    assert len((await place.result(again))["notes"]) == 2
    assert place.paid("costly") == [1]


async def test_functional_graphs(place):
    @task
    async def ask(number: int):
        note = await place.ask("the same question")
        if number == 2:
            await place.hold()
        return note

    @entrypoint()
    async def flow(given: dict):
        first = [await ask(0), await ask(1)]
        note = await place.ask("in between")
        return {"notes": [*first, note, await ask(2)]}

    result = await place.run_twice(flow, {"topic": "x"})
    assert len(result["notes"]) == 4
    assert place.paid("the same question", "in between") == [3, 1]


async def test_an_interrupt_is_a_suspended_task_that_a_person_resumes(place):
    async def review(given: Notes):
        draft = await place.ask("a draft")
        answer = interrupt({"draft": draft})
        again = interrupt("sure?")
        return {"notes": [answer, again]}

    graph = graph_of(review)
    await place.start(graph)
    id = await place.manager.submit_task("graph", {"input": {"topic": "x"}})
    (asked,) = (await place.asked(id)).items()
    assert asked[1]["draft"]
    with pytest.raises(InvalidTask, match=asked[0]):
        await resume_graph(place.manager, id, "yes", interrupt_id="another")
    await place.again(graph)
    await place.asked(id)
    assert await resume_graph(place.manager, id, {"edited": True}) == asked[0]
    (second,) = (await place.asked(id)).items()
    assert second[1] == "sure?"
    assert second[0] != asked[0]
    await resume_graph(place.manager, id, "yes")
    assert (await place.result(id))["notes"] == [{"edited": True}, "yes"]
    assert place.paid("a draft") == [1]
    with pytest.raises(InvalidTask, match="asks nothing"):
        await resume_graph(place.manager, id, "late")


async def test_an_answer_to_what_is_about_to_be_asked(place, monkeypatch):
    gate = asyncio.Event()

    async def held(*given):
        await gate.wait()
        return await ask(*given)

    monkeypatch.setattr(graph_run, "ask", held)
    await place.start(graph_of(asks_once))
    id = await place.manager.submit_task("graph", {"input": {"topic": "x"}})
    async with asyncio.timeout(8):
        while not (found := await place.task.pending(id)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    answering = asyncio.create_task(resume_graph(place.manager, id, "yes"))
    await asyncio.wait([answering], timeout=0.05)
    assert not answering.done()
    gate.set()
    assert await answering == next(iter(found))
    assert (await place.result(id))["notes"] == ["yes"]


def asks_once(given: Notes):
    return {"notes": [interrupt("sure?")]}


async def test_a_question_of_an_edited_thread_is_asked_anew(place):
    await place.start(graph_of(asks_once))
    id = await place.manager.submit_task("graph", {"input": {"topic": "x"}})
    await place.asked(id)
    editor = graph_of(asks_once, checkpointer=PenstockSaver(place.manager))
    await editor.aupdate_state({"configurable": {"thread_id": id}}, {"notes": ["by hand"]})
    await resume_graph(place.manager, id, "to what was asked before")
    await place.asked(id)
    await resume_graph(place.manager, id, "yes")
    assert (await place.result(id))["notes"] == ["by hand", "yes"]


async def test_a_decision_answers_an_interrupt(place):
    def publish(given: Notes):
        return {"notes": [interrupt("publish?"), interrupt("what more?")]}

    await place.start(graph_of(publish))
    id = await place.manager.submit_task("graph", {"input": {"topic": "x"}})
    (asked,) = await place.asked(id)
    (approval,) = place.manager.approvals()
    assert (approval.task_id, approval.name, approval.question) == (id, f"interrupt:{asked}", "publish?")
    await place.manager.decide(id, True, by="ada")
    while not (more := await place.asked(id)).keys() - {asked}:
        pass
    await place.manager.decide(id, False, name=f"interrupt:{next(iter(more))}", data={"text": "this"})
    assert (await place.result(id))["notes"] == [True, {"text": "this"}]


async def test_several_interrupts_are_answered_by_their_ids(place):
    def branch(given):
        return {"notes": [f"{given['number']}: {interrupt(given['number'])}"]}

    builder = StateGraph(Notes)
    builder.add_node("branch", branch)
    builder.add_conditional_edges(
        START, lambda _: [Send("branch", {"number": number}) for number in range(3)], ["branch"]
    )
    await place.start(builder.compile())
    id = await place.manager.submit_task("graph", {"input": {"topic": "x"}})
    asked = await place.asked(id, 3)
    with pytest.raises(InvalidTask, match="interrupt_id"):
        await resume_graph(place.manager, id, "which?")
    for interrupt_id, number in asked.items():
        await resume_graph(place.manager, id, f"answer {number}", interrupt_id)
    result = await place.result(id)
    assert sorted(result["notes"]) == [f"{number}: answer {number}" for number in range(3)]


async def test_an_answer_taken_before_a_crash_is_not_given_to_the_next_question(place):
    async def node(given: Notes):
        first = interrupt("first?")
        await place.ask("behind the first")
        await place.hold()
        return {"notes": [first, interrupt("second?")]}

    graph = graph_of(node)
    await place.start(graph)
    id = await place.manager.submit_task("graph", {"input": {"topic": "x"}})
    await place.asked(id)
    await resume_graph(place.manager, id, "one")
    await place.reached()
    await place.again(graph)
    assert list((await place.asked(id)).values()) == ["second?"]
    await resume_graph(place.manager, id, "two")
    assert (await place.result(id))["notes"] == ["one", "two"]
    assert place.paid("behind the first") == [1]


async def test_a_wrong_answer_is_asked_for_again(place):
    def node(given: Notes):
        return {"notes": [interrupt("how many?", response_schema=Count).count]}

    class Count(BaseModel):
        count: int

    await place.start(graph_of(node))
    id = await place.manager.submit_task("graph", {"input": {"topic": "x"}})
    await place.asked(id)
    await resume_graph(place.manager, id, {"count": "many"})
    while "refused" not in (await place.question(id))["details"]:  # noqa: ASYNC110 (the store tells)
        await asyncio.sleep(0.01)
    await resume_graph(place.manager, id, {"count": 3})
    assert (await place.result(id))["notes"] == [3]


async def test_breakpoints_wait_for_a_person_too(place):
    async def one(given: Notes):
        return {"notes": [await place.ask("one")]}

    async def two(given: Notes):
        return {"notes": [await place.ask("two")]}

    graph = graph_of(one, two, interrupt_before=["two"])
    await place.start(graph)
    id = await place.manager.submit_task("graph", {"input": {"topic": "x"}})
    for life in range(2):
        async with asyncio.timeout(8):
            while (await place.manager.engine.get(id)).status is not TaskStatus.SUSPENDED:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        if not life:
            await place.again(graph)
    assert place.paid("one", "two") == [1, 0]
    await resume_graph(place.manager, id, None)
    assert len((await place.result(id))["notes"]) == 2
    assert place.paid("one", "two") == [1, 1]


async def test_messages_and_models_come_as_plain_data(place):
    model = ChatOpenAI(model="sim", base_url=place.simulator.base_url, api_key="k")

    async def agent(given: MessagesState):
        return {"messages": [await model.ainvoke(given["messages"])]}

    result = await place.run(
        graph_of(agent, schema=MessagesState),
        {"messages": [{"role": "user", "content": "hello"}]},
        stream_modes=("messages", "updates", "custom"),
    )
    asked, answer = result["messages"]
    assert (asked["type"], asked["content"], answer["type"]) == ("human", "hello", "ai")
    told = place.events()
    pieces = [one for one in told if one["mode"] == "messages"]
    assert "".join(one["data"]["content"] for one in pieces) == answer["content"]
    assert len(pieces) < 5
    assert pieces[0]["node"] == "agent"
    (update,) = [one["data"]["agent"] for one in told if one["mode"] == "updates"]
    assert AIMessage(**update["messages"][0]).content == answer["content"]
    # What came out goes in again.
    id = await place.manager.submit_task("graph", {"input": {"messages": result["messages"]}})
    assert len((await place.result(id))["messages"]) == 3


async def test_events_are_bounded_in_size_and_number(place):
    def big(given: Notes):
        return {"notes": ["x" * 10_000]}

    def small(given: Notes):
        return {"notes": ["y"]}

    await place.run(graph_of(big, small, big2 := rename(small), rename(small, "small3")), {"topic": "x"},
                    most_event_bytes=1_000, most_events=3)  # fmt: skip
    assert big2.__name__ == "small2"
    told = place.events()
    assert told[0] == {"mode": "updates", "omitted": told[0]["omitted"], "nodes": ["big"]}
    assert told[1]["data"] == {"small": {"notes": ["y"]}}
    assert [one["mode"] for one in told] == ["updates", "updates", "end"]


def rename(function, name="small2"):
    def node(given: Notes):
        return function(given)

    node.__name__ = name
    return node


async def test_a_thread_of_several_tasks(place):
    async def node(given: Notes):
        return {"notes": [given["topic"]]}

    await place.start(graph_of(node))
    for topic in ("one", "two"):
        id = await place.manager.submit_task(
            "graph", {"input": {"topic": topic}, "thread_id": "ours", "context": {"user": "me"}}
        )
        result = await place.result(id)
    assert result["notes"] == ["one", "two"]
    assert (await state(place.manager, "ours", "graph")).metadata["run_id"] == id
    with pytest.raises(TaskNotFound, match="task type"):
        await state(place.manager, "ours")


async def test_a_task_on_a_shared_thread_begins_once(place):
    async def one(given: Notes):
        note = await place.ask(f"about {given['topic']}")
        await place.hold()
        return {"notes": [note]}

    graph = graph_of(one)
    await place.start(graph)
    data = {"input": {"topic": "a", "notes": ["given"]}, "thread_id": "ours"}
    id = await place.manager.submit_task("graph", data)
    await place.reached()
    await place.again(graph)
    assert (await place.result(id))["notes"][0] == "given"
    assert len((await place.result(id))["notes"]) == 2
    assert place.paid("about a") == [1]


async def test_threads_of_one_name_are_apart_for_each_tenant(place):
    async def node(given: Notes):
        return {"notes": [given["topic"]]}

    await place.start(graph_of(node))
    submit = place.manager.engine.submit
    first = await submit("graph", {"input": {"topic": "a"}}, tenant="a")
    await place.result(first)
    data = {"input": {"topic": "b"}, "thread_id": first}
    for tenant in ("b", ""):
        assert (await place.result(await submit("graph", data, tenant=tenant)))["notes"] == ["b"]
    assert (await place.result(await submit("graph", data, tenant="a")))["notes"] == ["a", "b"]
    assert (await state(place.manager, first)).values["notes"] == ["a", "b"]
    assert (await state(place.manager, first, "graph", tenant="b")).values["notes"] == ["b"]
    assert (await place.task.state(first)).values["notes"] == ["b"]
    (newest,) = [one async for one in place.task.history(first, 1, tenant="a")]
    assert newest.values["topic"] == "b"


async def test_tasks_of_one_thread_take_turns(place):
    async def one(given: Notes):
        return {"notes": [await place.ask(f"one {given['topic']}")]}

    async def two(given: Notes):
        return {"notes": [await place.ask(f"two {given['topic']}")]}

    await place.start(graph_of(one, two))
    ids = [
        await place.manager.submit_task("graph", {"input": {"topic": topic}, "thread_id": "ours"})
        for topic in "abc"
    ]
    results = [await place.result(id) for id in ids]
    assert [one["topic"] for one in results] == ["a", "b", "c"]
    assert [len(one["notes"]) for one in results] == [2, 4, 6]


async def test_a_thread_whose_task_asks_is_left_alone_until_it_ends(place):
    def node(given: Notes):
        return {"notes": [interrupt(given["topic"]) if given["topic"] == "a" else "b"]}

    graph = graph_of(node)
    await place.start(graph)
    first, second, third = [
        await place.manager.submit_task("graph", {"input": {"topic": topic}, "thread_id": "ours"})
        for topic in "abb"
    ]
    await place.asked_of("ours")
    await place.again(graph)
    assert (await place.manager.engine.get(second)).started_at is not None
    assert len(await place.task.pending("ours")) == 1
    await resume_graph(place.manager, first, "answered")
    assert (await place.result(first))["notes"] == ["answered"]
    notes = [(await place.result(id))["notes"] for id in (second, third)]
    assert sorted(notes) == [["answered", "b"], ["answered", "b", "b"]]


async def test_a_graph_that_lost_the_node_where_it_was_says_so(place):
    async def one(given: Notes):
        return {"notes": [await place.ask("one")]}

    async def two(given: Notes):
        await place.hold()
        return {"notes": ["two"]}

    graph = graph_of(one, two)
    await place.start(graph)
    id = await place.manager.submit_task("graph", {"input": {"topic": "x"}})
    await place.reached()
    await place.again(graph_of(one, rename(two, "three")))
    with pytest.raises(TaskFailed, match="'two', and the graph has no such node") as caught:
        await place.result(id)
    assert caught.value.reason == "journal_mismatch"
    assert place.paid("one") == [1]


async def test_a_failed_node_is_tried_again_where_it_failed(place):
    tries = []

    async def one(given: Notes):
        return {"notes": [await place.ask("one")]}

    async def two(given: Notes):
        tries.append(await place.ask("two"))
        if len(tries) == 1:
            raise ValueError("not yet")
        return {"notes": tries[-1:]}

    await place.start(graph_of(one, two))
    config = TaskConfig(max_retries=1, retry_delay=0.05)
    id = await place.manager.submit_task("graph", {"input": {"topic": "x"}}, config=config)
    assert len((await place.result(id))["notes"]) == 2
    assert place.paid("one", "two") == [1, 1]


async def test_a_retried_task_goes_on_with_its_thread(place):
    broken = [True]

    async def one(given: Notes):
        return {"notes": [await place.ask("one")]}

    async def two(given: Notes):
        if broken:
            raise ValueError("broken")
        return {"notes": [await place.ask("two")]}

    await place.start(graph_of(one, two))
    config = TaskConfig(max_retries=0)
    id = await place.manager.submit_task("graph", {"input": {"topic": "x"}}, config=config)
    with pytest.raises(TaskFailed, match="broken"):
        await place.result(id)
    broken.clear()
    again = await place.manager.retry_task(id)
    assert len((await place.result(again))["notes"]) == 2
    assert place.paid("one", "two") == [1, 1]
    assert (await place.task.state(again)).next == ()
    assert (await place.task.state(id)).next == ("two",)


async def test_a_recursion_limit_fails_the_task_at_once(place):
    async def node(given: Notes):
        await place.ask(f"turn {len(given['notes'])}")
        return Command(update={"notes": ["again"]}, goto="node")

    builder = StateGraph(Notes)
    builder.add_node("node", node, destinations=("node",))
    builder.add_edge(START, "node")
    await place.start(builder.compile(), recursion_limit=3)
    id = await place.manager.submit_task("graph", {"input": {"topic": "x", "notes": []}})
    with pytest.raises(TaskFailed, match="Recursion limit of 3") as caught:
        await place.result(id)
    assert caught.value.reason == "recursion_limit"
    assert place.simulator.stats()["calls"] == 3


async def test_cancelling_ends_the_nodes(place):
    left = asyncio.Event()

    async def node(given: Notes):
        try:
            await place.hold()
        finally:
            left.set()

    await place.start(graph_of(node))
    id = await place.manager.submit_task("graph", {"input": {"topic": "x"}})
    await place.reached()
    assert await place.manager.cancel_task(id)
    with pytest.raises(TaskCancelled):
        await place.result(id)
    assert left.is_set()


async def test_a_graph_that_waits_at_the_gate_leaves_politely(place):
    async def node(given: Notes):
        return {"notes": [await place.ask("one"), await place.ask("two")]}

    graph = graph_of(node)
    place.manager = AITaskManager(store=place.store, requests_per_minute=1)
    add_graph(place.manager, "graph", graph)
    await place.manager.start()
    id = await place.manager.submit_task("graph", {"input": {"topic": "x"}})
    async with asyncio.timeout(10):
        while not place.manager.engine.peek(lambda reader: reader.waits()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await place.again(graph)
    assert len((await place.result(id))["notes"]) == 2
    assert place.paid("one", "two") == [1, 1]


async def test_a_node_of_a_retry_policy_pays_for_its_retry(place):
    """A try of LangGraph's own is no crash: it wants another answer of the model."""
    tries = []

    async def node(given: Notes):
        tries.append(await place.ask("one"))
        if len(tries) < 2:
            raise ConnectionError("once")
        return {"notes": tries[-1:]}

    builder = StateGraph(Notes)
    builder.add_node("node", node, retry_policy=RetryPolicy(initial_interval=0.01))
    builder.add_edge(START, "node")
    await place.run(builder.compile(), {"topic": "x"})
    assert place.paid("one") == [2]


async def test_a_checkpointer_of_the_users_own(place):
    async def node(given: Notes):
        return {"notes": [await place.ask("one")]}

    own = InMemorySaver()
    await place.run(graph_of(node, checkpointer=own), {"topic": "x"}, checkpointer="own")
    assert len([*own.list(None)]) == 3


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"inputs": {}}, "inputs"),
        ({"input": {}, "config": {"callbacks": []}}, "callbacks"),
        ({"input": {}, "config": {"configurable": {"checkpoint_id": "1"}}}, "checkpoint_id"),
        ({"input": {}, "thread_id": "a", "config": {"configurable": {"thread_id": "b"}}}, "differ"),
        ({"input": {}, "config": {"configurable": {"__pregel_resuming": True}}}, "__pregel_resuming"),
        ({"input": {}, "thread_id": ""}, "1 to 500"),
        ({"input": {}, "thread_id": "other\x1ftenant"}, "control characters"),
    ],
)
async def test_data_that_no_graph_takes_are_refused_at_the_door(place, data, said):
    await place.start(graph_of(rename(dict)))
    with pytest.raises(InvalidTask, match=said):
        await place.manager.submit_task("graph", data)


async def test_what_is_no_graph_or_no_option_is_refused(place):
    graph = graph_of(rename(dict))
    await place.start(graph)
    with pytest.raises(ConfigurationError, match="compiled graph"):
        add_graph(place.manager, "builder", StateGraph(Notes))
    with pytest.raises(ConfigurationError, match="durability: 'exit'"):
        add_graph(place.manager, "exit", graph, durability="exit")
    with pytest.raises(ConfigurationError, match="stream_modes: 'tokens'"):
        add_graph(place.manager, "tokens", graph, stream_modes="tokens")
    with pytest.raises(ConfigurationError, match="'stream_mode'"):
        add_graph(place.manager, "other", graph, stream_mode="updates")
    with pytest.raises(ConfigurationError, match="without a checkpointer"):
        add_graph(place.manager, "own", graph, checkpointer="own")


async def test_a_task_costs_few_transactions(place):
    """Its submission, its claim, three checkpoints with all that belongs to them, and its end."""

    async def node(given: Notes):
        return {"notes": [given["topic"]]}

    await place.start(graph_of(node))
    committer = place.manager.engine.node.committer
    spent = []
    for _ in range(5):
        before = committer.transactions
        await place.result(await place.manager.submit_task("graph", {"input": {"topic": "a"}}))
        spent.append(committer.transactions - before)
    assert min(spent) <= 6


def test_arrays_as_json():
    class Array:
        def __init__(self, *numbers):
            self.size = len(numbers)
            self.tolist = lambda: list(numbers)

    assert plain({"short": Array(1, 2), "text": "a"}) == {"short": [1, 2], "text": "a"}
    assert plain([Array(*range(10_001))])[0].startswith("<")
