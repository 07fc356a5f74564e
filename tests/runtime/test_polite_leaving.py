"""Branches that have to leave let the steps of the others come to their end: nothing in flight is cut off."""

import asyncio

import pytest

from penstock.runtime.under_way import UnderWay
from penstock.simulator import Latency

BRANCHES = 8


async def by_gather(world, context, branch):
    return await context.gather(*(branch(number) for number in range(BRANCHES)))


async def by_branches(world, context, branch):
    async def one(number):
        async with context.branch(str(number)):
            return await branch(number)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(number)) for number in range(BRANCHES)]
    return [task.result() for task in tasks]


@pytest.mark.parametrize("spread", [by_gather, by_branches])
async def test_a_polite_stop_settles_all_calls_in_flight(make_world, eventually, spread):
    async with make_world(latency=Latency(0.4)) as world:

        async def handler(context):
            async def branch(number):
                if number == 0 and world.life == 1:  # comes to the gate when it is closed
                    while not context.services.stopping:  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
                return [await world.say(f"{number} {step}") for step in range(3)]

            return await spread(world, context, branch)

        world.handle(handler)
        await world.start()
        id = await world.manager.submit("work")
        await eventually(lambda: world.calls == BRANCHES - 1)
        await world.manager.stop()
        assert world.calls == BRANCHES - 1
        await world.start()
        assert await world.reservations() == ["settled"] * (BRANCHES - 1)
        assert len(await world.steps()) == BRANCHES - 1
        said = await world.manager.wait(id, timeout=20)
        assert [len(one) for one in said] == [3] * BRANCHES
        assert world.paid("1 0") == (1, 0)
        assert world.calls == 3 * BRANCHES


async def test_a_step_that_is_no_call_is_let_end_and_a_sleeper_is_not_waited_for(world, eventually):
    done = []

    async def handler(context):
        async def work():
            done.append("begun")
            await asyncio.sleep(0.2)
            done.append("ended")

        async def working():
            await context.step("work", work)
            await context.step("never", work)

        async def calling():
            while True:
                await world.say(f"call {len(done)}")
                await asyncio.sleep(0.01)

        await context.gather(working(), calling(), asyncio.sleep(60))

    world.handle(handler)
    await world.start()
    await world.manager.submit("work")
    await eventually(lambda: done == ["begun"] and world.calls)
    async with asyncio.timeout(5):
        await world.manager.stop()
    assert done == ["begun", "ended"]


async def test_branches_inside_steps_do_not_wait_for_each_other_for_ever():
    way, order = UnderWay(), []
    way.begin("/a", 0.0)
    way.begin("/b", 0.0)
    way.call_begins()

    async def leave(scope):
        await way.others_end(scope)
        order.append(scope)

    waiting = [asyncio.create_task(leave(scope)) for scope in ("/a/inner", "/b", "")]
    await asyncio.sleep(0)
    assert order == []
    way.call_ended()
    async with asyncio.timeout(1):
        await asyncio.gather(*waiting)
    assert sorted(order) == ["", "/a/inner", "/b"]


def test_what_counted_itself_is_not_counted_around_it():
    way = UnderWay()
    way.begin("/a", 1.0)
    way.begin("/a/b", 2.0)
    way.begin("/ab", 2.0)
    way.counted("/a/b")
    assert (way.took("/a", 5.0), way.took("/a/b", 5.0), way.took("/ab", 5.0)) == (None, None, 3.0)
    way.end("/ab")
    assert way.took("/ab", 5.0) is None
