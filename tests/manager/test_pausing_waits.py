"""Pausing suspended tasks: nothing starts them until they are resumed, and nothing that comes is lost."""

import asyncio

import pytest

from penstock import TaskConfig
from penstock.model.states import TaskStatus
from penstock.stores.contract import TaskFilter
from penstock.testing import Harness, SimulatedProvider

SUSPENDED, PAUSED = TaskStatus.SUSPENDED, TaskStatus.PAUSED


@pytest.fixture
def provider():
    with SimulatedProvider() as running:
        yield running


def register(manager, ran):
    async def waits(context):
        ran.append(context.data)
        return await context.wait_for_event("go")

    async def sleeps(context):
        await context.sleep(0.3)
        ran.append("slept")

    async def mother(context):
        child = await context.start_child("waits", "child")
        return await child.result()

    for function in (waits, sleeps, mother):
        manager.register_type(function.__name__, function)


def status(manager, id):
    return manager.get_task(id).status


async def test_events_and_times_are_kept_for_the_resume(provider, eventually):
    ran = []
    async with provider.manager(suspend_after=0.01) as manager:
        register(manager, ran)
        config = TaskConfig(tags=("mine",))
        ids = [await manager.submit_task("waits", number, config=config) for number in range(2)]
        ids.append(await manager.submit_task("sleeps", config=config))
        ids.append(await manager.submit_task("mother", config=config))
        await eventually(lambda: all(status(manager, id) is SUSPENDED for id in ids))
        (child,) = manager.list_tasks(TaskFilter(types=("waits",)), limit=1)
        where = TaskFilter(tags=("mine",))
        assert await manager.engine.pause(where) == 4
        assert [status(manager, id) for id in ids] == [PAUSED] * 4
        await manager.send_event(ids[0], "go", 7)
        await manager.send_event(child.task_id, "go", 8)
        assert await manager.wait_for_task(child.task_id, 20) == 8
        await asyncio.sleep(0.5)  # the sleep is over
        await manager.engine.idle()
        assert [status(manager, id) for id in ids] == [PAUSED] * 4
        began = len(ran)
        assert await manager.engine.resume(where) == 4
        assert [await manager.wait_for_task(id, 20) for id in (ids[0], ids[2], ids[3])] == [7, None, 8]
        assert status(manager, ids[1]) is SUSPENDED
        assert ran[began:].count(1) == 0  # nothing came for it: it was not begun again
        await manager.send_event(ids[1], "go", 9)
        assert await manager.wait_for_task(ids[1], 20) == 9


async def test_over_a_restart_and_a_cancel(provider):
    ran = []
    async with Harness(provider.manager(suspend_after=0.01)) as harness:
        register(harness.manager, ran)
        first, second = [await harness.manager.submit_task("waits", number) for number in range(2)]
        await harness.drain()
        assert await harness.manager.engine.pause(TaskFilter(ids=(first, second))) == 2
        await harness.manager.send_event(first, "go", 7)
        await harness.crash_and_restart()
        await harness.drain()
        assert [status(harness.manager, id) for id in (first, second)] == [PAUSED] * 2
        assert await harness.manager.cancel_task(second)
        await harness.manager.engine.resume(TaskFilter(ids=(first, second)))
        await harness.drain()
        assert await harness.manager.wait_for_task(first, 20) == 7
        assert status(harness.manager, second) is TaskStatus.CANCELLED
        assert harness.manager.engine.node.store.verify() == []
