"""Handlers of several versions side by side: what was begun goes on with the code that began it."""

import asyncio

import pytest

from penstock import TaskOptions
from penstock.errors import ConfigurationError, TaskFailed
from penstock.manager import Manager

CALM = TaskOptions(max_retries=0)


def same(value):
    return value


def handler(name, world=None):
    async def work(context):
        await context.step(f"{name} begins", same, 1)
        if world is not None:
            await world.crash()
        return [name, await context.step(f"{name} ends", same, 1)]

    return work


async def begun(world, *versions):
    """The id of a task whose first life ended after its first step, on handlers of these versions."""
    await start(world, *versions)
    id = await world.manager.submit("work", options=CALM)
    async with asyncio.timeout(10):
        await world._crash.wait()
    await world.stop()
    return id


async def start(world, *versions):
    await world.start()
    for version in versions:
        world.manager.register("work", handler(f"v{version}", world), version=version)


async def test_what_was_begun_goes_on_with_its_version_and_the_rest_begins_with_the_newest(world):
    id = await begun(world, "9")
    await start(world, "10", "9")  # 10 is above 9, in whatever order they come
    assert await world.manager.wait(id, timeout=10) == ["v9", 1]
    new = await world.manager.submit("work")
    assert await world.manager.wait(new, timeout=10) == ["v10", 1]
    assert (await world.manager.get(new)).options == {"version": "10"}


async def test_a_version_that_is_not_there_any_more_is_named(world):
    id = await begun(world, "1")
    await start(world, "2")
    with pytest.raises(
        TaskFailed, match=r"no handler of version '1' of task type 'work'.*only: '2'"
    ) as caught:
        await world.manager.wait(id, timeout=10)
    assert caught.value.reason == "version_missing"
    fresh = await world.manager.retry(id, fresh=True)
    assert await world.manager.wait(fresh, timeout=10) == ["v2", 1]


async def test_what_began_without_a_version_needs_the_one_without(world):
    id = await begun(world, "")
    await start(world, "2")
    with pytest.raises(TaskFailed, match="no handler of no version") as caught:
        await world.manager.wait(id, timeout=10)
    assert caught.value.reason == "version_missing"
    await world.stop()
    await start(world, "", "2")
    again = await world.manager.retry(id)
    assert await world.manager.wait(again, timeout=10) == ["v", 1]


async def test_a_task_that_waited_begins_with_the_newest_and_stays_with_it(world):
    """It came with version 1, began with 2, and is found by 3: its journal says what began it."""
    await start(world, "1")
    await world.manager.pause()
    id = await world.manager.submit("work", options=CALM)
    await world.stop()
    world.life = 0
    await start(world, "2")
    await world.manager.resume()
    async with asyncio.timeout(10):
        await world._crash.wait()
    await world.stop()
    await start(world, "3", "1", "2")
    assert await world.manager.wait(id, timeout=10) == ["v2", 1]
    names = [step["name"] for step in (await world.manager.get(id)).steps]
    assert names == ["v2 begins", "v2 ends"]


def test_the_same_version_twice_is_refused():
    manager = Manager()
    manager.register("work", handler("a"), version="1")
    manager.register("work", handler("b"))
    with pytest.raises(ConfigurationError, match="version '1' of task type 'work' is registered already"):
        manager.register("work", handler("c"), version="1")
    with pytest.raises(ConfigurationError, match="task type 'work' is registered already"):
        manager.register("work", handler("c"))
    with pytest.raises(ConfigurationError, match="version must be a text"):
        manager.register("work", handler("c"), version=3)
    assert manager.handlers["work"].version == "1"
