"""After a crash the handler runs again from the top, and what was recorded is neither made nor paid again."""

import asyncio
import contextlib
import logging

import httpx2
import openai
import pytest

from penstock import TaskOptions
from penstock.errors import Parked, ReplyRejected, StepKeyNeeded, TaskFailed
from penstock.runtime.context import TaskContext
from penstock.simulator.faults import Fault

ONCE = TaskOptions(max_retries=0)
QUICK = TaskOptions(retry_delay=0.01)


async def test_recorded_calls_are_not_paid_again(world):
    async def work(context):
        first = await world.say("one")
        again = await world.say("one")  # the same call again is another step
        await world.crash()
        return [first, again, await world.say("two")]

    await world.run_twice(work)
    assert world.paid("one") == (2, 0)
    assert world.paid("two") == (1, 0)
    occurrences = sorted((step.key.digest, step.occurrence) for step in await world.steps())
    assert [occurrence for _, occurrence in occurrences].count(1) == 1


async def test_concurrent_branches_replay_to_the_right_branches(world):
    lives = []

    async def work(context):
        async def branch(number, wait):
            await asyncio.sleep(wait)
            text = await world.say("the same for all")
            return [await context.random(), text, await context.step("n", int, number)]

        # The second life goes through the branches in the opposite order.
        order = range(5) if world.life == 1 else reversed(range(5))
        waits = {number: 0.005 * place for place, number in enumerate(order)}
        lives.append(await context.gather(*(branch(number, waits[number]) for number in range(5))))
        async with context.branch("named"):
            lives[-1].append(await context.random())
        await world.crash()
        return lives[-1]

    result = await world.run_twice(work)
    assert lives[0] == lives[1] == result
    assert len({one[0] for one in result[:5]} | {result[5]}) == 6
    assert world.paid("the same for all") == (5, 0)


async def test_a_branch_that_fails_cancels_the_others_and_its_error_is_raised(world):
    async def work(context):
        async def fail():
            raise ValueError("no luck")

        try:
            await context.gather(fail(), asyncio.sleep(60))
        except ValueError as error:
            return str(error)

    assert await world.run(work) == "no luck"


async def test_retries_inside_the_sdk_keep_their_place(world):
    async def work(context):
        first, again = await world.say("one"), await world.say("one")
        await world.crash()
        return [first, again]

    world.fail_next(Fault.ERROR_500, None, Fault.ERROR_500, None)
    await world.run_twice(work)
    assert world.paid("one") == (2, 0)
    assert world.calls == 4
    assert sorted(step.occurrence for step in await world.steps()) == [0, 1]


@pytest.mark.parametrize("asked", [False, True])
async def test_a_stream_is_replayed_byte_for_byte_without_a_usage_nobody_asked_for(world, asked):
    lives = []

    async def work(context):
        body = {"model": "sim", "stream": True, "messages": [{"role": "user", "content": "hello"}]}
        if asked:
            body["stream_options"] = {"include_usage": True}
        url = f"{world.simulator.base_url}/chat/completions"
        async with world.http.stream("POST", url, json=body) as reply:
            lives.append(
                [reply.headers["content-type"], b"".join([part async for part in reply.aiter_bytes()])]
            )
        await world.crash()

    await world.run_twice(work)
    assert lives[0] == lives[1]
    assert lives[0][1].endswith(b"data: [DONE]\n\n")
    assert (b'"choices":[]' in lives[0][1]) is asked
    (step,) = await world.steps()
    assert step.output_tokens > 0  # known in either case
    assert world.calls == 1


async def test_a_cut_stream_is_not_recorded_and_booked_in_full(world):
    async def work(context):
        return len(await world.stream("hello", max_tokens=80))

    world.fail_next(Fault.CUT)
    assert await world.run(work, options=QUICK) > 3
    assert sorted(await world.reservations()) == ["settled", "uncertain"]
    assert len(await world.steps()) == 1
    assert world.idle_again()


@pytest.mark.parametrize("read", [0, 1])
async def test_a_stream_that_is_left_is_not_recorded_and_gives_everything_back(world, eventually, read):
    async def work(context):
        stream = await world.chat("hello", stream=True, max_tokens=400)
        for _ in range(read):
            await anext(stream.__aiter__())
        await stream.close()

    await world.run(work)
    assert await world.steps() == []
    await eventually(world.idle_again)
    assert await world.reservations() == ["uncertain"]


async def test_a_stream_that_is_forgotten_gives_everything_back(world, eventually):
    kept = []

    async def work(context):
        kept.append(await world.chat("hello", stream=True, max_tokens=400))

    await world.run(work)
    await eventually(world.idle_again)
    assert await world.reservations() == ["uncertain"]


async def test_rejected_replies_are_paid_but_not_recorded(world):
    def right(body):
        seen.append(body["choices"][0]["message"]["content"])
        assert len(seen) > 2, "not good enough"

    seen = []

    async def work(context):
        with context.validating(right):
            return await world.say("one")

    assert await world.run(work, options=QUICK) == seen[2]
    assert world.paid("one") == (3, 0)
    assert len(await world.steps()) == 1
    assert await world.reservations() == ["settled"] * 3


async def test_a_step_validates_its_result_before_it_is_recorded(world):
    tries = []

    async def work(context):
        def draw():
            tries.append(context.attempt)
            return len(tries)

        try:
            await context.step("draw", draw, validate=lambda result: result > 1)
        except ReplyRejected:
            return await context.step("draw", draw, validate=lambda result: result > 1)

    assert await world.run(work) == 2
    # And that it was tried in vain before, which is no result.
    assert sorted(step.kind for step in await world.steps()) == ["unfinished", "value"]


async def test_a_volatile_prompt_is_found_out(world, caplog):
    async def work(context):
        await world.say(f"it is life {world.life}")
        await world.crash()

    with caplog.at_level(logging.WARNING, "penstock"):
        await world.run_twice(work)
    (said,) = [record.message for record in caplog.records if record.name == "penstock.journal"]
    assert "was not recorded, but POST /v1/chat/completions" in said
    assert "ctx.now" in said
    assert world.paid("it is life 1") == (1, 0)
    assert world.paid("it is life 2") == (1, 0)


async def test_strict_mode_fails_the_task_instead(world):
    async def work(context):
        await world.say(f"it is life {world.life}")
        await world.crash()

    with pytest.raises(TaskFailed, match="was not recorded") as caught:
        await world.run_twice(work, options=TaskOptions(strict_journal=True))
    assert caught.value.reason == "journal_mismatch"
    assert world.paid("it is life 2") == (0, 0)


async def test_now_random_and_uuid_stay_the_same(world):
    lives = []

    async def work(context):
        lives.append(
            [await context.now(), await context.random(), await context.random(), await context.uuid()]
        )
        await world.crash()

    await world.run_twice(work)
    assert lives[0] == lives[1]
    assert lives[0][1] != lives[0][2]


async def test_arguments_that_cannot_be_hashed_need_a_key(world):
    async def work(context):
        with pytest.raises(StepKeyNeeded, match=r"give ctx\.step a key="):
            await context.step("read", type, object())
        return await context.step("read", lambda _: "fine", object(), key="it")

    assert await world.run(work) == "fine"


async def test_a_result_that_is_no_json_is_named(world):
    async def work(context):
        await context.step("read", object)

    with pytest.raises(TaskFailed, match="step read: its result is no JSON"):
        await world.run(work)


async def test_nested_steps_are_recorded_and_equal_outer_steps_have_inner_steps_of_their_own(world):
    made = []

    async def work(context):
        async def outer():
            value = await context.step("inner", lambda: made.append("inner") or len(made))
            if len(made) == 2:
                await world.crash()
            return value

        return [await context.step("outer", outer), await context.step("outer", outer)]

    assert await world.run_twice(work) == [1, 2]
    assert made == ["inner", "inner"]


async def test_a_plain_function_of_a_step_runs_in_a_thread(world):
    import threading

    async def work(context):
        here = threading.get_ident()
        return await context.step("where", threading.get_ident) != here

    assert await world.run(work)


async def test_a_parked_handler_that_swallows_it_is_parked_again(world):
    parked = []

    async def work(context: TaskContext):
        if world.life == 1:
            await world.say("one")
            world.manager.node.services.stopping = True  # the node is about to stop
            for _ in range(3):
                try:
                    await world.say("two")
                except BaseException as error:
                    parked.append(type(error))
            await world.crash()
        return [await world.say("one"), await world.say("two")]

    await world.run_twice(work)
    assert parked == [Parked] * 3
    assert world.paid("one") == world.paid("two") == (1, 0)


async def test_parked_inside_a_task_group_of_the_users_own(world):
    async def work(context):
        async with asyncio.TaskGroup() as group:
            one = group.create_task(world.say("one"))
            await one
            if world.life == 1:
                world.manager.node.services.stopping = True
                world._crash.set()
            group.create_task(world.say("two"))
        return "done"

    assert await world.run_twice(work) == "done"
    assert world.paid("one") == (1, 0)


async def test_a_broken_reply_is_neither_recorded_nor_free(world):
    async def work(context):
        return await world.say("one")

    world.fail_next(Fault.MALFORMED)
    await world.run(work, options=QUICK)
    assert world.paid("one") == (1, 1)
    assert len(await world.steps()) == 1
    assert sorted(await world.reservations()) == ["settled", "uncertain"]


async def test_an_error_in_the_clothes_of_a_reply_is_not_recorded(world):
    replies = [{"error": {"message": "upstream failed", "code": 502}}, {"choices": [], "usage": None}]

    async def handle(request):
        return httpx2.Response(200, json=replies.pop(0))

    from penstock.runtime.transport import make_async_transport

    async def work(context):
        transport = make_async_transport(
            world.manager.node.services.exchange, inner=httpx2.MockTransport(handle)
        )
        async with httpx2.AsyncClient(transport=transport) as client:
            for _ in range(2):
                reply = await client.post("http://127.0.0.1/v1/chat/completions", json={"model": "m"})
        return reply.json()

    assert await world.run(work) == {"choices": [], "usage": None}
    assert len(await world.steps()) == 1
    assert sorted(await world.reservations()) == ["settled", "uncertain"]


async def test_an_error_reply_is_raised_by_the_sdk_and_not_recorded(make_world):
    async with make_world(models=("other",)) as world:

        async def work(context):
            with pytest.raises(openai.NotFoundError):
                await world.say("one")
            return "seen"

        assert await world.run(work) == "seen"
        assert await world.steps() == []
        assert world.calls == 1


@pytest.mark.parametrize("apart", [False, True])
async def test_two_gathers_at_once_in_one_scope_are_warned_of(world, caplog, apart):
    async def half(context, name):
        async with contextlib.AsyncExitStack() as stack:
            if apart:
                await stack.enter_async_context(context.branch(name))
            return await context.gather(*(context.step(name, int, number) for number in range(2)))

    async def work(context):
        return await asyncio.gather(half(context, "left"), half(context, "right"))

    assert await world.run(work) == [[0, 1], [0, 1]]
    assert [record.name for record in caplog.records] == ([] if apart else ["penstock.journal"])
