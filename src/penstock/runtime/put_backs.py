"""Put-backs: when no more tasks may be open and a better-ranked one waits in the store, the worst makes
place."""

from __future__ import annotations

from collections.abc import Callable

from penstock.runtime.admitter import Admitter
from penstock.runtime.heads import Heads, Rival
from penstock.runtime.runner import Running
from penstock.runtime.services import Services

# Between two, so that tasks of nearly equal rank do not chase each other out.
PAUSE_SECONDS = 0.1


class PutBacks:
    """Sends the worst open task back to the store; one that has begun no step first. `count` of them so
    far."""

    def __init__(
        self, services: Services, admitter: Admitter, heads: Heads, open: dict[int, Running], max_open: int
    ) -> None:
        self._services = services
        self._admitter = admitter
        self._heads = heads
        self._open = open
        self.max_open = max_open
        self.count = 0
        self._last = 0.0

    @property
    def full(self) -> bool:
        """Whether no more tasks may be opened."""
        return len(self._open) >= self.max_open

    @property
    def rested(self) -> bool:
        """Whether it is time for another one."""
        return self._services.clock.monotonic() - self._last >= PAUSE_SECONDS

    def best(self, may_claim: Callable[[int], bool]) -> Rival | None:
        """The task in the store that may ask for a place, where it stands for that. One of another flow has
        to be behind by the next charge of its flow, or two flows would change places at each step."""
        best = self._heads.best(may_claim, stage=0 if self._services.ranker.preemptive else 1)
        if best is None or best.flow is None:
            return best
        shares = self._services.shares
        ahead = shares.holds.expected(best.lane, best.flow)[0] / self._services.ranker.weight(best.flow)
        return best._replace(place=best.place._replace(counter=best.place.counter + ahead))

    def make_place(self, may_claim: Callable[[int], bool]) -> bool:
        """Let the worst go if the best that waits in the store deserves its place more; whether it did."""
        if not self.full or not self.rested:
            return False
        best, worst = self.best(may_claim), self._admitter.worst(self._may_leave)
        if best is None or worst is None or not best.place < worst[1] or self.stands_behind_its_own(best):
            return False
        self._last = self._services.clock.monotonic()
        self.count += 1
        self._admitter.park(worst[0])
        return True

    def give_way(self, may_claim: Callable[[int], bool]) -> None:
        """A slot was refused to those who wait, for a better one is in the store: let that one in, or let
        them go on for a while."""
        if not self.make_place(may_claim):
            self._last = self._services.clock.monotonic()
            self._admitter.pump_soon()

    def stands_behind_its_own(self, rival: Rival) -> bool:
        """Whether a task of the same flow waits at the gate already that goes before: there is nothing then
        that a claim could give to the flow."""
        if rival.flow is None:
            return False
        return any(
            waiter.caller.flow == rival.flow
            and waiter.caller.stage <= rival.place.stage
            and waiter.caller.rank <= rival.place.rank
            for waiter in self._admitter.waiters()
        )

    def _may_leave(self, seq: int) -> bool:
        running = self._open.get(seq)
        return running is not None and running.context.holding.only_waits
