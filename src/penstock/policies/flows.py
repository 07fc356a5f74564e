"""Flows: whose turn it is where shares matter. The lowest counter goes first, O(log n) with n flows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from heapq import heapify, heappop, heappush, heapreplace, nsmallest

# Flows of others that are looked past, for each that is looked for, before the own ones are compared instead.
_LOOK_PAST = 16


@dataclass(frozen=True, slots=True)
class FlowView:
    """A flow as people see it: `counter` is service per weight, `charged` service in the scarce unit.

    `waiting_since` is the instant since which it has always had tasks waiting, `None` when it has none.
    `turn` numbers its last charge among those of all flows; 0: it had none.
    """

    name: str
    counter: float
    charged: float
    weight: float
    waiting_since: float | None
    turn: int = 0


@dataclass(slots=True)
class _Flow:
    """`floor` is what no correction may bring the counter below: the lift when it last came back.

    `turn` numbers its last charge, `queued` the key under which it stands in the heap (`None`: it stands
    nowhere).
    """

    name: str
    counter: float = 0.0
    floor: float = 0.0
    charged: float = 0.0
    turn: int = 0
    queued: tuple[float, int] | None = None
    waiting_since: float | None = None

    @property
    def key(self) -> tuple[float, int]:
        return self.counter, self.turn


class Flows:
    """Counters of service per weight, one for each flow of those that compete for one resource.

    A reservation charges its flow by its estimate, settlement corrects that, release refunds it; nothing
    else moves a counter but the lift of a flow that comes back from idling, which so gains no credit. Of
    two flows that both have tasks waiting all through an interval, neither is charged more than 2U above
    the other, per weight, with U = largest charge + 2 K * largest correction, per weight, and K the most
    reservations of a flow open at once. (Virtual token counters: Sheng et al., OSDI 2024; there U counts a
    prompt and 2 K outputs.)

    An amount of 0 costs nothing: who has only free work goes first for as long as it has any.
    """

    def __init__(
        self,
        weight: Callable[[str], float] = lambda flow: 1.0,
        counters: Mapping[str, float] | None = None,
        last: str | None = None,
    ) -> None:
        """`weight` gives the share of a flow, above 0; `counters` and `last` are those of an earlier life."""
        self._weight = weight
        self._flows = {name: _Flow(name, counter) for name, counter in (counters or {}).items()}
        self._heap: list[tuple[tuple[float, int], str]] = []
        self._waiting = 0
        self._turns = 0
        self.last = last
        """The flow that was served last."""
        if last is not None:
            self._flow(last)

    def __len__(self) -> int:
        """How many flows have tasks waiting."""
        return self._waiting

    def restore(self, flow: str, counter: float, turn: int, waiting_since: float | None = None) -> None:
        """A flow as it stood in an earlier life: who had tasks waiting all along is not lifted for it."""
        one = self._flow(flow)
        one.counter, one.turn = counter, turn
        if turn > self._turns:
            self._turns, self.last = turn, flow
        if waiting_since is not None and one.waiting_since is None:
            one.waiting_since = waiting_since
            self._waiting += 1
            self._queue(one)

    def arrive(self, flow: str, now: float, lowest: Callable[[], float | None] = lambda: None) -> None:
        """`flow` has a task waiting; one that had none is lifted to the lowest of those that have.

        Where nobody has, to the one that was served last. `lowest` tells where they stand in truth, if part
        of what they were charged is for what waits still.
        """
        one = self._flow(flow)
        if one.waiting_since is not None:
            return
        known = lowest()
        one.floor = max(0.0, self._lift() if known is None else known)
        one.counter = max(one.counter, one.floor)
        one.waiting_since = now
        self._waiting += 1
        self._queue(one)

    def leave(self, flow: str) -> None:
        """`flow` has no task waiting any more; what it still has in flight counts on."""
        one = self._flows.get(flow)
        if one is None or one.waiting_since is None:
            return
        one.waiting_since = one.queued = None
        self._waiting -= 1

    def charge(self, flow: str, amount: float) -> None:
        """A reservation of `flow` was admitted, by its estimate."""
        one = self._flow(flow)
        self._turns += 1
        one.turn = self._turns
        self.last = flow
        self._move(one, _amount(amount))

    def correct(self, flow: str, delta: float) -> None:
        """A reservation was settled: true usage less estimate."""
        if not math.isfinite(delta):
            raise ValueError(f"a correction must be a finite number, not {delta!r}")
        self._move(self._flow(flow), delta)

    def refund(self, flow: str, amount: float) -> None:
        """A reservation was released unused; no more comes back than was charged."""
        self._move(self._flow(flow), -_amount(amount))

    def pick(self) -> str | None:
        """The flow whose head goes first: lowest counter, then charged longest ago, then by name.

        It changes nothing; `None` when nobody waits.
        """
        one = self._lowest()
        return None if one is None else one.name

    def lowest(self, count: int, among: Set[str]) -> list[str]:
        """Up to `count` of those of these flows that have tasks waiting, in the order in which they would be
        picked. It changes nothing, and looks at a number of flows that depends on `count` alone unless most
        of the lowest are none of these."""
        found: list[str] = []
        passed: list[_Flow] = []
        while len(found) < count and len(passed) < _LOOK_PAST * count and (one := self._lowest()) is not None:
            one.queued = None
            passed.append(one)
            if one.name in among:
                found.append(one.name)
        for one in passed:
            self._queue(one)
        if len(found) == count or len(passed) < _LOOK_PAST * count:
            return found
        mine = (self._flows[name] for name in among if name in self._flows)
        keys = ((one.key, one.name) for one in mine if one.waiting_since is not None)
        return [name for _, name in nsmallest(count, keys)]

    def pick_many(self, count: int, heads: Callable[[str], Iterable[float]]) -> list[str]:
        """The flows of `count` successive picks, each charged with the estimate of its head as it goes.

        `heads(flow)` gives the estimates of its waiting tasks in rank order, asked once for each flow that
        comes to its turn; the k-th time a flow is named stands for its k-th task. A flow whose heads are
        used up, or that may not go now and has none, is passed over; whether it leaves is the caller's to
        say.
        """
        picked: list[str] = []
        heads_of: dict[str, Iterator[float]] = {}
        passed: list[_Flow] = []
        try:
            while len(picked) < count and (one := self._lowest()) is not None:
                if one.name not in heads_of:
                    heads_of[one.name] = iter(heads(one.name))
                amount = next(heads_of[one.name], None)
                if amount is None:
                    one.queued = None
                    passed.append(one)
                else:
                    self.charge(one.name, amount)
                    picked.append(one.name)
        finally:
            for one in passed:
                self._queue(one)
        return picked

    def view(self, flow: str) -> FlowView:
        """How a flow stands; one never heard of stands at 0."""
        one = self._flows.get(flow) or _Flow(flow)
        return FlowView(flow, one.counter, one.charged, self._weight(flow), one.waiting_since, one.turn)

    def counter(self, flow: str, but: float = 0.0) -> float:
        """Service per weight of a flow, without an amount of `but` that it was charged."""
        one = self._flows.get(flow)
        if one is None:
            return 0.0
        return max(one.floor, one.counter - but / self._weight(flow)) if but else one.counter

    def counters(self) -> dict[str, float]:
        """The counter of every flow, for a later life."""
        return {one.name: one.counter for one in self._flows.values()}

    def forget_idle(self, most: int | None = None) -> int:
        """Drop idle flows that stand no higher than a new one would be lifted to; returns how many.

        With `most`, nothing is dropped while no more than twice as many are idle, and then of the others the
        lowest as well: what those were charged in excess is forgiven.
        """
        if most is not None and len(self._flows) - self._waiting <= 2 * most:
            return 0
        lift = self._lift()
        idle = [
            one.name
            for one in self._flows.values()
            if one.waiting_since is None and one.counter <= lift and one.name != self.last
        ]
        for name in idle:
            del self._flows[name]
        if most is not None:
            left = [one for one in self._flows.values() if one.waiting_since is None]
            for one in nsmallest(len(left) - most, left, key=lambda one: one.key):
                if one.name != self.last:
                    idle.append(one.name)
                    del self._flows[one.name]
        return len(idle)

    def _flow(self, name: str) -> _Flow:
        one = self._flows.get(name)
        if one is None:
            one = self._flows[name] = _Flow(name)
        return one

    def _lift(self) -> float:
        lowest = self._lowest()
        if lowest is not None:
            return lowest.counter
        return self._flows[self.last].counter if self.last is not None else 0.0

    def _move(self, one: _Flow, amount: float) -> None:
        one.charged = max(0.0, one.charged + amount)
        weight = self._weight(one.name)
        if not weight > 0:
            raise ValueError(f"the weight of a flow must be above 0; that of {one.name!r} is {weight!r}")
        one.counter = max(one.floor, one.counter + amount / weight)
        # Who rose is found out when it comes to the top; who sank must be seen there.
        if one.queued is not None and one.key < one.queued:
            self._queue(one)

    def _queue(self, one: _Flow) -> None:
        one.queued = one.key
        heappush(self._heap, (one.queued, one.name))
        if len(self._heap) > 2 * self._waiting + 64:
            self._heap = [
                (flow.queued, flow.name) for flow in self._flows.values() if flow.queued is not None
            ]
            heapify(self._heap)

    def _lowest(self) -> _Flow | None:
        heap = self._heap
        while heap:
            key, name = heap[0]
            one = self._flows.get(name)
            if one is None or one.queued != key:
                heappop(heap)
            elif one.key != key:
                one.queued = one.key
                heapreplace(heap, (one.queued, name))
            else:
                return one
        return None


def _amount(amount: float) -> float:
    if not (math.isfinite(amount) and amount >= 0):
        raise ValueError(f"an amount must be a finite number, 0 or above, not {amount!r}")
    return amount
