"""Synchronous code: steps and calls in threads, and a clear refusal on the loop's own thread."""

import inspect
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import httpx2
import pytest
from openai import OpenAI

from penstock import TaskOptions
from penstock.errors import BlockingCall, ReplyRejected, TaskFailed

ONCE = TaskOptions(max_retries=0)


def client_of(world):
    http = httpx2.Client(transport=world.manager.sync_transport())
    return OpenAI(base_url=world.simulator.base_url, api_key="k", http_client=http)


def say(client, text):
    reply = client.chat.completions.create(model="sim", messages=[{"role": "user", "content": text}])
    return reply.choices[0].message.content


async def test_a_synchronous_call_on_the_loops_own_thread_names_the_line(world):
    async def work(context):
        with client_of(world) as client:
            say(client, "hello")

    with pytest.raises(TaskFailed) as caught:
        await world.run(work)
    assert caught.value.reason == "blocking_call"
    line = inspect.getsourcelines(say)[1] + 1
    assert f"{__file__}:{line}" in str(caught.value)
    assert (await world.manager.get(caught.value.task_id)).attempt == 1
    assert world.calls == 0
    assert world.idle_again()


async def test_synchronous_steps_on_the_loops_own_thread_are_refused_too(world):
    async def work(context):
        with pytest.raises(BlockingCall, match=r"test_synchronous_code\.py"):
            context.sync.now()
        return "refused"

    assert await world.run(work) == "refused"


async def test_a_synchronous_handler_has_steps_that_survive_a_crash(world, eventually):
    lives, made = [], []
    leave = threading.Event()

    def work(context):
        sync = context.sync

        def outer():
            made.append(threading.get_ident() == here)
            return sync.step("inner", lambda: "inner")

        async def later():
            return "later"

        here = threading.get_ident()
        with client_of(world) as client, sync.branch("side"):
            lives.append(
                [
                    sync.now(),
                    sync.random(),
                    sync.uuid(),
                    sync.step("outer", outer),
                    sync.step("async", later),
                    say(client, "hello"),
                ]
            )
        if world.life == 1:
            world.manager.node.services.loop.call_soon_threadsafe(world._crash.set)
            leave.wait(10)
            sync.step("after", lambda: made.append("never"))
        return lives[-1]

    async def crash_and_release():
        await world._crash.wait()
        await eventually(lambda: world.life == 2)
        leave.set()

    import asyncio

    releasing = asyncio.create_task(crash_and_release())
    assert await world.run_twice(work) == lives[0] == lives[1]
    await releasing
    assert made == [True]
    assert world.calls == 1
    scopes = {step.key.scope for step in await world.steps()}
    assert "/side" in scopes
    assert any(scope.startswith("/side/outer:") for scope in scopes)


async def test_a_synchronous_step_validates(world):
    def work(context):
        with pytest.raises(ReplyRejected, match="too small"):
            context.sync.step("draw", lambda: 1, validate=reject)
        with client_of(world) as client, context.sync.validating(reject), pytest.raises(ReplyRejected):
            say(client, "hello")
        return "rejected"

    def reject(result):
        raise ValueError("too small")

    assert await world.run(work) == "rejected"
    assert await world.steps() == []
    assert world.paid("hello") == (1, 0)


async def test_threads_of_the_users_own_keep_their_task_through_the_context(world):
    def work(context):
        def branch(number):
            with context.sync.branch(str(number)):
                return say(client, "the same")

        with client_of(world) as client, ThreadPoolExecutor(3) as pool:
            running = [pool.submit(copy_context().run, branch, number) for number in range(3)]
            return [one.result() for one in running]

    assert len(await world.run(work)) == 3
    assert {step.key.scope for step in await world.steps()} == {"/0", "/1", "/2"}
    assert world.idle_again()


async def test_many_synchronous_handlers_with_steps_do_not_wait_for_each_others_threads(world):
    from penstock import Submission

    def work(context):
        return context.sync.step("double", lambda: context.data * 2)

    world.handle(work)
    await world.start(threads=2)
    ids = await world.manager.submit_many([Submission("work", n) for n in range(12)])
    assert [await world.manager.wait(id, timeout=10) for id in ids] == [2 * n for n in range(12)]
