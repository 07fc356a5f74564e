"""The process dies at any commit of a workflow: the next one ends it the same, and does nothing twice."""

import asyncio
import logging
from collections import Counter

import pytest

from penstock import AITaskManager
from penstock.errors import PenstockError, TaskFailed
from penstock.manager import Manager
from penstock.model.states import TaskStatus
from penstock.runtime.settings import Settings
from penstock.stores.asks import TaskFilter
from penstock.stores.sqlite.store import SqliteStore
from penstock.testing import Harness, virtually
from penstock.testing.lives import new_life


@pytest.fixture(autouse=True)
def quiet():
    """Processes that die say a lot."""
    logger = logging.getLogger("penstock")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(before)


def undo(id):
    return {"type": "undo", "data": {"of": {"$result": id}}}


def echo(id, **rest):
    return {"id": id, "type": "echo", "data": id, "compensate": undo(id), **rest}


FLOWS = {
    "completes": {"nodes": [echo("a"), echo("b"), echo("c", after=["a", "b"])]},
    "grows": {"nodes": [echo("a"), {"id": "g", "type": "grow", "after": ["a"]}]},
    "limited": {"nodes": [echo("a"), echo("b"), echo("c")], "max_concurrent": 1},
    "rolls back": {
        "nodes": [
            echo("a"),
            echo("b", after=["a"]),
            echo("c", after=["b"]),
            {"id": "bad", "type": "fail", "after": ["c"], "max_retries": 0},
        ]
    },
    "falls back": {
        "nodes": [
            {"id": "bad", "type": "fail", "max_retries": 0, "fallback": {"type": "echo", "data": "instead"}},
            echo("b", after=["bad"]),
        ]
    },
}
ENDS = {
    "completes": "c",
    "grows": ["x"],
    "limited": {"a": "a", "b": "b", "c": "c"},
    "rolls back": TaskFailed,
    "falls back": "b",
}


class World:
    """One store, and what handlers did to the world outside, over all lives."""

    def __init__(self):
        self.store = SqliteStore.open(":memory:")
        self.undone = []

    def manager(self, view):
        made = Manager(Settings(store="memory", seed=0, max_concurrent=4), store=view)

        async def run(context):
            return context.data

        async def fail(context):
            raise ValueError("no luck")

        async def grow(context):
            return sorted(await context.grow([echo("x")]))

        async def undo(context):
            # Exactly once submitted; a crash between the act and its record repeats the act, so a step.
            await context.step("undo", lambda: self.undone.append(context.data["of"]))

        for name, function in (("echo", run), ("fail", fail), ("grow", grow), ("undo", undo)):
            made.register(name, function)
        return made

    async def live(self, flow=None, commits=None):
        """One process, which dies before its commit number `commits`, or ends the workflow; its outcome."""
        life, view = new_life(self.store)
        inner, count = view.run, 0

        def run(work):
            nonlocal count
            count += 1
            if commits is not None and count >= commits:
                life.over = True
            return inner(work)

        view.run = run
        manager = self.manager(view)
        try:
            async with manager:
                if flow is not None:
                    await manager.run(flow)
                [found] = manager.peek(lambda reader: reader.tasks(TaskFilter(types=("workflow",))))
                outcome = await ended(manager.workflow(found.id))
        except (PenstockError, ValueError) as error:
            outcome = error
        return outcome, life.over, count


async def ended(run):
    try:
        return await run.result(10)
    except TaskFailed as error:
        return error


def check(world, name, outcome):
    expected = ENDS[name]
    assert isinstance(outcome, expected) if isinstance(expected, type) else outcome == expected, outcome
    tasks = world.store.read(lambda reader: reader.tasks(TaskFilter(), limit=1000))
    assert {task.status for task in tasks} <= {TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED}
    nodes = Counter(task.metadata["node"] for task in tasks if task.metadata and "node" in task.metadata)
    assert set(nodes.values()) == {1}, f"added twice: {nodes}"
    undoing = [task for task in tasks if task.type == "undo"]
    assert len(undoing) == (3 if name == "rolls back" else 0)
    if name == "rolls back":
        started = sorted(undoing, key=lambda task: task.seq)
        assert [task.payload["of"] for task in started] == ["c", "b", "a"]
        assert list(dict.fromkeys(world.undone)) == ["c", "b", "a"]
    assert world.store.verify() == []


@pytest.mark.parametrize("name", list(FLOWS))
async def test_death_before_any_commit(name):
    world = World()
    outcome, died, count = await world.live(FLOWS[name])
    assert not died
    check(world, name, outcome)
    swept = 0
    for commits in range(1, count + 8):
        world = World()
        _, died, _ = await world.live(FLOWS[name], commits)
        if not world.store.read(lambda reader: reader.tasks(TaskFilter())):
            continue  # it was not accepted yet
        swept += died
        outcome, *_ = await world.live()
        check(world, name, outcome)
        world.store.close()
    assert swept >= 10


async def died_after(steps):
    """What was undone where the process is killed after so many steps; `None`: there are not so many."""
    undone = []
    manager = AITaskManager(store="memory", max_concurrent=4)

    async def run(context):
        return context.data

    async def fail(context):
        raise ValueError("no luck")

    async def undo(context):
        await context.step("undo", lambda: undone.append(context.data["of"]))

    for name, function in (("echo", run), ("fail", fail), ("undo", undo)):
        manager.register_type(name, function)
    async with Harness(manager) as harness:
        started = await manager.run(FLOWS["rolls back"])
        try:
            await harness.crash_and_restart(after_steps=steps)
        except AssertionError:
            return None
        await harness.drain()
        task = manager.get_task(started.id)
        assert task.status is TaskStatus.FAILED
        assert "3 of 3 nodes that completed were undone" in str(task.error)
    return undone


async def test_death_after_any_step_of_the_rollback():
    """Every child and every step recorded: killed after each, every compensation runs once."""
    steps = 1
    while (undone := await died_after(steps)) is not None:
        assert undone == ["c", "b", "a"]
        steps += 1
    assert steps > 9


@virtually
async def test_a_day_passes():
    """Nothing is in memory while a node waits for an event; the timeout wakes the workflow all the same."""
    undone = []
    manager = AITaskManager(store="memory")

    async def run(context):
        return context.data

    async def wait(context):
        return await context.wait_for_event("go")

    async def undo(context):
        undone.append(context.data["of"])

    for name, function in (("echo", run), ("wait", wait), ("undo", undo)):
        manager.register_type(name, function)
    async with Harness(manager) as harness:
        nodes = [echo("a"), {"id": "w", "type": "wait", "after": ["a"]}]
        started = await manager.run({"nodes": nodes, "timeout": 86_400})
        await harness.drain()
        await harness.advance(80_000)
        assert manager.get_task(started.id).status is TaskStatus.SUSPENDED
        await harness.crash_and_restart()
        await harness.run_out()
        task = manager.get_task(started.id)
        assert "its timeout passed when 1 of 2 nodes were done; 1 of 1" in str(task.error)
        assert undone == ["a"]


async def test_suspended_in_the_middle():
    """A workflow whose nodes take long holds no memory: its task is suspended, and woken by the last end."""
    gate = asyncio.Event()
    manager = Manager(Settings(store="memory", suspend_after=0.02, max_concurrent=4))

    async def wait(context):
        await gate.wait()
        return context.data

    manager.register("wait", wait)
    async with manager:
        run = await manager.run({"nodes": [{"id": "a", "type": "wait", "data": 4}]})
        for _ in range(1000):
            if (view := await manager.get(run.id)).status is TaskStatus.SUSPENDED:
                break
            await asyncio.sleep(0.005)
        assert view.status is TaskStatus.SUSPENDED
        gate.set()
        assert await run.result(10) == 4
