"""Agent pools: in whose hands the members are, in what order they come, and that none is ever lost."""

from __future__ import annotations

import asyncio
import random

import pytest

from penstock import (
    AgentPool,
    ConfigurationError,
    Priority,
    TaskCancelled,
    TaskConfig,
    TaskFailed,
    TaskStatus,
    WaitTimeout,
)
from penstock.testing import Harness, SimulatedProvider, virtually

ONCE = TaskConfig(max_retries=0, timeout=None)


@pytest.fixture
async def manager():
    with SimulatedProvider() as provider:
        async with provider.manager(max_concurrent=20) as running:
            yield running


async def until(condition, seconds=10):
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


class TestOutside:
    @pytest.mark.parametrize("timeout", [-1, float("nan"), "5"])
    def test_a_timeout_is_a_number_of_seconds(self, timeout):
        with pytest.raises(ValueError, match="number of seconds"):
            AgentPool("writers", ["ann"]).acquire(timeout=timeout)

    async def test_members_are_lent_and_given_back(self):
        pool = AgentPool("writers", ["ann", "bob"])
        async with pool.acquire() as first, pool.acquire() as second:
            assert {first, second} == {"ann", "bob"}
            assert (pool.free, pool.size) == (0, 2)
        assert pool.free == 2
        member = await pool.acquire()
        pool.release(member)
        with pytest.raises(ConfigurationError, match="not lent"):
            pool.release(member)

    async def test_a_size_is_enough(self):
        pool = AgentPool("slots", size=3)
        assert sorted([await pool.acquire() for _ in range(3)]) == [0, 1, 2]

    @pytest.mark.parametrize("how", [{}, {"members": [1], "size": 1}, {"members": []}, {"size": 0}])
    def test_a_pool_needs_members(self, how):
        with pytest.raises(ConfigurationError, match="members"):
            AgentPool("p", **how)

    async def test_first_come_first_served(self):
        pool, order = AgentPool("p", size=1), []

        async def use(number):
            async with pool.acquire():
                order.append(number)
                await asyncio.sleep(0)

        held = await pool.acquire()
        users = []
        for number in range(20):
            users.append(asyncio.create_task(use(number)))
            await asyncio.sleep(0)
        assert pool.statistics()["waiting"] == 20
        pool.release(held)
        await asyncio.gather(*users)
        assert order == list(range(20))

    async def test_equal_members_are_told_apart(self):
        pool = AgentPool("p", ["same", "same"])
        async with pool.acquire():
            async with pool.acquire():
                assert pool.free == 0
            assert pool.free == 1
        assert pool.free == 2

    @virtually
    async def test_a_wait_has_an_end(self):
        pool = AgentPool("p", size=1)
        async with pool.acquire():
            with pytest.raises(WaitTimeout, match="no member of pool 'p' was free in 5 seconds"):
                await pool.acquire(timeout=5)
        figures = pool.statistics()
        assert (figures["timeouts"], figures["waiting"], figures["in_use"]) == (1, 0, 0)
        assert figures["longest_wait"] == pytest.approx(5, abs=0.1)
        assert figures["total_use"] == pytest.approx(5, abs=0.1)

    async def test_an_exception_and_a_cancellation_give_back(self):
        pool = AgentPool("p", size=1)
        with pytest.raises(RuntimeError):
            async with pool.acquire():
                raise RuntimeError("oh")

        async def hold():
            await pool.acquire()
            await asyncio.sleep(3600)

        holder = asyncio.create_task(hold())
        await asyncio.sleep(0)
        waiter = asyncio.create_task(hold())
        await asyncio.sleep(0)
        waiter.cancel()
        holder.cancel()
        await asyncio.gather(waiter, holder, return_exceptions=True)
        assert pool.free == 1
        assert pool.statistics()["waiting"] == 0

    async def test_one_that_is_cancelled_when_its_turn_comes(self):
        pool = AgentPool("p", size=1)
        member = await pool.acquire()
        waiter = asyncio.create_task(pool.acquire().__aenter__())
        await asyncio.sleep(0)
        pool.release(member)
        waiter.cancel()  # it was given the member in this very turn of the loop
        await asyncio.gather(waiter, return_exceptions=True)
        assert pool.free == 1

    async def test_many_uses_leave_nothing_behind(self):
        pool = AgentPool("p", size=1)
        for _ in range(1000):
            async with pool.acquire():
                pass
        assert pool._loans_of == {}
        assert pool.statistics()["acquired"] == 1000

    @virtually
    async def test_chaos(self):
        """Never more than there are, never one less."""
        dice, pool, inside = random.Random(7), AgentPool("p", size=3), set()

        async def use():
            await asyncio.sleep(dice.random())
            async with pool.acquire(timeout=dice.choice([None, 0.05, 1.0])) as member:
                assert member not in inside
                inside.add(member)
                try:
                    await asyncio.sleep(dice.random() / 10)
                    if dice.random() < 0.2:
                        raise ValueError
                finally:
                    inside.remove(member)

        users = [asyncio.create_task(use()) for _ in range(300)]
        for user in users[::5]:
            asyncio.get_running_loop().call_later(dice.random() * 2, user.cancel)
        await asyncio.gather(*users, return_exceptions=True)
        assert (pool.free, pool.statistics()["waiting"], inside) == (3, 0, set())


class TestInTasks:
    async def test_the_best_ranked_goes_first(self, manager):
        pool, order = AgentPool("p", size=1), []

        async def use(ctx, data):
            async with pool.acquire(ctx):
                order.append(data)

        manager.register_type("use", use)
        held = await pool.acquire()
        ids = []
        for name, priority in (("low", 1), ("high", 90), ("middle", 50)):
            ids.append(await manager.submit_task("use", name, priority=priority))
            await until(lambda: pool.statistics()["waiting"] == len(ids))
        pool.release(held)
        await manager.wait_for_tasks(ids)
        assert order == ["high", "middle", "low"]

    async def test_who_waits_holds_no_slot(self):
        pool = AgentPool("p", size=1)
        with SimulatedProvider() as provider:
            async with provider.manager(max_concurrent=1) as manager:

                async def use(ctx):
                    async with pool.acquire(ctx):
                        return "used"

                async def other(ctx):
                    return "other"

                manager.register_type("use", use)
                manager.register_type("other", other)
                held = await pool.acquire()
                waiting = await manager.submit_task("use")
                await until(lambda: pool.statistics()["waiting"] == 1)
                id = await manager.submit_task("other")
                assert await manager.wait_for_task(id, timeout=10) == "other"
                pool.release(held)
                assert await manager.wait_for_task(waiting, timeout=10) == "used"
                assert manager.engine.node.services.slots.taken == 0

    async def test_out_of_time_the_handler_goes_on_with_a_slot(self, manager):
        pool = AgentPool("p", size=1)

        async def use(ctx):
            try:
                await pool.acquire(ctx, timeout=0.01)
            except WaitTimeout:
                return manager.engine.node.services.slots.taken

        manager.register_type("use", use)
        async with pool.acquire():
            id = await manager.submit_task("use")
            assert await manager.wait_for_task(id) == 1
        await until(lambda: manager.engine.node.services.slots.taken == 0)

    @pytest.mark.parametrize("how", ["returns", "raises", "exits", "cancelled", "timeout", "stopped"])
    async def test_what_is_not_released_goes_back_with_the_attempt(self, manager, how):
        pool = AgentPool("p", size=1)

        async def use(ctx):
            await pool.acquire(ctx)
            if how == "raises":
                raise ValueError("oh")
            if how == "exits":
                raise SystemExit
            if how != "returns":
                await asyncio.sleep(3600)

        manager.register_type("use", use)
        config = TaskConfig(max_retries=0, timeout=0.05 if how == "timeout" else None)
        id = await manager.submit_task("use", config=config)
        if how == "stopped":
            await until(lambda: pool.free == 0)
            await manager.stop(now=True)
        elif how == "returns":
            await manager.wait_for_task(id)
        else:
            if how == "cancelled":
                await until(lambda: pool.free == 0)
                await manager.cancel_task(id)
            with pytest.raises(TaskCancelled if how == "cancelled" else TaskFailed):
                await manager.wait_for_task(id)
        await until(lambda: pool.free == 1)

    async def test_a_stop_takes_those_who_wait_along(self, manager):
        pool = AgentPool("p", size=1)

        async def use(ctx):
            async with pool.acquire(ctx):
                await asyncio.sleep(0.05)

        manager.register_type("use", use)
        for _ in range(5):
            await manager.submit_task("use", priority=Priority.HIGH)
        await until(lambda: pool.statistics()["waiting"] == 4)
        await asyncio.wait_for(manager.stop(), 10)
        assert (pool.free, pool.statistics()["waiting"]) == (1, 0)

    @virtually
    async def test_a_task_that_is_suspended_holds_nothing(self):
        pool = AgentPool("p", size=1)
        with SimulatedProvider() as provider:
            harness = Harness(provider.manager())
            got = []

            async def use(ctx):
                async with pool.acquire(ctx) as member:
                    got.append(member)
                    await ctx.sleep(86_400)

            harness.manager.register_type("use", use)
            async with harness:
                id = await harness.manager.submit_task("use", config=ONCE)
                await harness.drain()
                assert harness.manager.get_task(id).status == TaskStatus.SUSPENDED
                assert (pool.free, got) == (1, [0])
                await harness.run_out()
                assert harness.manager.get_task(id).status == TaskStatus.COMPLETED
                assert (pool.free, got) == (1, [0, 0])

    async def test_put_back_gives_back(self):
        """A better task takes the place of one that waits between two steps."""
        pool = AgentPool("p", size=2)
        with SimulatedProvider() as provider:
            async with provider.manager(max_concurrent=1, max_open=2, strategy="preemptive") as manager:

                async def use(ctx):
                    async with pool.acquire(ctx):
                        for number in range(30):
                            await ctx.step("work", asyncio.sleep, 0.01, key=str(number))

                manager.register_type("use", use)
                ids = [await manager.submit_task("use", priority=n) for n in (1, 2)]
                await until(lambda: pool.free == 0)
                ids += [await manager.submit_task("use", priority=n) for n in (90, 95, 99)]
                await manager.wait_for_tasks(ids, timeout=20)
                await until(lambda: pool.free == 2)
                events = manager.engine.peek(lambda reader: reader.events(0, 1_000))
                assert "put_back" in [event.kind for event in events]
