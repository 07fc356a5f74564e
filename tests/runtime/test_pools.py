"""Units of pools: held by tasks from start to end, never more than there are, the best-ranked first."""

import asyncio
import random
from collections import Counter

import pytest

from penstock import Limits, TaskOptions
from penstock.admission.pools import Pools, fitting
from penstock.errors import InvalidTask, TaskFailed
from penstock.model.lane import Lane
from penstock.runtime import claims
from penstock.runtime.pool_defaults import PoolDefaults
from penstock.runtime.task_pools import TaskPools, check_pools


class Meter:
    """A handler that holds its place until it is let go, and what was in use meanwhile."""

    def __init__(self, limits):
        self.limits = limits
        self.used = Counter()
        self.peak = Counter()
        self.order = []
        self.let_go = asyncio.Event()
        self.faults = []

    async def __call__(self, context):
        units = context.data["units"]
        self.order.append(context.data.get("name"))
        self.used.update(units)
        for pool, count in self.used.items():
            self.peak[pool] = max(self.peak[pool], count)
            if count > self.limits[pool]:
                self.faults.append((pool, count))
        try:
            await asyncio.sleep(context.data.get("seconds", 0))
            if context.data.get("stay"):
                await self.let_go.wait()
        finally:
            self.used.subtract(units)


async def submit(world, units, name=None, type="work", priority=20, **data):
    return await world.manager.submit(
        type, {"units": units, "name": name, **data}, pools=units, priority=priority
    )


def in_use(world):
    return dict(world.manager.node.gate.pools.used)


async def begin(world, limits, types=("work",), **settings):
    meter = Meter(limits)

    async def work(context):
        await meter(context)

    for type in types:
        world.handle(work, type=type)
    await world.start(limits=Limits(pools=limits), **settings)
    return meter


async def test_units_are_held_from_start_to_end_and_come_back(world, eventually):
    meter = await begin(world, {"gpu": 2})
    ids = [await submit(world, {"gpu": 1}, stay=True) for _ in range(5)]
    await eventually(lambda: len(meter.order) == 2)
    await world.manager.node.committer.run(lambda store: None)
    assert len(world.manager.node.dispatcher.open) == 2
    assert in_use(world) == {"gpu": 2}
    meter.let_go.set()
    for id in ids:
        await world.manager.wait(id, timeout=10)
    assert meter.peak == {"gpu": 2}
    assert in_use(world) == {}
    assert world.idle_again()


async def test_a_unit_stays_held_while_the_task_waits_at_the_gate(world, eventually):
    states = []

    async def work(context):
        await world.say(context.data, max_tokens=5)
        states.append(in_use(world))

    world.handle(work, pools=(("gpu", 1),))
    await world.start(limits=Limits(pools={"gpu": 1}), max_concurrent=2)
    ids = [await world.manager.submit("work", f"hello {number}") for number in range(3)]
    for id in ids:
        await world.manager.wait(id, timeout=10)
    assert states == [{"gpu": 1}] * 3
    assert in_use(world) == {}


@pytest.mark.parametrize("strategy", ["priority", "fifo", "preemptive", "fair"])
async def test_never_more_than_there_is_and_everything_ends(world, strategy):
    chance = random.Random(strategy)
    limits = {"gpu": 3, "memory": 100}
    meter = await begin(world, limits, types=("a", "b", "c"), strategy=strategy, max_concurrent=8)
    kinds = [{"gpu": 1}, {"gpu": 3}, {"memory": 40}, {"gpu": 2, "memory": 70}, {"memory": 1}, {}]
    ids = []
    for _ in range(80):
        units = chance.choice(kinds)
        type = chance.choice("abc")
        ids.append(
            await world.manager.submit(
                type,
                {"units": units, "seconds": 0.002 * chance.random()},
                pools=units,
                priority=chance.randint(0, 100),
                tenant=chance.choice(["x", "y"]),
            )
        )
    for id in ids:
        await world.manager.wait(id, timeout=30)
    await asyncio.wait_for(world.manager.idle(), 10)
    assert not meter.faults
    assert meter.peak["gpu"] == 3
    assert in_use(world) == {}
    assert world.idle_again()


@pytest.mark.parametrize("types", [("a", "a"), ("a", "b")])
async def test_a_large_request_is_not_starved_by_small_ones(world, eventually, types):
    small, large = types
    meter = await begin(world, {"gpu": 3}, types=sorted(set(types)), max_concurrent=20)
    first = [await submit(world, {"gpu": 1}, "first", small, seconds=0.05 * n) for n in (1, 2, 3)]
    await eventually(lambda: len(meter.order) == 3)
    big = await submit(world, {"gpu": 3}, "large", large, priority=30, seconds=0.01)
    rest = [await submit(world, {"gpu": 1}, "small", small, seconds=0.01) for _ in range(20)]
    for id in [*first, big, *rest]:
        await world.manager.wait(id, timeout=10)
    assert meter.order[3] == "large"


async def test_units_that_the_best_does_not_need_go_to_others(world, eventually):
    meter = await begin(world, {"gpu": 1, "disk": 1}, types=("a", "b"))
    first = await submit(world, {"gpu": 1}, "first", "a", stay=True)
    await eventually(lambda: meter.order)
    best = await submit(world, {"gpu": 1}, "best", "a", priority=90)
    other = await submit(world, {"disk": 1}, "other", "b", priority=1)
    await world.manager.wait(other, timeout=10)
    assert meter.order == ["first", "other"]
    meter.let_go.set()
    for id in (first, best):
        await world.manager.wait(id, timeout=10)


async def test_tasks_of_other_types_are_claimed_in_rank_order_beside_scarce_ones(world, eventually):
    meter = await begin(world, {"gpu": 1}, types=("a", "b", "c"), max_concurrent=1)
    await world.manager.pause()
    ids = [await submit(world, {}, "plain 50", "c", priority=50)]
    ids += [await submit(world, {"gpu": 1}, f"a {rank}", "a", priority=rank) for rank in (60, 20)]
    ids += [await submit(world, {"gpu": 1}, f"b {rank}", "b", priority=rank) for rank in (70, 40)]
    ids += [await submit(world, {}, "plain 30", "c", priority=30)]
    await world.manager.resume()
    for id in ids:
        await world.manager.wait(id, timeout=10)
    assert meter.order == ["b 70", "a 60", "plain 50", "b 40", "plain 30", "a 20"]


async def test_when_the_best_is_cancelled_the_next_goes(world, eventually, monkeypatch):
    monkeypatch.setattr(claims, "LOOK_SECONDS", 0.05)
    meter = await begin(world, {"gpu": 2}, types=("a", "b"))
    first = await submit(world, {"gpu": 1}, "first", "a", stay=True)
    await eventually(lambda: meter.order)
    best = await submit(world, {"gpu": 2}, "best", "a", priority=90)
    other = await submit(world, {"gpu": 1}, "other", "b", priority=1)
    await eventually(lambda: world.manager.node.services.pools.any_blocked)
    await world.manager.cancel(best)
    await world.manager.wait(other, timeout=10)
    meter.let_go.set()
    await world.manager.wait(first, timeout=10)


@pytest.mark.parametrize("end", ["failure", "retry", "timeout", "cancel"])
async def test_units_come_back_however_an_attempt_ends(world, eventually, end):
    attempts = []

    async def work(context):
        attempts.append(in_use(world))
        if end in ("timeout", "cancel"):
            await asyncio.sleep(60)
        if end == "failure" or len(attempts) == 1:
            raise ValueError("no")

    world.handle(work, pools=(("gpu", 1),))
    await world.start(limits=Limits(pools={"gpu": 1}))
    options = TaskOptions(
        max_retries=1 if end == "retry" else 0, retry_delay=0.01, timeout=0.1 if end == "timeout" else None
    )
    id = await world.manager.submit("work", options=options)
    await eventually(lambda: attempts)
    if end == "cancel":
        await world.manager.cancel(id)
    await asyncio.wait_for(world.manager.idle(), 10)
    await eventually(lambda: not in_use(world) and not world.manager.node.dispatcher.open)
    assert all(used == {"gpu": 1} for used in attempts)
    assert world.idle_again()


async def test_a_task_in_the_store_that_can_never_run_fails_and_says_why(world):
    meter = await begin(world, {"gpu": 2})
    await world.manager.pause()
    id = await submit(world, {"gpu": 2})
    await world.stop()
    await world.start(limits=Limits(pools={"gpu": 1}))
    await world.manager.resume()
    with pytest.raises(TaskFailed, match="2 units of pool 'gpu' can never be had, it has 1"):
        await world.manager.wait(id, timeout=10)
    assert meter.order == []
    assert world.idle_again()


async def test_units_are_free_again_after_a_restart(world):
    async def work(context):
        await world.crash()
        return in_use(world)

    world.handle(work, pools=(("gpu", 1),))
    await world.start(limits=Limits(pools={"gpu": 1}))
    id = await world.manager.submit("work")
    async with asyncio.timeout(10):
        await world._crash.wait()
    await world.stop()
    await world.start()
    assert await world.manager.wait(id, timeout=10) == {"gpu": 1}


# Rules


@pytest.mark.parametrize(
    ("units", "why"),
    [
        ([("gpu", 2)], "2 units of pool 'gpu' can never be had, it has 1"),
        ([("tpu", 1)], "no pool 'tpu'; pools that are set: gpu"),
        ([("gpu", -1)], "whole number"),
        ([("gpu", 0.5)], "whole number"),
        ([("gpu", True)], "whole number"),
    ],
)
def test_what_can_never_be_had_is_refused_at_the_door(units, why):
    with pytest.raises(InvalidTask, match=why):
        check_pools(units, {"gpu": 1})


def test_what_the_best_needs_is_kept_for_it():
    lanes = [(1, (("gpu", 3),)), (2, (("gpu", 1),)), (3, (("disk", 1),)), (4, (("gpu", 2), ("disk", 1)))]
    assert fitting(lanes, {"gpu": 2, "disk": 1}) == ([3], [1, 2, 4])
    assert fitting(lanes, {"gpu": 3, "disk": 0}) == ([1, 2], [3, 4])


def test_units_are_learned_per_type_and_rounded():
    defaults = PoolDefaults()
    for amount in (100, 110, 105, 95):
        assert defaults.units("work", "memory", 500) is None or amount == 95
        defaults.learn("work", "memory", amount)
    assert defaults.units("work", "memory", 500) == 128
    assert defaults.units("work", "memory", 50) == 50
    assert defaults.units("other", "memory", 500) is None
    again = PoolDefaults(defaults.kept())
    assert again.units("work", "memory", 500) == 128
    steps = {
        PoolDefaults({"t": {"p": (9, float(mean), 0.0)}}).units("t", "p", 10**9) for mean in range(1, 1025)
    }
    assert len(steps) < 40
    assert all(isinstance(step, int) for step in steps)


def test_a_lane_gets_what_was_learned_where_nothing_is_declared():
    pools = TaskPools(Pools({"memory": 100, "gpu": 1}))
    for _ in range(3):
        pools.learn("work", {"memory": 30.0, "unknown": 5.0})
    assert pools.lane(Lane("work")).pools == (("memory", 32),)
    assert pools.lane(Lane("work", "", (("memory", 5),))).pools == (("memory", 5),)
    assert pools.lane(Lane("work", "", (("gpu", 1),))).pools == (("gpu", 1), ("memory", 32))
    with pytest.raises(InvalidTask):
        pools.lane(Lane("work", "", (("gpu", 2),)))


async def test_what_was_used_is_known_after_a_restart(world):
    async def work(context):
        context.report_use("memory_mb", 40)
        context.report_use("memory_mb", 60.5)
        context.report_use("memory_mb", 20)

    world.handle(work)
    await world.start(limits=Limits(pools={"memory_mb": 500}))
    for _ in range(3):
        await world.manager.wait(await world.manager.submit("work"), timeout=10)
    await world.stop()
    await world.start()
    assert world.manager.node.services.pools.lane(Lane("work")).pools == (("memory_mb", 64),)
