"""Progress is heard at once in the process, and seen in the store soon, at a bounded cost."""

import asyncio
import logging

import pytest

from penstock import TaskFilter, TaskOptions
from penstock.errors import TaskFailed
from penstock.runtime import progress as progress_module


async def told(world, id):
    """The progress events of a task."""
    node = world.manager.node
    await node.committer.run(lambda store: None)
    events = await world.manager.read(lambda reader: reader.events(0, 10_000))
    return [event.data for event in events if event.kind == "progress" and event.task_id == id]


async def test_listeners_hear_everything_and_the_store_now_and_then(world, monkeypatch):
    heard = []

    async def work(context):
        for number in range(1, 1001):
            context.progress(number, 1000, f"step {number}")
            if number % 100 == 0:
                await asyncio.sleep(0)

    world.handle(work)
    await world.start()
    world.manager.node.on_progress = lambda task, *rest: heard.append((task.id, *rest))
    id = await world.manager.submit("work")
    await world.manager.wait(id, timeout=10)
    assert heard == [(id, number, 1000, f"step {number}") for number in range(1, 1001)]
    events = await told(world, id)
    assert 2 <= len(events) <= 5
    assert events[0]["current"] == 1
    assert events[-1] == {"current": 1000, "total": 1000, "message": "step 1000"}


async def test_what_is_told_in_between_is_written_a_little_later(world, monkeypatch, eventually):
    monkeypatch.setattr(progress_module, "SECONDS_BETWEEN", 0.05)
    go_on = asyncio.Event()

    async def work(context):
        context.progress(1)
        context.progress(2)
        await go_on.wait()

    world.handle(work)
    await world.start()
    id = await world.manager.submit("work")
    seen = []
    async with asyncio.timeout(10):
        while [one["current"] for one in seen] != [1, 2]:
            seen = await told(world, id)
    go_on.set()
    await world.manager.wait(id, timeout=10)
    assert len(await told(world, id)) == 2


async def test_threads_tell_progress_too(world):
    heard = []

    def work(context):
        context.progress(1, 2)
        context.sync.progress(2, 2, "done")

    world.handle(work)
    await world.start()
    world.manager.node.on_progress = lambda task, *rest: heard.append(rest)
    id = await world.manager.submit("work")
    await world.manager.wait(id, timeout=10)
    assert heard == [(1, 2, ""), (2, 2, "done")]
    assert (await told(world, id))[-1] == {"current": 2, "total": 2, "message": "done"}


async def test_the_last_progress_of_a_failed_attempt_is_kept(world):
    async def work(context):
        context.progress(1, 3)
        context.progress(2, 3)
        raise ValueError("no")

    world.handle(work)
    await world.start()
    id = await world.manager.submit("work", options=TaskOptions(max_retries=0))
    with pytest.raises(TaskFailed):
        await world.manager.wait(id, timeout=10)
    assert [one["current"] for one in await told(world, id)] == [1, 2]
    (task,) = await world.manager.read(lambda reader: reader.tasks(TaskFilter()))
    assert task.progress["current"] == 2


async def test_a_listener_that_fails_hurts_nobody(world, caplog):
    def listener(*told):
        raise ValueError("a bad listener")

    async def work(context):
        context.progress(1)
        return "done"

    world.handle(work)
    await world.start()
    world.manager.node.on_progress = listener
    caplog.set_level(logging.ERROR)
    assert await world.manager.wait(await world.manager.submit("work"), timeout=10) == "done"
    assert "a bad listener" in caplog.text


async def test_progress_is_told_in_numbers(world):
    async def work(context):
        with pytest.raises(ValueError, match="finite"):
            context.progress(float("nan"))
        with pytest.raises(ValueError, match="finite"):
            context.progress(1, float("inf"))

    await world.run(work)


async def test_nothing_is_told_after_the_end(world, eventually):
    kept = []

    async def work(context):
        kept.append(context)
        context.progress(1)

    await world.run(work)
    heard = []
    world.manager.node.on_progress = lambda *told: heard.append(told)
    kept[0].progress(2)
    assert heard == []
