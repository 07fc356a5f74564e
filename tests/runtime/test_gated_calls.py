"""What handlers see of the gate: calls wait there, are refused there, and give back what they held."""

import asyncio
from decimal import Decimal

import anthropic
import openai
import pytest

from penstock import Limits, Submission, TaskOptions, TaskStatus
from penstock.errors import TaskCancelled, TaskFailed
from penstock.llm.endpoint import Endpoint
from penstock.runtime.client import ModelClient
from penstock.simulator import Faults, Latency, Simulator, SimulatorConfig
from penstock.simulator.faults import Fault

ONCE = TaskOptions(max_retries=0)
PRICES = {"sim": {"input": 0, "output": 1000}}  # a thousandth of a dollar for each token of output


async def test_a_429_is_waited_out_and_the_sdk_sees_only_success(world):
    async def work(context):
        client = world.openai.with_options(max_retries=0)
        for number in range(3):
            await client.embeddings.create(model="sim", input=str(number))

    world.fail_next(Fault.BURST_429, None, Fault.OVERLOADED, None)
    await world.run(work, options=ONCE)
    assert world.simulator.stats()["answered"] == 3
    assert world.calls == 5
    assert await world.reservations() == ["settled"] * 5
    assert len(await world.steps()) == 3
    assert world.idle_again()


async def test_a_spent_quota_is_not_tried_again(world):
    async def work(context):
        await world.say("one")

    world.fail_next(*[Fault.INSUFFICIENT_QUOTA] * 10)
    with pytest.raises(TaskFailed) as caught:
        await world.run(work)
    assert caught.value.reason == "quota_exhausted"
    assert world.calls == 1  # neither the SDK nor the task tries again


async def test_a_request_that_can_never_fit_fails_at_once(world):
    async def work(context):
        await world.say("one " * 5000, max_tokens=10)

    with pytest.raises(TaskFailed) as caught:
        await world.run(work, settings={"limits": Limits(tokens_per_minute=1000)})
    assert caught.value.reason == "request_too_large"
    assert world.calls == 0
    assert (await world.manager.get(caught.value.task_id)).attempt == 1


@pytest.mark.parametrize("sdk", ["openai", "anthropic"])
async def test_an_exhausted_budget_is_a_status_error_that_no_sdk_tries_again(world, sdk):
    seen = []

    async def work(context):
        messages = [{"role": "user", "content": "[[out=100]]"}]
        for _ in range(3):
            try:
                if sdk == "openai":
                    await world.chat("[[out=100]]", max_tokens=100)
                else:
                    await world.anthropic.messages.create(model="sim", max_tokens=100, messages=messages)
            except (openai.APIStatusError, anthropic.APIStatusError) as error:
                seen.append([error.status_code, error.response.headers["x-penstock-refusal"]])
                raise

    with pytest.raises(TaskFailed) as caught:
        await world.run(work, settings={"limits": Limits(budget=Decimal("0.25")), "prices": PRICES})
    assert caught.value.reason == "budget_exhausted"
    assert seen == [[402, "budget_exhausted"]]
    assert world.calls == 2
    assert world.idle_again()


async def test_a_refused_call_leaves_the_handler_with_a_slot(world):
    async def work(context):
        with pytest.raises(openai.APIStatusError):
            await world.say("hello", max_tokens=100)
        return world.manager.node.services.slots.taken

    settings = {"limits": Limits(budget=Decimal("0.01")), "prices": PRICES}
    assert await world.run(work, settings=settings) == 1
    assert world.idle_again()


async def test_an_unknown_price_is_refused_only_when_there_is_a_budget(world):
    async def work(context):
        return await world.say("hello", model="nobody-knows-it")

    with pytest.raises(TaskFailed, match="nobody-knows-it") as caught:
        await world.run(work, settings={"limits": Limits(budget=1), "profile": "openai"})
    assert caught.value.reason == "price_unknown"
    await world.stop()
    assert await world.run(work, settings={"limits": Limits()})


async def test_a_cancelled_call_is_booked_as_uncertain_and_its_slot_comes_back(make_world, eventually):
    async with make_world(latency=Latency(30)) as world:

        async def work(context):
            await world.say("hello", max_tokens=50)

        world.handle(work)
        await world.start(prices=PRICES)
        id = await world.manager.submit("work")
        await eventually(lambda: world.simulator.stats()["in_flight"] == 1)
        await world.manager.cancel(id)
        with pytest.raises(TaskCancelled):
            await world.manager.wait(id, timeout=5)
        await eventually(world.idle_again)
        await eventually(lambda: world.simulator.stats()["in_flight"] == 0)
        assert await world.reservations() == ["uncertain"]
        (row,) = await world.manager.read(lambda reader: reader.spend())
        assert row.uncertain == 50 * 10**9


async def test_the_timeout_counts_running_and_not_waiting(make_world):
    allowed = {"requests_per_window": 1, "window_seconds": 1.0}
    async with make_world() as world:
        from penstock.admission import RateLimit

        async def work(context):
            for _ in range(3):
                await world.say("hello")
            return context.attempt

        rates = (RateLimit("requests", allowed["requests_per_window"], allowed["window_seconds"]),)
        options = TaskOptions(timeout=1.5, max_retries=0)
        began = asyncio.get_running_loop().time()
        assert await world.run(work, options=options, settings={"limits": Limits(rates=rates)}) == 1
        assert asyncio.get_running_loop().time() - began > 1.9


async def test_a_call_that_takes_too_long_ends_the_attempt(make_world, eventually):
    async with make_world(latency=Latency(30)) as world:

        async def work(context):
            await world.say("hello")

        world.handle(work)
        await world.start()
        assert world.openai.chat.completions  # what an SDK loads at its first call is no part of the timeout
        id = await world.manager.submit("work", options=TaskOptions(timeout=1.0, max_retries=0))
        with pytest.raises(TaskFailed, match=r"timeout of 1 seconds"):
            await world.manager.wait(id, timeout=20)
        await eventually(world.idle_again)
        assert await world.reservations() == ["uncertain"]


@pytest.mark.parametrize("slots", [1, 2])
async def test_parents_that_gather_calls_never_starve_them(world, slots):
    async def work(context):
        return len(await context.gather(*(world.say(f"{context.data} {n}") for n in range(10))))

    world.handle(work)
    await world.start(max_concurrent=slots)
    ids = await world.manager.submit_many([Submission("work", n) for n in range(4)])
    async with asyncio.timeout(10):
        assert await asyncio.gather(*map(world.manager.wait, ids)) == [10] * 4
    assert world.simulator.stats()["max_in_flight"] <= slots
    assert world.simulator.stats()["answered"] == 40
    assert world.idle_again()


async def test_what_outlives_its_attempt_gives_its_slot_back_and_makes_no_more_steps(world, eventually):
    left = []

    async def work(context):
        async def linger():
            await world.say("one")
            await world.say("two")

        left.append(asyncio.create_task(linger()))
        await asyncio.sleep(0.005)
        return "done"

    assert await world.run(work) == "done"
    await asyncio.wait(left)
    assert type(left[0].exception()).__name__ == "Parked"
    await eventually(world.idle_again)
    assert world.paid("two") == (0, 0)


# Identical calls


async def test_identical_calls_share_one(make_world):
    async with make_world(latency=Latency(0.1)) as world:

        async def work(context):
            return await world.say("the same")

        world.handle(work, options=TaskOptions(merge=True))
        await world.start()
        many = [Submission("work", n, tenant="a") for n in range(5)]
        ids = await world.manager.submit_many([*many, Submission("work", 9, tenant="b")])
        results = await asyncio.gather(*map(world.manager.wait, ids))
        assert len(set(results)) == 1
        assert world.paid("the same") == (2, 0)  # one of each tenant
        assert await world.reservations() == ["settled"] * 2
        assert world.idle_again()


async def test_a_leader_that_goes_away_hands_the_call_on(make_world, eventually):
    async with make_world(latency=Latency(0.15)) as world:

        async def work(context):
            return await world.say("the same")

        world.handle(work, options=TaskOptions(merge=True))
        await world.start()
        leader = await world.manager.submit("work")
        await eventually(lambda: world.calls == 1)
        followers = await world.manager.submit_many([Submission("work", n) for n in range(3)])
        await eventually(lambda: len(world.manager.node.dispatcher.open) == 4)
        await world.manager.cancel(leader)
        await asyncio.gather(*map(world.manager.wait, followers))
        assert (await world.manager.get(leader)).status is TaskStatus.CANCELLED
        assert world.calls == 2
        assert world.idle_again()


async def test_cached_replies_take_no_limit_and_no_money_and_stay_with_their_tenant(world):
    async def work(context):
        return await world.say("the same", max_tokens=100)

    world.handle(work, options=TaskOptions(cache_ttl=60))
    # Money for two calls, and no more: hits are free.
    await world.start(limits=Limits(tenant_budgets={"a": Decimal("0.1")}), prices=PRICES)
    for _ in range(4):
        await world.manager.wait(await world.manager.submit("work", tenant="a"))
    assert world.paid("the same", max_tokens=100) == (1, 0)
    await world.manager.wait(await world.manager.submit("work", tenant="b"))
    assert world.paid("the same", max_tokens=100) == (2, 0)
    assert await world.reservations() == ["settled"] * 2


async def test_a_shared_reply_that_does_not_validate_is_made_anew(world):
    async def work(context):
        if context.data == "anything":
            return await world.say("the same")
        with context.validating(lambda body: verdicts.pop(0)):
            return await world.say("the same")

    verdicts = [False, True]
    world.handle(work, options=TaskOptions(cache_ttl=60, max_retries=0))
    await world.start()
    await world.manager.wait(await world.manager.submit("work", "anything"))
    await world.manager.wait(await world.manager.submit("work", "picky"))
    assert world.paid("the same") == (2, 0)


# Several endpoints for one model


async def post(client, text="hello"):
    body = {"model": "sim", "messages": [{"role": "user", "content": text}]}
    return await client.post("/v1/chat/completions", body)


async def test_several_endpoints_serve_as_one(make_world):
    allowed = Limits(rates=())
    async with (
        make_world(latency=Latency(0.05)) as world,
        Simulator(SimulatorConfig(latency=Latency(0.05))) as second,
    ):

        async def work(context):
            await context.gather(*(post(client, str(n)) for n in range(20)))

        world.handle(work)
        await world.start(limits=allowed)
        exchange = world.manager.node.services.exchange
        client = ModelClient(exchange, [Endpoint(one.base_url, "k") for one in (world.simulator, second)])
        await world.manager.wait(await world.manager.submit("work"), timeout=10)
        await client.aclose()
        assert world.calls > 0
        assert second.stats()["calls"] > 0
        assert world.calls + second.stats()["calls"] == 20


@pytest.mark.parametrize("ailment", ["unreachable", "wrong key", "no quota", "server errors", "hangs up"])
async def test_an_endpoint_that_does_not_work_does_not_fail_calls_for_ever(world, ailment):
    config = {
        "unreachable": SimulatorConfig(),
        "wrong key": SimulatorConfig(api_key="another"),
        "no quota": SimulatorConfig(faults=Faults(insufficient_quota=1)),
        "server errors": SimulatorConfig(faults=Faults(error_500=1)),
        "hangs up": SimulatorConfig(faults=Faults(cut=1)),
    }[ailment]
    async with Simulator(config) as ailing:
        if ailment == "unreachable":
            await ailing.stop()

        async def work(context):
            await post(client, str(context.data))

        world.handle(work, options=TaskOptions(retry_delay=0.02))
        await world.start()
        exchange = world.manager.node.services.exchange
        client = ModelClient(exchange, [Endpoint(one.base_url, "k") for one in (ailing, world.simulator)])
        ids = await world.manager.submit_many([Submission("work", n) for n in range(10)])
        await asyncio.gather(*(world.manager.wait(id, timeout=10) for id in ids))
        await client.aclose()
        assert world.calls == 10
        assert ailing.stats()["calls"] < 10
        assert world.idle_again()


async def test_the_only_endpoint_being_unreachable_is_said_as_it_is(world):
    async def work(context):
        await post(client)

    world.handle(work, options=ONCE)
    await world.start()
    client = ModelClient(world.manager.node.services.exchange, [Endpoint("http://127.0.0.1:9/v1", "k")])
    with pytest.raises(TaskFailed, match=r"no reply from http://127\.0\.0\.1:9/v1") as caught:
        await world.manager.wait(await world.manager.submit("work"))
    await client.aclose()
    assert caught.value.reason == "unreachable"
    assert await world.reservations() == ["released"]
    assert world.idle_again()


async def test_a_cancel_in_the_moment_of_the_grant_loses_nothing(world, eventually):
    async def work(context):
        await world.say(str(context.data))

    world.handle(work)
    await world.start(max_concurrent=3)
    for wave in range(8):
        ids = await world.manager.submit_many([Submission("work", [wave, n]) for n in range(12)])
        await asyncio.sleep(0.002 * wave)
        await world.manager.cancel(*ids)
        await asyncio.gather(*map(world.manager.wait, ids), return_exceptions=True)
    await eventually(world.idle_again)
    states = {(await world.manager.get(id)).status for id in ids}
    assert states <= {TaskStatus.CANCELLED, TaskStatus.COMPLETED}
    assert "held" not in await world.reservations()
