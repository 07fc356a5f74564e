"""A coroutine that blocks the event loop is found, named and counted."""

import asyncio
import inspect
import logging
import time

from penstock.runtime.figures import read_figures


def block(seconds):
    time.sleep(seconds)  # blocks here


BLOCKING_LINE = inspect.getsourcelines(block)[1] + 1


async def run(world, function, caplog, count=1, **settings):
    world.handle(function)
    caplog.set_level(logging.WARNING, "penstock.tasks")
    await world.start(**{"blocked_after": 0.1, "max_concurrent": 1, **settings})
    ids = [await world.manager.submit("work") for _ in range(count)]
    for id in ids:
        await world.manager.wait(id, timeout=20)
    told = [record.getMessage() for record in caplog.records]
    return ids, [message for message in told if "blocks the event loop" in message]


async def test_the_line_and_the_task_are_named_once_and_counted(world, caplog):
    async def work(context):
        await asyncio.sleep(0.05)
        block(0.35)

    ids, told = await run(world, work, caplog, count=2)
    assert len(told) == 1
    assert f"{__file__}:{BLOCKING_LINE}" in told[0]
    assert "'work' task" in told[0]
    assert any(id in told[0] for id in ids)
    blocked = world.manager.node.blocked
    assert blocked.count == 2
    assert blocked.places == {f"work at {__file__}:{BLOCKING_LINE}": 2}
    assert blocked.longest > 0.1
    assert read_figures(world.manager.node.figures.text()).blocked == 2


async def test_a_branch_is_known_by_its_task(world, caplog):
    async def branch():
        await asyncio.sleep(0)
        block(0.4)

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
        lock = type("Lock", (), {"acquire": lambda self: time.sleep(0.4)})()

    _, told = await run(world, work, caplog)
    assert __file__ in told[0]


async def test_waiting_and_threads_block_nothing(world, caplog):
    def work(context):
        block(0.4)

    _, told = await run(world, work, caplog)
    assert told == []
    assert world.manager.node.blocked.count == 0


async def test_it_can_be_switched_off(world, caplog):
    async def work(context):
        block(0.3)

    _, told = await run(world, work, caplog, blocked_after=None)
    assert told == []


async def test_what_blocks_outside_any_task_is_named_too(world, caplog, eventually):
    caplog.set_level(logging.WARNING, "penstock.tasks")
    await world.start(blocked_after=0.1)
    await asyncio.sleep(0.05)
    block(0.4)
    await eventually(lambda: world.manager.node.blocked.count)
    assert "code outside any task" in caplog.text
