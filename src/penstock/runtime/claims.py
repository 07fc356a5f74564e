"""Claims: taking tasks out of the store in one transaction, over lanes or over the flows in them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from penstock.admission.pools import Units
from penstock.model.program_budget import ProgramBudget
from penstock.model.task import Claimed
from penstock.runtime.budgets import budgets_of
from penstock.runtime.claim_holds import ClaimHold
from penstock.runtime.heads import Found, Heads, Look, Rival
from penstock.runtime.inputs import learn_inputs
from penstock.runtime.pool_claims import ScarceClaim, one_of_each
from penstock.runtime.services import Services
from penstock.stores.contract import Transaction

Wanted = dict[int, int]
Needs = Mapping[int, Units]
Picks = Mapping[int, Mapping[str, list[ClaimHold]]]
Deliver = Callable[[list[Claimed], set[int]], None]
"""Gets the tasks and the lanes in which nothing more waits."""
Fail = Callable[[BaseException], None]

# Between two looks at lanes that wait for units of pools.
LOOK_SECONDS = 1.0
# Between two looks at the flows of all lanes, where somebody else may have added tasks of others.
FLOWS_LOOK_SECONDS = 0.2


class _Brought(NamedTuple):
    """What a claim brought; the flows that wait, when they were looked at; what is at the heads now."""

    tasks: list[Claimed]
    heads: Found | None
    budgets: list[ProgramBudget]
    flows: list[tuple[int, str]] | None = None


class Claims:
    """Claims for one node. `holds` has, by task, what its flow was charged until its first reservation.

    `stale`: tasks may wait of flows that nobody told of; `rival` tells the task that would go next, where
    steps compete.
    """

    def __init__(self, services: Services, node: int, heads: Heads) -> None:
        self._services = services
        self._node = node
        self._heads = heads
        self._looked_at = float("-inf")
        self.holds: dict[int, ClaimHold] = {}
        self.stale = False
        self.rival: Callable[[], Rival | None] = lambda: None
        self.again: Callable[[], None] = lambda: None
        self._looking: asyncio.TimerHandle | None = None

    def make(self, wanted: Wanted, most: int, deliver: Deliver, fail: Fail, needs: Needs) -> None:
        """Claim up to `most` tasks in all and at most so many of each lane; `needs` are the units that tasks
        need in lanes that compete for pools."""
        if self._services.ranker.has_flows:
            if needs:
                wanted = self._in_turn(wanted, needs)
            self._by_flows(wanted, most, deliver, fail)
        elif needs:
            self._by_pools(wanted, most, deliver, fail, needs)
        else:
            self._by_lanes(wanted, most, deliver, fail)

    def _by_pools(self, wanted: Wanted, most: int, deliver: Deliver, fail: Fail, needs: Needs) -> None:
        pools, now = self._services.pools, self._services.clock.wall()
        scarce = ScarceClaim(wanted, needs, pools.aside, most)

        def claimed(tasks: list[Claimed]) -> None:
            self._block(scarce.blocked)
            deliver(tasks, scarce.empty)

        self._send(wanted, lambda store: scarce.make(store, self._node, now), claimed, fail)

    def _in_turn(self, wanted: Wanted, needs: Needs) -> Wanted:
        pools, shares = self._services.pools, self._services.shares
        turns = {lane: min(map(shares.counter, shares.waiting.get(lane, ())), default=0.0) for lane in needs}
        allowed, blocked = one_of_each(wanted, needs, pools.aside, turns)
        self._block(blocked)
        return allowed

    def _block(self, lanes: set[int]) -> None:
        self._services.pools.block(lanes)
        if lanes and self._looking is None:
            # The best of those that wait may be cancelled, which nobody here hears of.
            self._looking = self._services.loop.call_later(LOOK_SECONDS, self._look_again)

    def _look_again(self) -> None:
        self._looking = None
        self._services.pools.look_again()
        self.again()

    def _by_lanes(self, wanted: Wanted, most: int, deliver: Deliver, fail: Fail) -> None:
        now = self._services.clock.wall()

        def claimed(tasks: list[Claimed]) -> None:
            got = Counter(task.lane for task in tasks)
            # Fewer than asked in all: every lane that gave less than its share is empty.
            few = len(tasks) < most
            deliver(tasks, {lane for lane, count in wanted.items() if few and got[lane] < count})

        self._send(wanted, lambda store: store.claim(wanted, self._node, now, most), claimed, fail)

    def _send(
        self,
        wanted: Wanted,
        claim: Callable[[Transaction], list[Claimed]],
        claimed: Callable[[list[Claimed]], None],
        fail: Fail,
    ) -> None:
        look = self._look(wanted)

        def run(store: Transaction) -> _Brought:
            return self._brought(store, claim(store), look)

        def deliver(brought: _Brought) -> None:
            self._found(look, brought)
            claimed(brought.tasks)

        self._services.committer.send_run(run, deliver, fail)

    def _by_flows(self, wanted: Wanted, most: int, deliver: Deliver, fail: Fail) -> None:
        """Whose turn it is, then the best-ranked of each."""
        shares, now = self._services.shares, self._services.clock.wall()
        picks = self._pick(wanted, most)
        counts = {lane: {flow: len(holds) for flow, holds in of.items()} for lane, of in picks.items()}
        look = self._look(wanted)
        # Tasks that were added elsewhere, or not ranked anew yet, are also found when a lane seems empty.
        look_for_flows = any(lane not in picks for lane in wanted) or self._time_to_look()
        known = {lane: len(shares.waiting.get(lane, ())) for lane in picks}

        def claim(store: Transaction) -> _Brought:
            tasks = store.claim_flows(counts, self._node, now)
            flows = look_for_flows or _seems_empty(tasks, counts, known)
            return self._brought(store, tasks, look, store.waiting_flows() if flows else None)

        def claimed(brought: _Brought) -> None:
            self._found(look, brought)
            self._assign(brought.tasks, picks, now)
            if brought.flows is not None:
                shares.replace(brought.flows, now)
            deliver(brought.tasks, {lane for lane in wanted if not shares.waiting.get(lane)})

        def failed(error: BaseException) -> None:
            for hold in [hold for of in picks.values() for holds in of.values() for hold in holds]:
                shares.holds.drop(hold)
            fail(error)

        self._services.committer.send_run(claim, claimed, failed)

    def _brought(
        self,
        store: Transaction,
        tasks: list[Claimed],
        look: Look | None,
        flows: list[tuple[int, str]] | None = None,
    ) -> _Brought:
        self._services.ranker.learn_programs(store, tasks)
        learn_inputs(store, tasks)
        budgets = budgets_of(store, tasks)
        return _Brought(tasks, None if look is None else look.read(store), budgets, flows)

    def _pick(self, wanted: Wanted, most: int) -> Picks:
        """Holds for what to claim: where steps compete, of the flow of the rival before all."""
        first = self.rival()
        picks: dict[int, dict[str, list[ClaimHold]]] = {}
        left = most
        # The lane of the rival before the others, or they might leave nothing for it.
        for lane in sorted(wanted, key=lambda lane: first is None or lane != first.lane):
            flow = first.flow if first is not None and first.lane == lane else None
            picked = self._services.shares.pick(lane, min(wanted[lane], left), flow)
            if picked:
                picks[lane] = picked
                left -= sum(map(len, picked.values()))
        return picks

    def _time_to_look(self) -> bool:
        now = self._services.clock.monotonic()
        if not self.stale or now - self._looked_at < FLOWS_LOOK_SECONDS:
            return False
        self.stale, self._looked_at = False, now
        return True

    def _assign(self, tasks: list[Claimed], picks: Picks, now: float) -> None:
        got: dict[tuple[int, str], list[Claimed]] = {}
        for task in tasks:
            got.setdefault((task.lane, task.flow or ""), []).append(task)
        ranker, shares = self._services.ranker, self._services.shares
        for lane, of in picks.items():
            for flow, holds in of.items():
                mine = got.get((lane, flow), [])
                sizes = [ranker.standing(task).size for task in mine]
                for task, hold in zip(mine, shares.claimed(holds, sizes), strict=True):
                    self.holds[task.seq] = hold if task.flow is not None else self._placed(task, hold, now)

    def _placed(self, task: Claimed, hold: ClaimHold, now: float) -> ClaimHold:
        """Give a task that was ranked by a strategy without flows, and put back after the switch from it, its
        place under this one."""
        ranker, holds = self._services.ranker, self._services.shares.holds
        standing = ranker.standing(task)
        task.rank, task.flow = ranker.policy.rank(standing, now), ranker.policy.flow(standing)
        holds.drop(hold)
        return holds.take(task.lane, task.flow or "", standing.size)

    def release(self, seq: int) -> None:
        """A claimed task goes back unstarted: its flow owes nothing for it."""
        hold = self.holds.pop(seq, None)
        if hold is not None:
            self._services.shares.holds.drop(hold)

    def _look(self, lanes: Iterable[int]) -> Look | None:
        """Behind a claim, in its transaction: who is at the head then, so that no slot goes to a worse-ranked
        step before the next claim."""
        return self._heads.look_at(lanes) if self._services.ranker.preemptive else None

    def _found(self, look: Look | None, brought: _Brought) -> None:
        if look is not None and brought.heads is not None:
            self._heads.found(look, brought.heads)
        self._services.budgets.open(brought.budgets)


def _seems_empty(tasks: list[Claimed], counts: Mapping[int, Mapping[str, int]], known: Wanted) -> bool:
    """Whether a claim took the last of all flows that are known in some lane."""
    got = Counter((task.lane, task.flow or "") for task in tasks)
    return any(
        sum(got[lane, flow] < asked for flow, asked in of.items()) >= known[lane]
        for lane, of in counts.items()
    )
