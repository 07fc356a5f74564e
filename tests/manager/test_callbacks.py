"""Callbacks: once each, with the task, and never to its harm."""

import asyncio

import pytest

from penstock import TaskConfig


@pytest.fixture
def heard():
    return []


@pytest.fixture
def config(heard):
    async def done(task):
        heard.append(("done", task.result, task.metrics.execution_time >= 0))

    async def failed(task):
        heard.append(("failed", task.error_code, task.error))

    async def progressed(progress, current, total):
        heard.append(("progress", progress, current, total))

    return TaskConfig(max_retries=0, callback=done, error_callback=failed, progress_callback=progressed)


async def heard_of(heard, count):
    async with asyncio.timeout(5):
        while len(heard) < count:  # noqa: ASYNC110 - the list is the test's own
            await asyncio.sleep(0.01)


async def test_success_with_progress(manager, heard, config):
    async def count(context):
        for number in (1, 2):
            context.progress(number, 2)
        return "well"

    manager.register_type("count", count)
    await manager.wait_for_task(await manager.submit_task("count", config=config), timeout=5)
    await heard_of(heard, 3)
    assert sorted(heard, key=str) == sorted(
        [("progress", 0.5, 1, 2), ("progress", 1.0, 2, 2), ("done", "well", True)], key=str
    )


async def test_failure_and_cancellation(manager, heard, config):
    async def fail(context):
        raise ValueError("no")

    manager.register_type("fail", fail)
    await manager.submit_task("fail", config=config)
    await heard_of(heard, 1)
    assert heard[0][:2] == ("failed", "handler_error")
    manager.pause()
    id = await manager.submit_task("fail", config=config)
    await manager.cancel_task(id)
    await heard_of(heard, 2)
    assert heard[1][:2] == ("failed", "cancelled")


async def test_what_a_callback_raises_hurts_nobody(manager, caplog):
    def broken(task):
        raise RuntimeError("callback trouble")

    async def well(context):
        context.progress(1, 1)
        return 1

    manager.register_type("well", well)
    config = TaskConfig(callback=broken, progress_callback=lambda *args: 1 / 0)
    id = await manager.submit_task("well", config=config)
    assert await manager.wait_for_task(id, timeout=5) == 1
    async with asyncio.timeout(5):
        while "callback trouble" not in caplog.text or "ZeroDivisionError" not in caplog.text:  # noqa: ASYNC110 - pytest's
            await asyncio.sleep(0.01)
    assert manager.get_task_status(id)["status"] == "completed"


async def test_a_plain_callback_runs_off_the_loop(manager, heard):
    import threading

    config = TaskConfig(callback=lambda task: heard.append(threading.current_thread()))

    async def well(context):
        return 1

    manager.register_type("well", well)
    await manager.submit_task("well", config=config)
    await heard_of(heard, 1)
    assert heard[0] is not threading.main_thread()


async def test_callbacks_under_way_end_before_the_manager(make, heard):
    async def slow(task):
        await asyncio.sleep(0.2)
        heard.append("ended")

    async def well(context):
        return 1

    async with make() as manager:
        manager.register_type("well", well)
        id = await manager.submit_task("well", config=TaskConfig(callback=slow))
        await manager.wait_for_task(id, timeout=5)
    assert heard == ["ended"]


async def test_a_task_that_never_ends_does_not_hold_the_stop(make, config):
    async with make() as manager:
        manager.pause()
        await manager.submit_task("llm_call", {"prompt": "x"}, config=config)
    assert not manager.is_running()
