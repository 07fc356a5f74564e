"""Shares: what flows have been charged on this node, where the policy measures any.

A claim holds the estimate of a task's first reservation; that one takes its place, settlement corrects it,
release gives it back. Without a flow every call here does nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import islice

from penstock.model.flow_standing import FlowStanding
from penstock.policies import Flows
from penstock.runtime.charges import Charges, Unit
from penstock.runtime.claim_holds import ClaimHold, ClaimHolds
from penstock.runtime.keeper import Keeper

# Idle flows that are remembered, up to twice as many: those that have the most to make up for.
MOST_IDLE = 10_000
# Flows at the gate among which the lowest is looked for when one comes.
_AT_GATE_LOOKED_AT = 64


class Shares:
    """The flows' counters, and which flows have tasks waiting in which lane.

    What is in line is compared by `counter`: all that was charged but the holds of tasks that wait at the
    gate, for these have got nothing yet. Whom to claim next is picked with these holds, so that claims ahead
    of the gate go round. `arrivals` counts the tasks that came, `visitors` the calls from outside any task
    that wait at the gate, by flow.
    """

    def __init__(
        self, weight: Callable[[str], float], keeper: Keeper | None = None, unit: Unit = "tokens"
    ) -> None:
        self.flows = Flows(weight)
        self.charges = Charges(unit)
        self.holds = ClaimHolds(self.flows)
        self.keeper = Keeper() if keeper is None else keeper
        self.keeper.standing_of = self._standing
        self.waiting: dict[int, set[str]] = {}
        self.arrivals = 0
        self.visitors: Counter[str] = Counter()

    def counter(self, flow: str | None) -> float:
        """Service per weight that a flow was charged; 0 where no shares are measured."""
        return 0.0 if flow is None else self.flows.counter(flow, self.holds.ahead.get(flow, 0.0))

    def charge(self, flow: str | None, amount: float) -> None:
        if flow is not None:
            self.flows.charge(flow, amount)
            self.keeper.moved(flow)

    def correct(self, flow: str | None, delta: float) -> None:
        if flow is not None:
            self.flows.correct(flow, delta)
            self.keeper.moved(flow)

    def restore(self, standings: Iterable[FlowStanding], waiting: list[tuple[int, str]], now: float) -> None:
        """How the flows stood when this store was left, and which of them have tasks waiting now."""
        names = {flow for _, flow in waiting}
        for one in standings:
            since = one.waiting_since if one.flow in names else None
            self.flows.restore(one.flow, one.counter, one.turn, since)
        self.replace(waiting, now)
        self.flows.forget_idle(MOST_IDLE)

    def arrive(self, lane: int, flow: str, now: float, size: float = 0.0) -> None:
        """A task of this flow, of this estimated size, waits in this lane."""
        if size > 0:
            self.holds.guess = size
        self.arrivals += 1
        self.waiting.setdefault(lane, set()).add(flow)
        self._arrive(flow, now)

    def replace(self, waiting: list[tuple[int, str]], now: float) -> None:
        """What the store says of all lanes."""
        fresh: dict[int, set[str]] = {}
        for lane, flow in waiting:
            fresh.setdefault(lane, set()).add(flow)
        before = {flow for flows in self.waiting.values() for flow in flows}
        after = {flow for flows in fresh.values() for flow in flows}
        self.waiting = fresh
        for flow in sorted(before - after - self.visitors.keys()):
            self._leave(flow)
        for flow in sorted(after):
            self._arrive(flow, now)

    def ran_dry(self, lane: int, flow: str) -> None:
        """Nothing of this flow waits in this lane any more."""
        self.waiting.get(lane, set()).discard(flow)
        self._leave_unless_waiting(flow)

    def visit(self, flow: str | None, now: float) -> None:
        """A call from outside any task waits at the gate."""
        if flow is not None:
            self.visitors[flow] += 1
            self._arrive(flow, now)

    def went(self, flow: str | None) -> None:
        """It waits no longer."""
        if flow is not None:
            self.visitors[flow] -= 1
            if not self.visitors[flow]:
                del self.visitors[flow]
                self._leave_unless_waiting(flow)

    def lowest(self, lane: int, count: int) -> tuple[list[str], float]:
        """The flows with tasks waiting in this lane whose turn comes first, and those that would be among
        them but for what waits at the gate; and the counter of the next one."""
        mine = self.waiting.get(lane)
        if not mine:
            return [], math.inf
        found = self.flows.lowest(count + 1, mine)
        beyond = self.counter(found.pop()) if len(found) > count else math.inf
        return found + [flow for flow in self.holds.ahead if flow in mine and flow not in found], beyond

    def pick(self, lane: int, count: int, first: str | None = None) -> dict[str, list[ClaimHold]]:
        """What goes next in this lane, by flow: a hold for each task to claim. `first` goes before all."""
        mine = self.waiting.get(lane)
        return self.holds.pick(lane, mine, count, first) if mine else {}

    def claimed(self, holds: list[ClaimHold], sizes: list[float]) -> list[ClaimHold]:
        """Of these holds of one flow, those of the tasks that a claim brought, of such sizes; the others are
        given back, for nothing more waits in that flow."""
        for hold in holds[len(sizes) :]:
            self.holds.drop(hold)
        if len(sizes) < len(holds):
            self.ran_dry(holds[0].lane, holds[0].flow)
        for hold, size in zip(holds, sizes, strict=False):
            self.holds.tell(hold, size)
        return holds[: len(sizes)]

    def ended(self, hold: ClaimHold, used: float, completed: bool) -> None:
        """An attempt is over without a call after it used so much."""
        self.holds.ended(hold, used, completed)
        if used > 0:
            self.correct(hold.flow, used)

    def _arrive(self, flow: str, now: float) -> None:
        self.flows.arrive(flow, now, self._lowest)
        self.keeper.moved(flow)

    def _lowest(self) -> float | None:
        """The lowest counter of the flows that wait, those included whose tasks were all claimed and wait at
        the gate: who comes must not stand behind what these have not got yet."""
        ahead = self.holds.ahead
        if not ahead:
            return None
        first = self.flows.pick()
        some = islice(ahead, _AT_GATE_LOOKED_AT)
        return min(self.counter(flow) for flow in (some if first is None else (*some, first)))

    def _leave_unless_waiting(self, flow: str) -> None:
        if flow not in self.visitors and not any(flow in flows for flows in self.waiting.values()):
            self._leave(flow)

    def _leave(self, flow: str) -> None:
        self.flows.leave(flow)
        self.flows.forget_idle(MOST_IDLE)
        self.keeper.moved(flow)

    def _standing(self, flow: str) -> FlowStanding:
        """As it would be without the claims of this node, which a next life makes anew."""
        view = self.flows.view(flow)
        return FlowStanding(
            flow, self.flows.counter(flow, self.holds.of(flow)), view.turn, view.waiting_since
        )
