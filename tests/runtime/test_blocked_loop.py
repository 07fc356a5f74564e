"""A coroutine that blocks the event loop is found, named and counted."""

import asyncio
import inspect
import logging
import time

from penstock.runtime.figures import read_figures
from penstock.runtime.watchdog import Watchdog


def block(seconds):
    time.sleep(seconds)


def block_until_noticed(blocked):
    """Block the loop until the watchdog saw it, which a busy machine may keep from looking."""
    before = blocked.count
    any(time.sleep(0.01) or blocked.count > before for _ in range(1_000))  # blocks here


BLOCKING_LINE = inspect.getsourcelines(block_until_noticed)[1] + 3


async def run(world, function, caplog, count=1, **settings):
    world.handle(function)
    caplog.set_level(logging.WARNING, "penstock.tasks")
    await world.start(**{"blocked_after": 0.1, "max_concurrent": 1, **settings})
    ids = [await world.manager.submit("work") for _ in range(count)]
    for id in ids:
        await world.manager.wait(id, timeout=20)
    watchdog = world.manager.node.watchdog
    watchdog.stop()
    if watchdog._thread is not None:
        watchdog._thread.join()  # it may be about to tell
    told = [record.getMessage() for record in caplog.records]
    # On a slow machine the start blocks it as well.
    return ids, [text for text in told if "'work' task" in text and "blocks the event loop" in text]


async def test_the_line_and_the_task_are_named_once_and_counted(world, caplog):
    async def work(context):
        await asyncio.sleep(0.05)
        block_until_noticed(world.manager.node.blocked)

    ids, told = await run(world, work, caplog, count=2)
    assert len(told) == 1
    assert f"{__file__}:{BLOCKING_LINE}" in told[0]
    assert "'work' task" in told[0]
    assert any(id in told[0] for id in ids)
    blocked = world.manager.node.blocked
    shown = read_figures(world.manager.node.figures.text()).blocked
    places = {place: count for place, count in blocked.places.items() if place.startswith("work at")}
    assert places == {f"work at {__file__}:{BLOCKING_LINE}": 2}
    assert 2 <= shown <= blocked.count == sum(blocked.places.values())
    assert blocked.longest > 0.1


async def test_a_branch_is_known_by_its_task(world, caplog):
    async def branch():
        await asyncio.sleep(0)
        block_until_noticed(world.manager.node.blocked)

    async def work(context):
        await asyncio.create_task(branch())

    _, told = await run(world, work, caplog)
    assert "'work' task" in told[0]


async def test_the_users_line_is_told_where_a_library_blocks(world, caplog):
    async def work(context):
        ready = asyncio.Event()
        assert not ready.is_set()
        logging.Handler.acquire(Slow())

    class Slow:
        lock = type("Lock", (), {"acquire": lambda self: block_until_noticed(world.manager.node.blocked)})()

    _, told = await run(world, work, caplog)
    assert f"{__file__}:{BLOCKING_LINE}" in told[0]


async def test_waiting_and_threads_block_nothing(world, caplog):
    def work(context):
        block(0.4)

    _, told = await run(world, work, caplog)
    assert told == []
    assert not any(place.startswith("work at") for place in world.manager.node.blocked.places)


async def test_it_can_be_switched_off(world, caplog):
    async def work(context):
        block(0.3)

    _, told = await run(world, work, caplog, blocked_after=None)
    assert told == []


async def test_what_blocks_outside_any_task_is_named_too(world, caplog, eventually):
    caplog.set_level(logging.WARNING, "penstock.tasks")
    await world.start(blocked_after=0.1)
    await asyncio.sleep(0.05)
    block_until_noticed(world.manager.node.blocked)
    await eventually(lambda: any(f":{BLOCKING_LINE}" in text for text in caplog.messages))
    assert "code outside any task" in caplog.text


def test_a_watchdog_that_nobody_stops_ends_with_its_loop():
    async def begin():
        watchdog = Watchdog(0.04)
        watchdog.start()
        return watchdog._thread

    thread = asyncio.run(begin())
    thread.join(10)
    assert not thread.is_alive()
