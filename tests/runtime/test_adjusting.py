"""Limits that are changed under load hold from the next call on, in both directions, and nothing is lost.

In virtual time: what is measured is what the gate allows, and not what the machine does."""

import asyncio
import functools
from bisect import bisect_left
from collections import Counter
from dataclasses import replace

import pytest

from penstock import Keep, Limits, ModelLimits, Submission
from penstock.admission import RateLimit
from penstock.errors import ConfigurationError, QueueFull, TaskFailed
from penstock.model.clock import SystemClock
from penstock.simulator import Latency, SimulatorConfig
from penstock.testing import SimulatedProvider, virtually

UNDER_WAY = 0.03
LATENCY = 0.06


class Load:
    """Many tasks of one call each, and the provider's own record of when the calls arrived."""

    def __init__(self, world, models=("sim",), pools=()):
        self.world = world
        self.models = models
        self.arrivals = []
        self.ids = []
        self.results = Counter()
        world.simulator.arrived = self._arrived
        for model in models:
            world.handle(self._work, type=model, model=lambda data: data["model"], pools=pools)

    def _arrived(self):
        self.arrivals.append(now())

    async def _work(self, context):
        number = context.data["number"]
        return await self.world.say(f"hello {number}", model=context.data["model"], max_tokens=5)

    async def submit(self, count):
        many = []
        for number in range(len(self.ids), len(self.ids) + count):
            model = self.models[number % len(self.models)]
            many.append(Submission(model, {"number": number, "model": model}))
        self.ids += await self.world.manager.submit_many(many)

    def adjust(self, **changes):
        """Change settings; the instant from which on they hold."""
        node = self.world.manager.node
        node.adjust(replace(node.settings, **changes))
        return now()

    def calls_of_the_world(self, since, most):
        """Faults: arrivals after `since` that found more than `most` others within a reply's time."""
        at = sorted(self.arrivals)
        return [
            (stamp, found)
            for place, stamp in enumerate(at)
            if stamp > since and (found := place - bisect_left(at, stamp - 0.8 * LATENCY) + 1) > most
        ]

    def over_the_rate(self, since, limit, window):
        """Faults: arrivals after `since` that are one too many of the window that ends with them; a call may
        be under way a little longer than the next."""
        window -= UNDER_WAY
        at = sorted(self.arrivals)
        return [
            (stamp, found)
            for place, stamp in enumerate(at)
            if stamp > since and (found := place - bisect_left(at, stamp - window) + 1) > limit
        ]

    def between(self, begin, end):
        return sum(begin < stamp <= end for stamp in self.arrivals)

    async def all_end(self):
        for id in self.ids:
            try:
                await self.world.manager.wait(id, timeout=30)
                self.results["completed"] += 1
            except TaskFailed as error:
                self.results[error.reason] += 1
        assert self.results.total() == len(self.ids)
        assert self.world.idle_again()


def now():
    """Seconds on the clock of the manager."""
    return SystemClock().monotonic()


class Provider(SimulatedProvider):
    """Tells when a call arrives."""

    def arrived(self):
        pass

    async def __call__(self, scope, receive, send):
        self.arrived()
        await super().__call__(scope, receive, send)


@pytest.fixture
def world(world_of):
    with Provider(SimulatorConfig(latency=Latency(LATENCY))) as provider:
        yield world_of(provider)


def in_virtual_time(test):
    """A test with a world, whose time passes when nothing else can happen."""

    @functools.wraps(test)
    async def run(world, **fixtures):
        try:
            await test(world, **fixtures)
        finally:
            await world.stop()

    return virtually(run)


# Some time for calls that were on their way when the limit was lowered.
ON_THE_WAY = LATENCY + 0.05


@in_virtual_time
async def test_concurrency(world):
    load = Load(world)
    await world.start(max_concurrent=20, limits=Limits(requests_per_minute=100_000))
    await load.submit(300)
    await asyncio.sleep(0.2)
    lowered = load.adjust(max_concurrent=3)
    assert world.manager.node.services.slots.taken > 3  # what runs goes on
    await asyncio.sleep(0.6)
    raised = load.adjust(max_concurrent=12)
    await asyncio.sleep(0.5)
    assert load.calls_of_the_world(lowered + ON_THE_WAY, 12) == []
    slow, fast = load.between(lowered + ON_THE_WAY, raised), load.between(raised, raised + 0.5)
    assert slow <= 3 * (0.6 / LATENCY + 1)
    assert fast > slow
    within = [stamp for stamp in load.arrivals if stamp < raised]
    load.arrivals, later = within, load.arrivals
    assert load.calls_of_the_world(lowered + ON_THE_WAY, 3) == []
    load.arrivals = later
    load.adjust(max_concurrent=50)
    await load.all_end()
    assert load.results == {"completed": 300}


@in_virtual_time
async def test_concurrency_of_a_model(world):
    load = Load(world)
    wide = Limits(requests_per_minute=100_000)
    await world.start(max_concurrent=20, limits=wide)
    await load.submit(200)
    await asyncio.sleep(0.15)
    limits = replace(wide, models={"sim": ModelLimits(max_concurrent=2)})
    lowered = load.adjust(limits=limits)
    await asyncio.sleep(0.5)
    assert load.calls_of_the_world(lowered + ON_THE_WAY, 2) == []
    raised = load.adjust(limits=wide)
    await load.all_end()
    assert load.between(raised, raised + 0.6) > 2 * (0.6 / LATENCY + 1)


@in_virtual_time
async def test_a_rate(world):
    window = 0.5
    load = Load(world)

    def limits(count):
        return Limits(rates=(RateLimit("requests", count, window),))

    await world.start(max_concurrent=50, limits=limits(40))
    await load.submit(150)
    await asyncio.sleep(0.4)
    lowered = load.adjust(limits=limits(8))
    await asyncio.sleep(1.2)
    slow = load.between(lowered, now())
    # A call that was admitted just before may arrive just after.
    assert load.over_the_rate(lowered + 0.02, 8, window) == []
    assert 4 <= slow <= 8 * (1.2 / window + 1)
    raised = load.adjust(limits=limits(60))
    await load.all_end()
    assert load.over_the_rate(raised, 60, window) == []
    assert load.between(raised, raised + 0.6) > 3 * slow * 0.6 / 1.2
    assert load.results == {"completed": 150}


@in_virtual_time
async def test_a_limit_that_comes_in_the_middle_of_a_window_knows_what_was_sent_before(world):
    load = Load(world)
    await world.start(max_concurrent=10, limits=Limits(requests_per_minute=100_000))
    await load.submit(30)
    await load.all_end()
    load.adjust(limits=Limits(requests_per_minute=31))
    load.ids, load.results = [], Counter()
    await load.submit(3)
    await asyncio.sleep(0.3)
    assert len(load.arrivals) <= 31
    (use,) = world.manager.node.gate.usage(world.manager.clock.monotonic())
    assert (use.limit, use.used + use.held) == (31, 31)
    load.adjust(limits=Limits(requests_per_minute=100_000))
    await load.all_end()


@in_virtual_time
async def test_tokens(world):
    load = Load(world)
    wide = Limits(tokens_per_minute=1_000_000)
    await world.start(max_concurrent=10, limits=wide)
    await load.submit(100)
    await asyncio.sleep(0.3)
    load.adjust(limits=Limits(tokens_per_minute=100))  # less than was used already
    await asyncio.sleep(ON_THE_WAY)
    stopped = len(load.arrivals)
    await asyncio.sleep(0.3)
    assert len(load.arrivals) == stopped < 100
    load.adjust(limits=wide)
    await load.all_end()
    assert load.results == {"completed": 100}


PRICES = {"sim": {"input": 1_000, "output": 1_000}}


@in_virtual_time
async def test_a_budget_below_what_is_spent_refuses_and_a_larger_one_goes_on(world):
    load = Load(world)
    await world.start(max_concurrent=4, prices=PRICES, limits=Limits(budget=1_000))
    await load.submit(60)
    await asyncio.sleep(0.2)
    spent = world.manager.node.gate.ledger.spent()[0]
    assert spent > 0
    load.adjust(limits=Limits(budget=spent / 2 / 10**12))
    await asyncio.sleep(ON_THE_WAY)
    stopped = len(load.arrivals)
    await load.all_end()
    assert len(load.arrivals) == stopped < 60
    assert load.results["completed"] >= 1
    assert load.results == {"completed": stopped, "budget_exhausted": 60 - stopped}
    load.adjust(limits=Limits(budget=1_000))
    load.ids, load.results = [], Counter()
    await load.submit(5)
    await load.all_end()
    assert load.results == {"completed": 5}


@in_virtual_time
async def test_a_call_that_waits_for_the_next_hour_goes_when_its_budget_is_raised(world, eventually):
    load = Load(world)
    await world.start(max_concurrent=4, prices=PRICES, limits=Limits(hourly_budget=1_000))
    await load.submit(5)
    await load.all_end()
    spent = world.manager.node.gate.ledger.spent("hour")[0] / 10**12
    load.adjust(limits=Limits(hourly_budget=spent * 1.05))
    load.ids, load.results = [], Counter()
    await load.submit(3)
    admitter = world.manager.node.admitter
    await eventually(lambda: any(wait.reason == "period" for _, wait in admitter.waits()))
    assert len(load.arrivals) == 5
    load.adjust(limits=Limits(hourly_budget=1_000))
    await load.all_end()
    assert load.results == {"completed": 3}


@in_virtual_time
async def test_units_of_a_pool(world):
    load = Load(world, pools=(("gpu", 1),))
    wide = Limits(requests_per_minute=100_000, pools={"gpu": 10})
    await world.start(max_concurrent=20, limits=wide)
    await load.submit(150)
    await asyncio.sleep(0.2)
    lowered = load.adjust(limits=replace(wide, pools={"gpu": 2}))
    await asyncio.sleep(0.5)
    assert load.calls_of_the_world(lowered + ON_THE_WAY, 2) == []
    raised = load.adjust(limits=wide)
    await load.all_end()
    assert load.between(raised, raised + 0.3) > 2 * 0.3 / LATENCY
    assert load.results == {"completed": 150}
    assert not world.manager.node.gate.pools.used


@in_virtual_time
async def test_how_many_may_wait_and_be_open(world, eventually):
    load = Load(world)
    await world.start(max_concurrent=2, limits=Limits(models={"sim": ModelLimits(requests_per_hour=1)}))
    node = world.manager.node
    await load.submit(30)
    load.adjust(max_queue_size=20)
    with pytest.raises(QueueFull):
        await world.manager.submit("sim", {"number": 0, "model": "sim"})
    load.adjust(max_queue_size=None, max_open=40, max_concurrent=40)
    await load.submit(60)
    await eventually(lambda: 5 < len(node.dispatcher.open) <= 40)
    load.adjust(limits=Limits(), max_open=5)
    await load.all_end()


@in_virtual_time
async def test_every_limit_again_and_again(world):
    load = Load(world, models=("sim", "other"), pools=(("gpu", 1),))
    await world.start(
        max_concurrent=10, prices={"*": {"input": 1, "output": 1}}, limits=Limits(pools={"gpu": 9})
    )
    await load.submit(300)
    for turn in range(40):
        low = turn % 2
        limits = Limits(
            requests_per_minute=None if turn % 3 else 2_000,
            tokens_per_minute=300_000 if low else None,
            models={"sim": ModelLimits(max_concurrent=1 + turn % 4)} if turn % 5 else {},
            rates=(RateLimit("requests", 5 + turn, 0.2),) if turn % 4 == 0 else (),
            budget=1_000 if low else None,
            pools={"gpu": 1 + turn % 7},
        )
        load.adjust(limits=limits, max_concurrent=1 + turn % 9, max_open=None if low else 20)
        await asyncio.sleep(0.02)
    load.adjust(limits=Limits(pools={"gpu": 50}), max_concurrent=50)
    await load.all_end()
    assert load.results == {"completed": 300}
    node = world.manager.node
    assert not node.gate.pools.used
    assert all(use.held == 0 for use in node.gate.usage(world.manager.clock.monotonic()))


@in_virtual_time
async def test_what_needs_a_restart_is_refused_and_nothing_changes(world):
    await world.start()
    node = world.manager.node
    before = node.settings
    with pytest.raises(ConfigurationError, match=r"threads cannot be changed.*max_concurrent"):
        node.adjust(replace(before, threads=3, max_concurrent=1))
    with pytest.raises(ConfigurationError, match="at least 1"):
        node.adjust(replace(before, max_concurrent=0))
    assert node.settings is before
    assert node.services.slots.limit == before.max_concurrent
    node.adjust(replace(before, keep=Keep(days=1.0), cache_bytes=5))
    rule = node.settings.retention(10 * 86_400.0)
    assert (rule.finished_before, rule.max_cache_bytes) == (9 * 86_400.0, 5)
