"""Put-backs: when no more tasks may be open and a better-ranked one waits in the store, the worst makes
place."""

from __future__ import annotations

from collections.abc import Callable

from penstock.runtime.admitter import Admitter
from penstock.runtime.heads import Heads
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

    def make_place(self, may_claim: Callable[[int], bool]) -> None:
        """Let the worst go if the best that waits in the store deserves its place more."""
        now = self._services.clock.monotonic()
        if not self.full or now - self._last < PAUSE_SECONDS:
            return
        best = self._heads.best(may_claim, stage=0 if self._services.ranker.preemptive else 1)
        worst = self._admitter.worst(self._may_leave)
        if best is None or worst is None or not best[1] < worst[1]:
            return
        self._last = now
        self.count += 1
        self._admitter.park(worst[0])

    def _may_leave(self, seq: int) -> bool:
        running = self._open.get(seq)
        return running is not None and running.context.holding.only_waits
