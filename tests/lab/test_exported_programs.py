"""What a real store went through, exported and replayed: workflows, children and durable waits."""

import asyncio

import pytest

from penstock import Manager, Settings
from penstock.lab import ServiceModel, Setup, read_trace, write_trace
from penstock.lab.engine import replay
from penstock.lab.export import history
from penstock.model.options import TaskOptions
from penstock.policies import policy_named
from penstock.stores.asks import Retention
from penstock.stores.contract import TaskFilter
from penstock.testing import virtually

SLOTS = 2


class View:
    """The store of a running manager, seen in one read."""

    def __init__(self, reader):
        self.reader = reader

    def read(self, work):
        return work(self.reader)


async def work(context):
    await asyncio.sleep(context.data)
    return context.data


async def boss(context):
    await asyncio.sleep(1)
    await context.child("work", 4)
    for child in [await context.start_child("work", 3, key=key) for key in "xyz"]:
        await child.result()
    return "done"


async def sleeper(context):
    await context.step("two seconds", work_step)
    await context.sleep(100)
    await asyncio.sleep(3)


async def work_step():
    await asyncio.sleep(2)


async def listener(context):
    await context.wait_for_event("go")
    await asyncio.sleep(1)


async def unlucky(context):
    await asyncio.sleep(2)
    if context.attempt == 1:
        raise ValueError("no luck")


def diamond(*seconds):
    needs = {"left": ["top"], "right": ["top"], "bottom": ["left", "right"]}
    names = ("top", "left", "right", "bottom")
    return {
        "nodes": [
            {"id": name, "type": "work", "data": one, "after": needs.get(name, [])}
            for name, one in zip(names, seconds, strict=True)
        ]
    }


def made(**settings):
    manager = Manager(Settings(store="memory", seed=1, max_concurrent=SLOTS, **settings))
    for handler in (work, boss, sleeper, listener, unlucky):
        manager.register(handler.__name__, handler)
    return manager


async def exported(manager, **which):
    """The trace, and what really happened: seconds from each task's creation to its end."""

    def look(reader):
        views = reader.tasks(TaskFilter(), limit=1000, newest=False)
        return history(View(reader), **which), {
            one.id: one.finished_at - one.created_at for one in views if one.finished_at is not None
        }

    return await manager.read(look)


def replayed(trace, policy="fifo"):
    """Seconds from the arrival of each program to its end, and of each task that is none."""
    played = replay(trace, policy_named(policy), Setup(SLOTS, ServiceModel(step_tokens=None)))
    ends = {}
    for call in played.calls:
        name = call.request.program
        ends[name] = max(ends.get(name, 0.0), call.finish - call.request.arrival)
    return ends


@virtually
async def test_a_replay_of_what_happened_gives_what_happened(tmp_path):
    """Diamonds, a parent with children and a task with a durable sleep, on two slots."""
    manager = made()
    async with manager:
        runs, ids = [], []
        for seconds in ((3, 5, 6, 1), (2, 9, 1, 4)):
            runs.append(await manager.run(diamond(*seconds)))
            await asyncio.sleep(0.2)  # no two come at once
        for type in ("boss", "sleeper"):
            ids.append(await manager.submit(type))
            await asyncio.sleep(0.2)
        for run in runs:
            await run.result()
        for id in ids:
            await manager.wait(id)
        trace, real = await exported(manager)
    write_trace(trace, tmp_path / "trace.csv")
    for one in (trace, read_trace(tmp_path / "trace.csv")):
        ends = replayed(one)
        assert ends.keys() == {run.id for run in runs} | set(ids)
        assert ends == {id: pytest.approx(real[id], abs=0.1) for id in ends}
    busy = {id: sum(one.service for one in trace.requests if one.program == id) for id in ends}
    # Leaders wait; parent and sleeper are busy before and behind their waits only. What is no step
    # is done again when a task goes on: the second before the children.
    assert [busy[run.id] for run in runs] == [pytest.approx(15, abs=0.1), pytest.approx(16, abs=0.1)]
    assert busy[ids[1]] == pytest.approx(5, abs=0.1)
    assert 14 <= busy[ids[0]] < 18
    for policy in ("shortest_program", "program_fifo", "least_attained"):
        assert replayed(trace, policy).keys() == ends.keys()


@virtually
async def test_the_calls_of_a_diamond():
    manager = made()
    async with manager:
        run = await manager.run(diamond(3, 5, 6, 1))
        await run.result()
        ids = {one.node: one.id for one in await run.nodes()}
        trace, _ = await exported(manager)
    calls = {one.call: one for one in trace.requests}
    assert {one.program for one in calls.values()} == {run.id}
    assert {one.arrival for one in calls.values()} == {0.0}
    assert [calls[ids[name]].service for name in ("top", "left", "right", "bottom")] == [
        pytest.approx(seconds, abs=0.05) for seconds in (3, 5, 6, 1)
    ]
    assert calls[ids["top"]].depends_on == (run.id,)
    assert set(calls[ids["bottom"]].depends_on) == {run.id, ids["left"], ids["right"]}
    assert set(calls[f"{run.id}.2"].depends_on) == {run.id, *ids.values()}
    assert calls[run.id].service + calls[f"{run.id}.2"].service < 0.1


@virtually
async def test_what_comes_from_outside_comes_as_late_again():
    """An event that came after an hour, to a task that was suspended; a short sleep in memory."""
    manager = made()
    async with manager:
        id = await manager.submit("listener")
        await asyncio.sleep(3600)
        await manager.send_event(id, "go")
        await manager.wait(id)
        trace, real = await exported(manager)
    first, second = trace.requests
    assert (first.call, second.call, second.depends_on) == (id, f"{id}.2", (id,))
    assert second.think == pytest.approx(3600, abs=1)
    assert first.service + second.service == pytest.approx(1, abs=0.1)
    assert replayed(trace) == {id: pytest.approx(real[id], abs=1)}


@virtually
async def test_the_delay_before_a_retry_is_no_service():
    manager = made()
    async with manager:
        id = await manager.submit("unlucky", options=TaskOptions(retry_delay=50))
        await manager.wait(id)
        trace, real = await exported(manager)
    first, second = trace.requests
    assert [first.service, second.service] == [pytest.approx(2, abs=0.1)] * 2
    assert second.think > 1
    assert replayed(trace) == {id: pytest.approx(real[id], abs=0.1)}


@virtually
async def test_without_events_the_journal_still_tells_of_waits():
    """Events are removed before tasks are: a task that was claimed twice is then one claim."""
    manager = made()
    async with manager:
        id = await manager.submit("sleeper")
        await manager.wait(id)
        now = manager.clock.wall()
        await manager.node.services.committer.run(lambda tx: tx.prune(Retention(events_before=now), now))
        trace, real = await exported(manager)
    assert sum(one.service for one in trace.requests) == pytest.approx(5, abs=0.1)
    assert replayed(trace) == {id: pytest.approx(real[id], abs=0.1)}


@virtually
async def test_tasks_that_need_each_other_are_a_program_of_their_own():
    manager = made()
    async with manager:
        first = await manager.submit("work", 2)
        second = await manager.submit("work", 3, after=[first])
        alone = await manager.submit("work", 1)
        for id in (first, second, alone):
            await manager.wait(id)
        trace, real = await exported(manager)
    assert [(one.program, one.call, one.depends_on) for one in trace.requests] == [
        (first, first, ()), (first, second, (first,)), ("", "", ())
    ]  # fmt: skip
    assert replayed(trace) == {
        first: pytest.approx(real[second], abs=0.1), "": pytest.approx(real[alone], abs=0.1)
    }  # fmt: skip


@virtually
async def test_nodes_without_their_workflow_come_when_they_came():
    """Asked for one type only, the tasks it needs may be missing; the rest is played as it is."""
    manager = made()
    async with manager:
        run = await manager.run(diamond(3, 5, 6, 1))
        await run.result()
        trace, _ = await exported(manager, type="work")
    assert len(trace.requests) == 4
    assert max(replayed(trace).values()) == pytest.approx(10, abs=0.2)
