"""What claims hold of their flows' shares until the first reservation of each task takes its place."""

from __future__ import annotations

from collections.abc import Iterator, Set
from itertools import repeat

from penstock.model.moments import Moments
from penstock.policies import Flows

_MEMORY = 50
_MOST_KINDS = 20_000

Kind = tuple[int, str]
"""(lane, flow); an empty flow stands for all of a lane."""


class ClaimHold:
    """The hold of one task. `size` is what the task itself is said to take, 0 when nothing was said; `ahead`:
    it waits at the gate, and has no slot yet."""

    __slots__ = ("ahead", "amount", "flow", "lane", "size")

    def __init__(self, lane: int, flow: str, amount: float, size: float = 0.0) -> None:
        self.lane = lane
        self.flow = flow
        self.amount = amount
        self.size = size
        self.ahead = False


class ClaimHolds:
    """Charges flows for claims by an honest expectation: what first reservations charged before."""

    def __init__(self, flows: Flows) -> None:
        self._flows = flows
        self._held: dict[str, float] = {}
        self.ahead: dict[str, float] = {}
        """By flow: the holds of tasks that wait at the gate."""
        self.guess = 1.0
        """What a task takes before anything is known of any."""
        self._learned: dict[Kind, Moments] = {}
        self._all = Moments(_MEMORY)
        self._calling: set[int] = set()
        self._unsure: dict[ClaimHold, None] = {}

    def expected(self, lane: int, flow: str, size: float = 0.0) -> tuple[float, bool]:
        """What the first reservation of such a task will charge, and whether that is more than a guess.

        What was learned of its flow, else of its lane, else of all; a task that makes no calls takes what it
        is said to.
        """
        if size > 0 and lane not in self._calling:
            return size, (lane, "") in self._learned
        learned = self._learned.get((lane, flow)) or self._learned.get((lane, ""))
        if learned is not None:
            return learned.mean, True
        return (self._all.mean if self._all.seen else self.guess), False

    def of(self, flow: str) -> float:
        """All that is held of a flow."""
        return self._held.get(flow, 0.0)

    def pick(self, lane: int, among: Set[str], count: int, first: str | None) -> dict[str, list[ClaimHold]]:
        """Hold for `count` successive picks over the flows `among`, `first` before all; by flow."""

        def heads(flow: str) -> Iterator[float]:
            return repeat(self.expected(lane, flow)[0]) if flow in among else iter(())

        picked: dict[str, list[ClaimHold]] = {}
        if first is not None and first in among and count > 0:
            count -= 1
            picked[first] = [self.take(lane, first)]
        for name in self._flows.pick_many(count, heads):
            picked.setdefault(name, []).append(self._made(lane, name))
        return picked

    def take(self, lane: int, flow: str, size: float = 0.0) -> ClaimHold:
        """Hold for one task of this flow."""
        self._flows.charge(flow, self.expected(lane, flow, size)[0])
        return self._made(lane, flow, size)

    def tell(self, hold: ClaimHold, size: float) -> None:
        """Say how large the task of this hold is."""
        hold.size = size
        self._price(hold)

    def comes_to_gate(self, hold: ClaimHold) -> None:
        """The task has given its slot back to wait for its first call."""
        if not hold.ahead:
            hold.ahead = True
            _add(self.ahead, hold.flow, hold.amount)

    def has_slot(self, hold: ClaimHold) -> None:
        """The task waits no longer."""
        if hold.ahead:
            hold.ahead = False
            _add(self.ahead, hold.flow, -hold.amount)

    def reserved(self, hold: ClaimHold, amount: float) -> None:
        """The task's first reservation was charged by itself: the hold goes."""
        self.drop(hold)
        self._learn(hold, amount, call=True)

    def ended(self, hold: ClaimHold, used: float, completed: bool) -> None:
        """The attempt is over without a call, after it used so much: the hold goes."""
        self.drop(hold)
        if completed and hold.lane not in self._calling:
            self._learn(hold, used, call=False)

    def drop(self, hold: ClaimHold) -> None:
        """Give a hold back."""
        self._unsure.pop(hold, None)
        self._resize(hold, 0.0)

    def _made(self, lane: int, flow: str, size: float = 0.0) -> ClaimHold:
        amount, sure = self.expected(lane, flow, size)
        hold = ClaimHold(lane, flow, amount, size)
        _add(self._held, flow, amount)
        if not sure:
            self._unsure[hold] = None
        return hold

    def _resize(self, hold: ClaimHold, amount: float) -> None:
        delta, hold.amount = amount - hold.amount, amount
        self._flows.correct(hold.flow, delta)
        _add(self._held, hold.flow, delta)
        if hold.ahead:
            _add(self.ahead, hold.flow, delta)

    def _price(self, hold: ClaimHold) -> None:
        amount, sure = self.expected(hold.lane, hold.flow, hold.size)
        self._resize(hold, amount)
        if sure:
            self._unsure.pop(hold, None)

    def _learn(self, hold: ClaimHold, amount: float, call: bool) -> None:
        lane = hold.lane
        if call and lane not in self._calling:
            self._calling.add(lane)
            for kind in [kind for kind in self._learned if kind[0] == lane]:
                del self._learned[kind]
        news = (lane, "") not in self._learned
        if len(self._learned) >= _MOST_KINDS:
            self._learned.clear()
        for kind in {(lane, hold.flow), (lane, "")}:
            self._learned.setdefault(kind, Moments(_MEMORY)).add(amount)
        self._all.add(amount)
        if news:
            # Claims made on a guess must neither push their flow back nor let it take more than its turn.
            for other in list(self._unsure):
                self._price(other)


def _add(table: dict[str, float], flow: str, delta: float) -> None:
    total = table.get(flow, 0.0) + delta
    if total > 1e-9:
        table[flow] = total
    else:
        table.pop(flow, None)
