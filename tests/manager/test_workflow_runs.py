"""Workflows that run: results handed on, failures, fallbacks, undoing, limits, growth."""

import asyncio

import pytest

from penstock.errors import (
    InvalidTask,
    InvalidWorkflow,
    QueueFull,
    TaskCancelled,
    TaskFailed,
    TaskNotFound,
    WaitTimeout,
)
from penstock.manager import Manager
from penstock.manager.ai_task_manager import AITaskManager
from penstock.manager.synchronous import SyncTaskManager
from penstock.model.options import TaskOptions
from penstock.model.states import TaskStatus
from penstock.runtime.settings import Settings
from penstock.workflows import Workflow

COMPLETED, FAILED, CANCELLED = TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED


class Kitchen:
    """Handlers, and what they did in order."""

    def __init__(self):
        self.done = []
        self.gate = asyncio.Event()
        self.running = self.most = 0

    async def echo(self, context):
        self.done.append(context.metadata["node"] if context.metadata else "echo")
        return context.data

    async def fail(self, context):
        self.done.append("fail")
        raise ValueError("no luck")

    async def undo(self, context):
        self.done.append(("undo", context.data))

    async def wait(self, context):
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.gate.wait()
        finally:
            self.running -= 1

    def register(self, manager):
        for name in ("echo", "fail", "undo", "wait"):
            manager.register(name, getattr(self, name))


@pytest.fixture
async def kitchen():
    return Kitchen()


@pytest.fixture
async def manager(kitchen):
    made = Manager(Settings(store="memory", max_concurrent=50, seed=0))
    kitchen.register(made)
    async with made:
        yield made


def node(id, type="echo", data=None, **rest):
    return {"id": id, "type": type, "data": data, **rest}


def failing(id="bad", **rest):
    return node(id, "fail", max_retries=0, **rest)


async def statuses(run):
    return {one.node: one.status for one in await run.nodes()}


async def finished(run, timeout=10):
    """Wait for its end, whatever it is."""
    try:
        return await run.result(timeout)
    except (TaskFailed, TaskCancelled) as error:
        return error


async def until(condition):
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not become true")


# Results


async def test_results_are_handed_on(manager):
    run = await manager.run(
        {
            "nodes": [
                node("a", data={"items": [1, {"x": "two"}]}),
                node("b", data={"first": {"$result": "a", "path": "/items/0"}, "all": {"$result": "a"}}),
                node("c", data={"text": {"$text": "${b/first} and ${a/items/1/x}, $${b}"}}),
            ]
        }
    )
    assert await run.result(10) == {"text": "1 and two, ${b}"}
    assert run.progress().fraction == 1.0
    nodes = {one.node: one for one in await run.nodes()}
    assert await manager.wait(nodes["b"].id) == {"first": 1, "all": {"items": [1, {"x": "two"}]}}
    view = await manager.get(nodes["b"].id)
    assert (view.program, view.metadata["node"]) == (run.id, "b")
    assert await manager.workflow(run.id).result() == {"text": "1 and two, ${b}"}
    assert (await manager.get(run.id)).subtasks == tuple(one.id for one in nodes.values())


async def test_several_results_and_chosen_ones(manager):
    nodes = [node("a", data=1), node("b", data=2, after=["a"]), node("c", data=3, after=["a"])]
    assert await finished(await manager.run({"nodes": nodes})) == {"b": 2, "c": 3}
    assert await finished(await manager.run({"nodes": nodes, "output": ["a", "b", "c"]})) == {
        "a": 1,
        "b": 2,
        "c": 3,
    }
    assert await finished(await manager.run({"nodes": nodes[:2], "output": "b"})) == 2


async def test_results_are_kept_for_those_who_need_them(kitchen):
    """Also with one slot, and where tasks of a type are not kept."""
    manager = Manager(Settings(store="memory", max_concurrent=1))

    async def echo(context):
        return context.data

    manager.register("echo", echo, options=TaskOptions(keep=False))
    async with manager:
        run = await manager.run({"nodes": [node("a", data=1), node("b", data=[{"$result": "a"}])]})
        assert await run.result(10) == [1]


async def test_order_is_that_of_the_edges(manager, kitchen):
    nodes = [node("d", after=["b", "c"]), node("b", after=["a"]), node("c", after=["a"]), node("a")]
    await finished(await manager.run({"nodes": nodes}))
    assert kitchen.done[0] == "a"
    assert kitchen.done[-1] == "d"


async def test_a_reference_that_cannot_be_filled_fails_its_node(manager):
    nodes = [node("a", data={"x": 1}), node("b", data={"y": {"$result": "a", "path": "/z"}})]
    run = await manager.run({"nodes": nodes})
    with pytest.raises(TaskFailed, match=r"node 'b' failed \(reference_missing\).*'a' has no /z.*keys x"):
        await run.result(10)


async def test_task_as_type_workflow(manager):
    id = await manager.submit("workflow", {"nodes": [node("a", data=5)]})
    assert await manager.wait(id, 10) == 5


async def test_dependents_of_a_workflow(manager):
    run = await manager.run({"nodes": [node("a", data=5)]})
    assert await manager.wait(await manager.submit("echo", 1, after=[run.id]), 10) == 1


async def test_analysis(manager):
    run = await manager.run({"name": "two", "nodes": [node("a"), node("b", after=["a"])]})
    await run.result(10)
    told = await run.analysis()
    assert told.name == "two"
    assert {one.id: one.waited_for for one in told.nodes} == {"a": None, "b": "a"}


# Failures


async def test_failure_stops(manager, kitchen):
    nodes = [failing(), node("w", "wait"), node("later", after=["w"]), node("behind", after=["bad"])]
    run = await manager.run({"nodes": nodes})
    with pytest.raises(
        TaskFailed, match=r"workflow_failed.*node 'bad' failed \(handler_error\): ValueError: no luck"
    ):
        await run.result(10)
    assert await statuses(run) == {"bad": FAILED, "w": CANCELLED, "later": CANCELLED, "behind": CANCELLED}
    progress = run.progress()
    assert (progress.stopped_by, progress.open, progress.failed, progress.cancelled) == ("bad", 0, 1, 3)
    assert kitchen.running == 0


CONTINUE = [
    # policy of the whole, of the node, result, what becomes of "other" and "behind"
    ("continue", None, {"other": 1, "behind": None}, COMPLETED, FAILED),
    ("stop", "continue", {"other": 1, "behind": None}, COMPLETED, FAILED),
    ("continue", "stop", None, CANCELLED, CANCELLED),
    ("stop", None, None, CANCELLED, CANCELLED),
]


@pytest.mark.parametrize(("whole", "own", "result", "other", "behind"), CONTINUE)
async def test_policies(manager, kitchen, whole, own, result, other, behind):
    bad = failing() | ({} if own is None else {"on_failure": own})
    nodes = [bad, node("w", "wait"), node("other", data=1, after=["w"]), node("behind", after=["bad"])]
    run = await manager.run({"nodes": nodes, "on_failure": whole})
    if result is not None:
        await until(lambda: run.progress().failed)
        kitchen.gate.set()
    ended = await finished(run)
    assert ended == result if result is not None else isinstance(ended, TaskFailed)
    found = await statuses(run)
    assert (found["other"], found["behind"]) == (other, behind)


async def test_nothing_of_the_output_completed(manager):
    run = await manager.run(
        {"nodes": [failing(), node("a"), node("b", after=["a", "bad"])], "on_failure": "continue"}
    )
    with pytest.raises(TaskFailed, match="none of the nodes of its output completed"):
        await run.result(10)


async def test_cancelling_a_node_is_its_failure(manager, kitchen):
    run = await manager.run({"nodes": [node("a", "wait"), node("b", after=["a"])]})
    await until(lambda: kitchen.running)
    await manager.cancel((await run.nodes())[0].id)
    with pytest.raises(TaskFailed, match="node 'a' was cancelled"):
        await run.result(10)


async def test_retries_of_a_node(manager, kitchen):
    run = await manager.run({"nodes": [node("a", "fail", max_retries=2, retry_delay=0.001)]})
    await finished(run)
    assert kitchen.done == ["fail"] * 3


FALLBACKS = [
    ({"value": {"n": 7}}, {"n": 7}),
    ({"value": None}, None),
    ({"value": {"$result": "a"}}, 1),
    ({"type": "echo", "data": {"from": {"$text": "${a}!"}}}, {"from": "1!"}),
]


@pytest.mark.parametrize(("fallback", "result"), FALLBACKS)
async def test_fallbacks(manager, fallback, result):
    nodes = [node("a", data=1), failing(data={"x": {"$result": "a"}}, fallback=fallback)]
    run = await manager.run({"nodes": nodes, "output": "bad"})
    assert await run.result(10) == result
    view = await manager.get((await run.nodes())[1].id)
    told = view.metadata["fallback"]
    assert told["instead"] == fallback.get("type", "value")
    assert "no luck" in told["message"]
    events = await manager.read(lambda reader: reader.events(0, task=view.seq, kinds=("fallback",)))
    assert len(events) == 1


async def test_a_fallback_that_fails_too(manager, kitchen):
    run = await manager.run({"nodes": [failing(fallback={"type": "fail", "data": None})]})
    with pytest.raises(TaskFailed, match="node 'bad' failed"):
        await run.result(10)
    assert kitchen.done == ["fail", "fail"]


async def test_trying_again_begins_with_the_first_handler(manager, kitchen):
    run = await manager.run({"nodes": [failing(fallback={"type": "fail"})]})
    await finished(run)
    id = await manager.retry((await run.nodes())[0].id)
    with pytest.raises(TaskFailed):
        await manager.wait(id, 10)
    assert kitchen.done == ["fail"] * 4


async def test_a_fallback_is_retried_like_the_first(manager, kitchen):
    tries = []

    async def shaky(context):
        tries.append(await context.step("one", lambda: len(tries)))
        if len(tries) < 3:
            raise ValueError("not yet")
        return "at last"

    manager.register("shaky", shaky)
    bad = node("bad", "fail", max_retries=2, retry_delay=0.001, fallback={"type": "shaky"})
    assert await (await manager.run({"nodes": [bad]})).result(10) == "at last"
    assert (kitchen.done, tries) == (["fail"] * 3, [0, 0, 0])


async def test_a_timeout_falls_back(manager):
    run = await manager.run(
        {"nodes": [node("a", "wait", timeout=0.02, max_retries=0, fallback={"value": 3})]}
    )
    # The timeout of a handler counts while it has its slot.
    assert await run.result(10) == 3


async def test_trying_a_failed_workflow_again(manager, kitchen):
    nodes = [node("a", data=1), failing(after=["a"])]
    run = await manager.run({"nodes": nodes, "deadline_seconds": 60})
    await finished(run)
    kitchen.done.clear()
    again = manager.workflow(await manager.retry(run.id))
    with pytest.raises(TaskFailed, match="node 'bad' failed"):
        await again.result(10)
    assert kitchen.done == ["fail"]
    assert (again.progress().total, again.progress().completed) == (2, 1)


async def test_trying_a_failed_node_again(manager):
    state = {"broken": True}

    async def unsteady(context):
        if state["broken"]:
            raise InvalidTask("not yet")
        return context.data

    manager.register("unsteady", unsteady)
    nodes = [node("a", data=1), node("b", "unsteady", {"x": {"$result": "a"}})]
    run = await manager.run({"nodes": nodes})
    await finished(run)
    state["broken"] = False
    id = await manager.retry((await run.nodes())[1].id)
    assert await manager.wait(id, 10) == {"x": 1}


# Undoing


async def test_rollback_in_reverse_order_of_ends(manager, kitchen):
    def undone(id):
        return {"type": "undo", "data": {"of": id, "was": {"$result": id}}}

    nodes = [
        node("a", data=1, compensate=undone("a")),
        node("b", data=2, after=["a"], compensate=undone("b")),
    ]
    nodes += [
        node("c", data=3, after=["b"]),
        failing(after=["c"]),
        node("never", after=["bad"], compensate=undone("never")),
    ]
    run = await manager.run({"nodes": nodes})
    with pytest.raises(TaskFailed, match="2 of 2 nodes that completed were undone"):
        await run.result(10)
    assert kitchen.done[4:] == [("undo", {"of": "b", "was": 2}), ("undo", {"of": "a", "was": 1})]


async def test_a_compensation_that_fails_keeps_no_other_from_running(manager, kitchen):
    undo = {"type": "undo", "data": 1}
    nodes = [node("a", compensate=undo), node("b", after=["a"], compensate={"type": "break"})]
    nodes += [node("c", after=["b"], compensate=undo), failing(after=["c"])]

    async def broken(context):
        raise InvalidTask("cannot be undone")

    manager.register("break", broken)
    run = await manager.run({"nodes": nodes})
    with pytest.raises(
        TaskFailed, match=r"2 of 3 nodes that completed were undone, not 'b'.*cannot be undone"
    ):
        await run.result(10)
    assert kitchen.done.count(("undo", 1)) == 2


# Stopping


async def test_cancelling_the_workflow_cancels_its_nodes(manager, kitchen):
    nodes = [node("a", compensate={"type": "undo"}), node("w", "wait", after=["a"]), node("z", after=["w"])]
    run = await manager.run({"nodes": nodes})
    await until(lambda: kitchen.running)
    assert await run.cancel()
    with pytest.raises(TaskCancelled):
        await run.result(10)
    await until(lambda: not kitchen.running)
    await until(lambda: not run.progress().open)
    assert await statuses(run) == {"a": COMPLETED, "w": CANCELLED, "z": CANCELLED}
    assert ("undo", None) not in kitchen.done
    assert not await run.cancel()


async def test_cancelling_with_undo(manager, kitchen):
    nodes = [node("a", compensate={"type": "undo"}), node("w", "wait", after=["a"])]
    run = await manager.run({"nodes": nodes})
    await until(lambda: kitchen.running)
    assert await run.cancel(undo=True)
    with pytest.raises(TaskFailed, match="workflow_stopped"):
        await run.result(10)
    assert kitchen.done[-1] == ("undo", None)


async def test_who_asks_twice_for_undo_does_not_stop_it(manager, kitchen):
    """Two people at once, or one who clicks twice."""
    go_on = asyncio.Event()

    async def undo(context):
        await go_on.wait()
        kitchen.done.append(("undone", context.data))

    manager.register("undo slowly", undo)
    nodes = [node("a", compensate={"type": "undo slowly"}), node("w", "wait", after=["a"])]
    run = await manager.run({"nodes": nodes})
    await until(lambda: kitchen.running)
    assert await asyncio.gather(run.cancel(undo=True), run.cancel(undo=True)) == [True, True]
    await until(lambda: run.progress().cancelled)
    assert await run.cancel(undo=True)
    go_on.set()
    with pytest.raises(TaskFailed, match="1 of 1 nodes that completed were undone"):
        await run.result(10)
    assert kitchen.done[-1] == ("undone", None)
    assert not await run.cancel(undo=True)


@pytest.mark.parametrize("limit", ["deadline_seconds", "timeout"])
async def test_its_time_is_over(manager, kitchen, limit):
    nodes = [
        node("a", data=1, compensate={"type": "undo"}),
        node("w", "wait", after=["a"]),
        node("z", after=["w"]),
    ]
    run = await manager.run({"nodes": nodes, limit: 0.3})
    with pytest.raises(TaskFailed, match=r"passed when 1 of 3 nodes were done; 1 of 1 nodes .* undone"):
        await run.result(10)
    assert (await statuses(run))["z"] is CANCELLED
    assert kitchen.running == 0


async def test_deadlines_are_handed_down(manager):
    nodes = [node("a"), node("b", deadline_seconds=50), node("c", deadline_seconds=500)]
    run = await manager.run({"nodes": nodes, "deadline_seconds": 100})
    await run.result(10)
    whole = await manager.get(run.id)
    begun = whole.created_at
    found = {one.node: await manager.get(one.id) for one in await run.nodes()}
    assert {id: round(view.deadline - begun) for id, view in found.items()} == {"a": 100, "b": 50, "c": 100}


async def test_terms_of_nodes(manager):
    nodes = [node("a", priority="URGENT", tenant="them", timeout=9, name="First"), node("b")]
    run = await manager.run(
        {"nodes": nodes, "priority": 7, "tenant": "us", "metadata": {"k": 1}, "name": "flow"}
    )
    await run.result(10)
    a, b = [await manager.get(one.id) for one in await run.nodes()]
    assert (a.priority, a.tenant, a.options["timeout"], a.metadata["name"]) == (40, "them", 9, "First")
    assert (b.priority, b.tenant, b.options) == (7, "us", None)
    whole = await manager.get(run.id)
    assert (whole.priority, whole.tenant, whole.metadata) == (7, "us", {"name": "flow", "k": 1})


async def test_so_many_nodes_at_once(manager, kitchen):
    nodes = [node(f"n{number}", "wait") for number in range(9)]
    run = await manager.run({"nodes": nodes, "max_concurrent": 3})
    await until(lambda: kitchen.running == 3)
    await asyncio.sleep(0.02)
    assert kitchen.running == 3
    kitchen.gate.set()
    await run.result(10)
    assert kitchen.most == 3


# Growth


async def test_a_node_adds_nodes(manager, kitchen):
    async def spread(context):
        added = await context.grow(
            [
                node("x", data={"from": {"$result": "a"}}, compensate={"type": "undo"}),
                node("y", data={"and": {"$result": "x"}}, after=["spread"]),
            ]
        )
        return sorted(added)

    manager.register("spread", spread)
    run = await manager.run({"nodes": [node("a", data=1), node("spread", "spread", after=["a"])]})
    assert await run.result(10) == ["x", "y"]
    assert await statuses(run) == dict.fromkeys(["a", "spread", "x", "y"], COMPLETED)
    y = (await run.nodes())[3]
    assert await manager.wait(y.id) == {"and": {"from": 1}}


@pytest.mark.parametrize(
    ("nodes", "match"),
    [
        ([node("a")], "there is a node 'a' in this workflow already"),
        ([node("x", "nothing")], "no task type 'nothing'"),
        ([node("x", after=["zz"])], "'zz', which does not exist"),
    ],
)
async def test_wrong_growth_is_refused(manager, nodes, match):
    async def spread(context):
        await context.grow(nodes)

    manager.register("spread", spread)
    run = await manager.run({"nodes": [node("a"), node("spread", "spread", max_retries=0)]})
    with pytest.raises(TaskFailed, match=match):
        await run.result(10)


@pytest.mark.parametrize("given", [None, 5, "abc", {"id": "x", "type": "echo"}])
async def test_what_is_no_list_of_nodes(manager, given):
    async def spread(context):
        await context.grow(given)

    manager.register("spread", spread)
    run = await manager.run({"nodes": [node("spread", "spread", max_retries=0)]})
    with pytest.raises(TaskFailed, match="must be a list of nodes"):
        await run.result(10)


async def test_growth_outside_of_workflows(manager):
    async def spread(context):
        await context.grow([node("x")])

    manager.register("spread", spread)
    with pytest.raises(TaskFailed, match="is no node of a workflow"):
        await manager.wait(await manager.submit("spread"), 10)


# Wrong use


@pytest.mark.parametrize(
    ("flow", "match"),
    [
        ({}, "nodes"),
        ({"nodes": []}, "nodes"),
        ({"nodes": [node("a", after=["b"]), node("b", after=["a"])]}, "a → b → a"),
        ({"nodes": [node("a", "ecko")]}, "did you mean 'echo'"),
        (None, "nodes"),
    ],
)
async def test_wrong_definitions_are_refused(manager, flow, match):
    with pytest.raises(InvalidWorkflow, match=match):
        await manager.run(flow)
    with pytest.raises(InvalidWorkflow, match=match):
        await manager.submit("workflow", flow)


async def test_wrong_data_of_nodes_is_refused_as_far_as_it_is_known():
    async with AITaskManager(store="memory") as manager:

        @manager.task
        def add(a: int, b: int) -> int:
            return a + b

        wrong = [node("x", "add", {"a": 1, "b": 2}), node("y", "add", {"a": "one", "b": {"$result": "x"}})]
        with pytest.raises(InvalidWorkflow, match=r"nodes\.1\.data: node 'y'.*a:") as caught:
            await manager.run({"nodes": wrong})
        assert len(caught.value.problems) == 1
        late = [node("x", "add", {"a": 1, "b": 2}), node("y", "add", {"a": 1, "b": {"$text": "is ${x}"}})]
        with pytest.raises(TaskFailed, match=r"node 'y' failed.*b:"):
            await (await manager.run({"nodes": late})).result(10)
        flow = Workflow("sum")
        flow.add(add, flow.add(add, 1, 2), 4)
        run = await manager.run(flow)
        assert await run.result(10) == 7
        assert await manager.workflow(run.id).result() == 7


async def test_no_room_for_all_nodes(kitchen):
    manager = Manager(Settings(store="memory", max_queue_size=3))
    kitchen.register(manager)
    async with manager:
        assert (
            await finished(await manager.run({"nodes": [node("a", data=1), node("b", after=["a"])]})) is None
        )
        with pytest.raises(QueueFull):
            await manager.run({"nodes": [node(id) for id in "abc"]})


async def test_unknown_runs(manager):
    id = await manager.submit("echo", 1)
    for wrong in (id, "nothing"):
        with pytest.raises(TaskNotFound, match="there is no workflow"):
            manager.workflow(wrong).progress()


async def test_waiting_for_a_result_gives_up(manager, kitchen):
    run = await manager.run({"nodes": [node("w", "wait")]})
    with pytest.raises(WaitTimeout):
        await run.result(0.05)
    kitchen.gate.set()
    await run.result(10)


def test_without_await():
    with SyncTaskManager(store="memory") as manager:

        @manager.task
        def double(n: int) -> int:
            return 2 * n

        flow = Workflow("twice")
        flow.add(double, flow.add(double, 5))
        run = manager.run(flow, tenant="red")
        assert run.result(10) == 20
        assert run.progress().completed == 2
        assert len(run.nodes()) == len(run.analysis().nodes) == 2
        assert manager.workflow(run.id).result() == 20
        assert run.cancel() is False


async def test_functions_of_another_manager_are_refused():
    async with AITaskManager(store="memory") as manager, AITaskManager(store="memory") as other:
        theirs = other.task(name="mine")(lambda: 1)
        manager.task(name="mine")(lambda: 2)
        flow = Workflow("mixed")
        flow.add(theirs)
        for given in (flow, flow.given(1)):
            with pytest.raises(InvalidWorkflow, match="'mine' belongs to another manager"):
                await manager.run(given)
        whole = Workflow("whole")
        whole.include(flow)
        with pytest.raises(InvalidWorkflow, match="'mine' belongs to another manager"):
            await manager.run(whole)
        assert await (await other.run(whole)).result(timeout=20) == 1
