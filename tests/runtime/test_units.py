"""One unit for everything that is charged: tokens where they are scarce, seconds where slots are."""

import asyncio
import time
from itertools import pairwise

import pytest

from penstock import Manager, Settings, Submission
from penstock.admission import Ask
from penstock.runtime.charges import Charges
from penstock.simulator import Latency

ASK = Ask("sim", type="work", input_tokens=100, output_mean=50.0, output_variance=0.0)


def counters(manager):
    return manager.node.services.shares.flows.counters()


def test_a_call_costs_tokens_or_seconds():
    tokens, seconds = Charges("tokens"), Charges("seconds")
    assert (tokens.expected(ASK), tokens.true(120, 3.0), tokens.uncertain(150.0, 3.0)) == (150, 120, 150)
    assert (seconds.expected(ASK), seconds.true(120, 3.0), seconds.uncertain(1.0, 3.0)) == (1.0, 3.0, 3.0)
    seconds.learn(ASK, 4.0)
    assert seconds.expected(ASK) == 4.0


@pytest.mark.parametrize(("unit", "least", "most"), [("seconds", 0.15, 5.0), ("tokens", 10.0, 10_000.0)])
async def test_calls_are_charged_in_the_scarce_unit(make_world, unit, least, most):
    async with make_world(latency=Latency(0.05)) as world:

        async def handler(context):
            return [await world.say(f"{context.tenant} {step}") for step in range(3)]

        settings = {"strategy": "fair", "size_in": unit}
        await world.run(handler, settings=settings, tenant="a")
        assert least <= counters(world.manager)["a"] <= most


async def test_what_a_broken_call_took_is_charged(make_world):
    async with make_world(latency=Latency(60.0)) as world:

        async def handler(context):
            patience = asyncio.timeout(None)

            def arrived(arrival, now):
                patience.reschedule(asyncio.get_running_loop().time() + 0.1)

            world.simulator.provider.run.dealer.deal = arrived
            with pytest.raises(TimeoutError):
                async with patience:
                    await world.say("slow")
            return 1

        await world.run(handler, settings={"strategy": "fair", "size_in": "seconds"}, tenant="a")
        assert 0.1 <= counters(world.manager)["a"] < 60.0
        assert await world.reservations() == ["uncertain"]


def steps_of(tmp_path, unit, **more):
    settings = {"store": str(tmp_path / "u.db"), "durability": "normal", "strategy": "fair", **more}
    return Manager(Settings(size_in=unit, **settings))


async def test_steps_are_charged_when_they_end(tmp_path):
    manager, seen = steps_of(tmp_path, "seconds"), []

    async def work(context):
        for step in range(3):
            await context.step(f"{step}", asyncio.sleep, 0.05)
            seen.append(counters(manager)["a"])

    manager.register("work", work)
    async with manager:
        await manager.wait(await manager.submit("work", tenant="a"))
        await manager.idle()
        after = counters(manager)["a"]
    assert all(later - earlier >= 0.045 for earlier, later in pairwise([0.0, *seen]))
    assert after == seen[-1], "and not once more at the end"


async def test_steps_side_by_side_and_inside_each_other_count_once(tmp_path):
    manager, slept, outermost = steps_of(tmp_path, "seconds"), [], []

    async def timed(seconds, waiting):
        begun = time.monotonic()
        await waiting
        seconds.append(time.monotonic() - begun)

    async def work(context):
        async def sleep():
            await timed(slept, asyncio.sleep(0.1))

        async def inner():
            await context.step("inner", sleep)

        side_by_side = (timed(outermost, context.step(f"{n}", sleep)) for n in range(3))
        await context.gather(*side_by_side)
        await timed(outermost, context.step("outer", inner))

    manager.register("work", work)
    async with manager:
        await manager.wait(await manager.submit("work", tenant="a"))
        assert sum(slept) <= counters(manager)["a"] <= sum(outermost), "no fifth"


async def test_a_step_that_fails_has_used_its_time(tmp_path):
    manager = steps_of(tmp_path, "seconds")

    async def broken():
        await asyncio.sleep(0.1)
        raise ValueError("no")

    async def work(context):
        with pytest.raises(ValueError, match="no"):
            await context.step("broken", broken)

    manager.register("work", work)
    async with manager:
        await manager.wait(await manager.submit("work", tenant="a"))
        await manager.idle()
        assert counters(manager)["a"] >= 0.095


async def test_another_unit_begins_anew(tmp_path):
    for unit, before in (("seconds", 0.0), ("tokens", 0.0), ("tokens", 7.0)):
        manager = steps_of(tmp_path, unit)

        async def work(context):
            await context.step("work", asyncio.sleep, 0.01)

        manager.register("work", work)
        async with manager:
            assert counters(manager).get("a", 0.0) == before
            await manager.submit_many([Submission("work", tenant="a")])
            await manager.idle()
            manager.node.services.shares.charge("a", 7.0 - counters(manager)["a"])
