"""The wall clock jumps: what was stamped before moves along, what is stamped after it does not, and a restart
finds every window as it was."""

import asyncio
from types import SimpleNamespace

import pytest

from penstock.admission import Budget, Gate, GateLimits, RateLimit
from penstock.model.reservation import Reservation, ReservationState, Settlement
from penstock.runtime.caretakers import Reporter
from penstock.runtime.committer import Committer
from penstock.runtime.recovery import restore_gate
from penstock.stores.sqlite.store import SqliteStore
from penstock.testing import VirtualClock

LIMITS = GateLimits(rates=(RateLimit("requests", 100, 60.0),), budgets=(Budget(1000, "hour"),))
SETTLED = ReservationState.SETTLED


class Node:
    """A committer and a reporter on a store in memory, under a clock that tests move."""

    def __init__(self, store):
        self.clock = VirtualClock()
        self.store = store
        self.gate = Gate(LIMITS, self.clock.monotonic(), self.clock.wall())
        self.committer = Committer(store)

    async def start(self):
        await self.committer.start()
        wall = self.clock.wall()
        self.id = await self.committer.run(lambda store: store.join("n", 1, "h", wall, wall + 1e6))
        admitter = SimpleNamespace(gate=self.gate, waits=lambda: [])
        self.reporter = Reporter(admitter, self.committer, self.clock, self.id, lambda: "")

    async def reserve(self):
        wall = self.clock.wall()
        intent = Reservation(None, 0, "s", "t", "m", "", "", self.id, wall, 1, 1, 1)
        (id,) = await self.committer.do("reserve", [intent])
        return id

    async def settle(self, id, seconds=0.0):
        """The call was sent so many seconds ago."""
        wall = self.clock.wall()
        await self.committer.do("settle", [Settlement(id, SETTLED, wall - seconds, wall)])

    def stamps(self):
        rows = self.store.read(lambda reader: reader.reservations([SETTLED, ReservationState.HELD]))
        return {row.id: (row.at, row.done_at) for row in rows}

    def used_after_restart(self):
        """Requests that a new gate finds in the last minute."""
        gate = Gate(LIMITS, 5.0, self.clock.wall())
        self.store.read(lambda reader: restore_gate(gate, reader, "UTC", self.clock.wall(), 5.0))
        return gate.usage(5.0)[0].used


@pytest.fixture
async def node():
    store = SqliteStore.open(":memory:")
    made = Node(store)
    await made.start()
    yield made
    await made.committer.stop()
    store.close()


JUMPS = [3600.0, 30.0, -30.0, -3600.0]


@pytest.mark.parametrize("jump", JUMPS)
async def test_stamps_move_once_or_not_at_all(node, jump):
    old = await node.reserve()
    await node.settle(old)
    under_way = await node.reserve()
    node.clock.advance(0.3)
    node.clock.jump_wall(jump)
    node.clock.advance(0.3)
    new = await node.reserve()
    await node.settle(new)
    await node.settle(under_way, seconds=0.6)
    node.clock.advance(0.3)
    now = node.clock.wall()
    await node.reporter.tick()
    stamps = node.stamps()
    assert stamps[old] == pytest.approx((now - 0.9, now - 0.9))
    assert stamps[under_way] == pytest.approx((now - 0.9, now - 0.3))
    assert stamps[new] == pytest.approx((now - 0.3, now - 0.3))


@pytest.mark.parametrize("jump", JUMPS)
async def test_a_restart_after_a_jump_forgets_nothing(node, jump):
    for _ in range(5):
        await node.settle(await node.reserve())
    node.clock.jump_wall(jump)
    for _ in range(7):
        await node.settle(await node.reserve())
    node.clock.advance(50.0)
    assert node.used_after_restart() == 12
    node.clock.advance(15.0)
    assert node.used_after_restart() == 0


async def test_what_was_sent_with_old_stamps_is_moved_with_them(node):
    """Sent in the same instant, one before and one after the jump: each in a transaction of its own."""
    first, second = await node.reserve(), await node.reserve()
    before = asyncio.create_task(node.settle(first))
    await asyncio.sleep(0)
    node.clock.jump_wall(3600.0)
    await asyncio.gather(before, node.settle(second))
    assert node.stamps()[first] == node.stamps()[second] == (node.clock.wall(), node.clock.wall())


async def test_a_quiet_node_notices_at_its_next_tick(node):
    id = await node.reserve()
    node.clock.jump_wall(-600.0)
    await node.reporter.tick()
    assert node.stamps()[id][0] == node.clock.wall()


async def test_budgets_follow_the_clock(node):
    node.gate.ledger.spend("", 900)
    assert node.gate.money(node.clock.monotonic())[0].spent == 900
    node.clock.jump_wall(3600.0)
    await node.reporter.tick()
    assert node.gate.money(node.clock.monotonic())[0].spent == 0
    node.clock.jump_wall(-3600.0)
    await node.reporter.tick()
    assert node.gate.money(node.clock.monotonic())[0].spent == 900
