"""What other processes ask for, also while nobody dispatches."""

import asyncio
import time

import pytest

from penstock import Manager, Settings, TaskFilter, TaskOptions, TaskStatus
from penstock.errors import TaskCancelled
from penstock.stores.sqlite.store import SqliteStore
from penstock.testing import virtually


async def wait_until(condition, seconds=10):
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "c.db")


def manager_on(path, **more):
    manager = Manager(Settings(store=path, durability="normal", **more))

    async def forever(context):
        manager.started.set()
        await asyncio.sleep(3600)

    manager.started = asyncio.Event()
    manager.register("forever", forever)
    manager.register("quick", lambda context: "done", options=TaskOptions(max_retries=0))
    return manager


async def test_a_cancel_from_another_process_is_noticed_within_a_moment(path):
    async with manager_on(path) as manager:
        with SqliteStore.open(path) as other:
            took = []
            while min(took, default=1.0) >= 1.0 and len(took) < 5:  # the machine may be busy for a while
                manager.started.clear()
                id = await manager.submit("forever")
                await manager.started.wait()
                begun, only = time.monotonic(), TaskFilter(ids=(id,))
                assert other.run(lambda store, only=only: store.cancel(only, time.time())) == {id: True}
                with pytest.raises(TaskCancelled):
                    await manager.wait(id, timeout=20)
                took.append(time.monotonic() - begun)
        assert min(took) < 1.0


async def test_a_cancel_asked_while_nobody_dispatches_is_carried_out_at_the_next_start(path):
    first = manager_on(path)
    await first.start()
    id = await first.submit("forever")
    await first.started.wait()
    # The node dies without a word: its task stays claimed.
    seq = (await first.get(id)).seq
    with SqliteStore.open(path) as other:
        other.run(lambda store: store.ask_control("cancel", seq, time.time()))
    first.node.dispatcher.stop()
    first.node.dispatcher.open[seq].future.cancel()
    await wait_until(lambda: not first.node.dispatcher.open)
    await first.stop()
    async with manager_on(path) as second:
        assert (await second.get(id)).status is TaskStatus.CANCELLED


async def test_a_pause_of_everything_outlives_the_process(path):
    async with manager_on(path) as manager:
        await manager.pause()
        id = await manager.submit("quick")
    async with manager_on(path) as manager:
        await asyncio.sleep(0.05)
        assert (await manager.get(id)).status is TaskStatus.QUEUED
        await manager.resume()
        assert await manager.wait(id, timeout=5) == "done"


async def test_a_task_added_by_another_process_is_run(path):
    async with manager_on(path) as manager:
        with SqliteStore.open(path) as other:
            from penstock import Submission

            task = manager.prepare(Submission("quick"))
            (added,) = other.run(lambda store: store.add([task]))
        assert await manager.wait(added.id, timeout=5) == "done"


async def test_what_waited_in_a_pause_of_its_tenant_goes_on_at_once():
    async with manager_on("memory") as manager:
        await manager.set_pause("tenant:t", True)
        id = await manager.submit("quick", tenant="t")
        await manager.wait(await manager.submit("quick"), timeout=5)
        await wait_until(lambda: manager.node.dispatcher.idle)  # it looked, and found nothing
        await manager.set_pause("tenant:t", False)
        assert await manager.wait(id, timeout=5) == "done"


@virtually
async def test_a_delayed_task_that_was_paused_starts_when_it_is_due():
    async with manager_on("memory") as manager:
        begun = manager.clock.wall()
        id = await manager.submit("quick", delay=100)
        await manager.pause(TaskFilter(ids=(id,)))
        await manager.wait(await manager.submit("quick", delay=50))  # the timer looked meanwhile
        await manager.resume(TaskFilter(ids=(id,)))
        await manager.wait(id, timeout=200)
        assert manager.clock.wall() - begun == pytest.approx(100, abs=1)
