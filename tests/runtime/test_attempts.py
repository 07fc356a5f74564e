"""However a handler ends, its task ends or goes back, and every slot comes back."""

import asyncio

import pytest

from penstock import Limits, TaskOptions, TaskStatus
from penstock.errors import Parked, TaskCancelled, TaskFailed

ONCE = TaskOptions(max_retries=0)


class Odd(BaseException):
    pass


async def test_a_handler_that_cancels_itself_fails(world):
    async def work(context):
        raise asyncio.CancelledError

    with pytest.raises(TaskFailed, match="cancelled itself"):
        await world.run(work, options=ONCE)
    assert world.idle_again()


async def test_an_odd_base_exception_fails_the_task_and_loses_nothing(world):
    async def work(context):
        raise Odd("what is this")

    with pytest.raises(TaskFailed, match="Odd: what is this"):
        await world.run(work, options=ONCE)
    assert world.idle_again()


async def test_an_error_in_a_task_group_is_judged_by_what_it_is(world):
    async def work(context):
        async with asyncio.TaskGroup() as group:
            group.create_task(world.say("hello " * 3000, max_tokens=10))

    with pytest.raises(TaskFailed) as caught:
        await world.run(work, settings={"limits": Limits(tokens_per_minute=500)})
    assert caught.value.reason == "request_too_large"


async def test_a_status_error_of_a_bare_http_client_is_judged_like_an_sdks(world):
    async def work(context):
        url = f"{world.simulator.base_url}/chat/completions"
        reply = await world.http.post(url, json={"model": "sim", "messages": []})
        reply.raise_for_status()

    with pytest.raises(TaskFailed) as caught:
        await world.run(work)
    assert caught.value.reason == "bad_request"
    assert world.calls == 1


@pytest.mark.parametrize("reason", ["cancel", "timeout"])
async def test_a_handler_that_swallows_its_end_meets_it_at_the_next_step(world, eventually, reason):
    seen = []

    async def work(context):
        seen.append("begun")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("swallowed")
        try:
            await context.now()
        except Parked:
            seen.append("parked")
            raise

    options = TaskOptions(timeout=0.1 if reason == "timeout" else None, max_retries=0)
    world.handle(work, options=options)
    await world.start()
    id = await world.manager.submit("work")
    await eventually(lambda: seen)
    if reason == "cancel":
        await world.manager.cancel(id)
    with pytest.raises(TaskCancelled if reason == "cancel" else TaskFailed):
        await world.manager.wait(id, timeout=5)
    assert seen == ["begun", "swallowed", "parked"]
    assert world.idle_again()


async def test_a_cancel_before_the_first_line_of_the_handler(world):
    async def work(context):
        raise AssertionError("never begun")

    world.handle(work)
    await world.start()
    dispatcher = world.manager.node.dispatcher
    start = dispatcher._start

    def start_and_cancel(task):
        start(task)
        dispatcher.runner.leave(dispatcher.open[task.seq], "cancel")

    dispatcher._start = start_and_cancel
    id = await world.manager.submit("work")
    with pytest.raises(TaskCancelled):
        await world.manager.wait(id, timeout=5)
    assert (await world.manager.get(id)).status is TaskStatus.CANCELLED
    assert world.idle_again()


async def test_a_lone_surrogate_in_a_prompt_is_no_trouble(world):
    async def work(context):
        body = '{"model": "sim", "stream": true, "messages": [{"role": "user", "content": "\\ud83d"}]}'
        url = f"{world.simulator.base_url}/chat/completions"
        reply = await world.http.post(url, content=body, headers={"content-type": "application/json"})
        return reply.status_code

    assert await world.run(work) == 200


async def test_without_a_delay_the_next_attempt_comes_at_once(world):
    async def work(context):
        if context.attempt < 3:
            raise RuntimeError("again")
        return context.attempt

    assert await world.run(work, options=TaskOptions(retry_delay=0)) == 3
