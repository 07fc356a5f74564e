"""Multi-level feedback queue: what runs long sinks, what is short stays responsive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from math import floor

from penstock.model.rank import Rank
from penstock.model.standing import Standing
from penstock.policies.base import Strategy, advanced, line_time
from penstock.policies.settings import rising, zero_or_at_least


class MultiLevelFeedback(Strategy):
    """A task sinks a level for each of `levels` that it has attained, in the scarce unit; in a level, FIFO.

    Time is cut into epochs of `boost_seconds`. What joined its line in an earlier epoch goes before all
    that joined in a later one, which is the order that lifting every waiting task to the top at each epoch
    would give, without touching them; at its next step a lifted task counts its levels anew. So nothing is
    overtaken by what joins more than `boost_seconds` after it. 0: no boost, and what has sunk can starve.
    """

    name = "mlfq"
    preemptive = True

    def __init__(self, levels: Sequence[float] = (64.0, 256.0, 1024.0), boost_seconds: float = 300.0) -> None:
        self.levels = rising("levels", levels)
        self.boost_seconds = zero_or_at_least("boost_seconds", boost_seconds, 1.0)
        self._quanta = tuple(later - earlier for earlier, later in pairwise((0.0, *self.levels)))

    def rank(self, task: Standing, now: float) -> Rank:
        joined = line_time(task)
        level = min(task.level, len(self._quanta))
        return Rank(self._epoch(joined) * (len(self._quanta) + 1) + level, joined)

    def stepped(self, task: Standing, service: float, seconds: float, now: float) -> Standing:
        level, used, turn_at, epoch = task.level, task.slice_used, task.turn_at, self._epoch(now)
        if epoch > self._epoch(line_time(task)):
            level, used, turn_at = 0, 0.0, epoch * self.boost_seconds
        sunk, used = self._sink(level, used + service)
        if sunk > level:
            turn_at = max(now, turn_at)
        return replace(advanced(task, service, seconds), level=sunk, slice_used=used, turn_at=turn_at)

    def overtaken_within(self, task: Standing) -> float | None:
        return self.boost_seconds or None

    def _sink(self, level: int, used: float) -> tuple[int, float]:
        """The level of a task that used so much at `level`, and what it has used of that level's quantum."""
        while level < len(self._quanta) and used >= self._quanta[level]:
            used -= self._quanta[level]
            level += 1
        return level, used

    def _epoch(self, instant: float) -> int:
        return floor(instant / self.boost_seconds) if self.boost_seconds else 0
