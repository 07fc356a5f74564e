"""Reads as the tutorial: what a newcomer does first, in the order in which it comes up."""

import asyncio

import pytest

from penstock import Manager, Settings, Submission, TaskContext, TaskFilter, TaskOptions, TaskStatus
from penstock.errors import (
    IdempotencyConflict,
    QueueFull,
    StoreBusy,
    TaskCancelled,
    TaskFailed,
    TaskNotFound,
    UnknownTaskType,
    WaitTimeout,
)


async def greet(context: TaskContext) -> str:
    return f"hello {context.data['name']}"


@pytest.fixture
def settings(tmp_path):
    return Settings(store=str(tmp_path / "work.db"), durability="normal", max_concurrent=4)


async def test_a_task_is_submitted_run_and_waited_for(settings):
    manager = Manager(settings)
    manager.register("greet", greet)
    async with manager:
        id = await manager.submit("greet", {"name": "Ada"})
        assert await manager.wait(id) == "hello Ada"
        task = await manager.get(id)
        assert task.status is TaskStatus.COMPLETED
        assert task.result == "hello Ada"
        assert await manager.wait(id) == "hello Ada"  # as often as one likes


async def test_a_plain_function_runs_in_a_thread(settings):
    manager = Manager(settings)
    manager.register("double", lambda context: context.data * 2)
    async with manager:
        assert await manager.wait(await manager.submit("double", 21)) == 42


async def test_many_are_submitted_in_one_transaction_or_none(settings):
    manager = Manager(settings)
    manager.register("greet", greet)
    async with manager:
        ids = await manager.submit_many([Submission("greet", {"name": str(n)}) for n in range(50)])
        assert await asyncio.gather(*map(manager.wait, ids)) == [f"hello {n}" for n in range(50)]
        with pytest.raises(UnknownTaskType, match="'oops' has no handler here; known: greet"):
            await manager.submit_many([Submission("greet", {"name": "x"}), Submission("oops")])


async def test_a_task_survives_its_process(settings):
    manager = Manager(settings)
    manager.register("greet", greet)
    async with manager:
        await manager.pause()
        id = await manager.submit("greet", {"name": "Ada"})
    later = Manager(settings)
    later.register("greet", greet)
    async with later:
        await later.resume()
        assert await later.wait(id) == "hello Ada"


async def test_a_failing_task_is_tried_again_and_says_why_it_failed(settings):
    attempts = []

    async def shaky(context):
        attempts.append(context.attempt)
        raise RuntimeError("no luck")

    manager = Manager(settings)
    manager.register("shaky", shaky, options=TaskOptions(max_retries=2, retry_delay=0.01))
    async with manager:
        id = await manager.submit("shaky")
        with pytest.raises(TaskFailed, match="no luck") as caught:
            await manager.wait(id)
        assert caught.value.reason == "handler_error"
        assert attempts == [1, 2, 3]


async def test_a_failed_task_is_tried_again_by_hand_with_its_journal(settings):
    calls, broken = [], [True]

    async def two_steps(context):
        await context.step("first", lambda: calls.append("first"))
        if broken[0]:
            raise RuntimeError("not yet")
        return "done"

    manager = Manager(settings)
    manager.register("two", two_steps, options=TaskOptions(max_retries=0))
    async with manager:
        id = await manager.submit("two")
        with pytest.raises(TaskFailed):
            await manager.wait(id)
        broken[0] = False
        assert await manager.wait(await manager.retry(id)) == "done"
        assert calls == ["first"]
        again = await manager.retry(id, fresh=True)
        assert await manager.wait(again) == "done"
        assert calls == ["first", "first"]


async def test_the_urgent_go_first(settings):
    order = []

    async def note(context):
        order.append(context.data)

    manager = Manager(settings)
    manager.register("note", note)
    async with manager:
        await manager.pause()
        ids = await manager.submit_many(
            [Submission("note", name, name) for name in ("low", "high", "medium", "urgent")]
        )
        await manager.resume()
        await asyncio.gather(*map(manager.wait, ids))
    assert order == ["urgent", "high", "medium", "low"]


async def test_cancel_takes_what_waits_and_what_runs(settings):
    started = asyncio.Event()

    async def forever(context):
        started.set()
        await asyncio.sleep(3600)

    manager = Manager(settings)
    manager.register("forever", forever)
    async with manager:
        running = await manager.submit("forever")
        await started.wait()
        delayed = await manager.submit("forever", delay=3600)
        assert await manager.cancel(running, delayed) == {running: True, delayed: True}
        for id in (running, delayed):
            with pytest.raises(TaskCancelled):
                await manager.wait(id)
        assert await manager.cancel(running) == {running: False}


async def test_pausing_some_leaves_others_alone(settings):
    manager = Manager(settings)
    manager.register("greet", greet)
    async with manager:
        delayed = await manager.submit("greet", {"name": "later"}, delay=3600, tenant="acme")
        assert await manager.pause(TaskFilter(tenant="acme")) == 1
        assert (await manager.get(delayed)).status is TaskStatus.PAUSED
        assert await manager.wait(await manager.submit("greet", {"name": "now"})) == "hello now"
        assert await manager.resume(TaskFilter(tenant="acme")) == 1


async def test_a_delayed_task_starts_when_it_is_due(settings):
    manager = Manager(settings)
    manager.register("greet", greet)
    async with manager:
        id = await manager.submit("greet", {"name": "later"}, delay=0.05)
        assert (await manager.get(id)).status is TaskStatus.QUEUED
        assert await manager.wait(id, timeout=5) == "hello later"


async def test_the_same_idempotency_key_is_the_same_task(settings):
    manager = Manager(settings)
    manager.register("greet", greet)
    async with manager:
        one = await manager.submit("greet", {"name": "Ada"}, idempotency_key="k")
        assert await manager.submit("greet", {"name": "Ada"}, idempotency_key="k") == one
        with pytest.raises(IdempotencyConflict):
            await manager.submit("greet", {"name": "Bob"}, idempotency_key="k")
        assert await manager.submit("greet", {"name": "Bob"}, idempotency_key="k", tenant="other") != one


async def test_waiting_too_long_and_for_nothing_says_so(settings):
    manager = Manager(settings)
    manager.register("greet", greet)
    async with manager:
        id = await manager.submit("greet", {"name": "later"}, delay=3600)
        with pytest.raises(WaitTimeout, match=id):
            await manager.wait(id, timeout=0.01)
        with pytest.raises(TaskNotFound):
            await manager.wait("0" * 32)


async def test_a_full_queue_refuses(tmp_path):
    manager = Manager(Settings(store=str(tmp_path / "q.db"), max_queue_size=2))
    manager.register("greet", greet)
    async with manager:
        await manager.pause()
        await manager.submit_many([Submission("greet", {"name": "a"}), Submission("greet", {"name": "b"})])
        with pytest.raises(QueueFull):
            await manager.submit("greet", {"name": "c"})


async def test_a_second_dispatcher_on_the_same_file_is_told_whose_it_is(settings):
    import os

    async with Manager(settings):
        with pytest.raises(StoreBusy, match=str(os.getpid())):
            await Manager(settings).start()


async def test_an_attempt_that_takes_too_long_is_ended(settings):
    async def slow(context):
        await asyncio.sleep(60)

    manager = Manager(settings)
    manager.register("slow", slow, options=TaskOptions(timeout=0.05, max_retries=0))
    async with manager:
        with pytest.raises(TaskFailed, match=r"timeout of 0\.05 seconds"):
            await manager.wait(await manager.submit("slow"))


async def test_prompts_and_replies_need_not_be_kept(settings):
    async def secret(context):
        return await context.step("read", lambda: "confidential")

    manager = Manager(settings)
    manager.register("secret", secret, options=TaskOptions(keep=False))
    async with manager:
        id = await manager.submit("secret", {"prompt": "private"})
        assert await manager.wait(id) == "confidential"
        task = await manager.get(id)
        assert (task.payload, task.result, task.steps) == (None, None, [])
