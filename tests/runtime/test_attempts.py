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


@pytest.mark.parametrize("how", ["collected", "caught", "wrapped", "in a step"])
async def test_what_a_handler_makes_of_the_order_to_leave_is_no_result(world, how):
    """A node that stops must not turn into an end of the task: it goes on with the next."""

    async def step(context):
        await context.sleep(0.3)
        return await context.step("step", str, "done")

    async def collected(context):
        found = await asyncio.gather(step(context), return_exceptions=True)
        return "done" if found == ["done"] else f"failed: {found!r}"

    async def work(context):
        if how == "collected":
            return await collected(context)
        if how == "in a step":
            return await context.step("outer", collected, context, key="outer")
        try:
            return await step(context)
        except BaseException as error:
            if how == "wrapped":
                raise RuntimeError("failed") from error
            return f"failed: {error!r}"

    world.handle(work, options=ONCE)
    await world.start()
    id = await world.manager.submit("work")
    await world.manager.stop()
    await world.start()
    assert await world.manager.wait(id, timeout=10) == "done"


async def test_nor_is_what_it_makes_of_a_suspension(world, eventually):
    async def work(context):
        try:
            return await context.wait_for_event("paid")
        except BaseException:
            return "failed"

    world.handle(work)
    await world.start(suspend_after=0.05)
    id = await world.manager.submit("work")

    await eventually(lambda: world.manager.peek(lambda store: store.task(id)).status is TaskStatus.SUSPENDED)
    await world.manager.send_event(id, "paid", 7)
    assert await world.manager.wait(id, timeout=10) == 7
