"""Higher priority first, with linear ageing so that nothing starves."""

from __future__ import annotations

from penstock.model.priority import HIGHEST
from penstock.model.rank import Rank, Rankable
from penstock.model.standing import Standing
from penstock.policies.base import Strategy
from penstock.policies.settings import not_negative


class PriorityWithAgeing(Strategy):
    """A level of priority is worth `seconds_per_level` seconds of waiting.

    Waiting raises every task at the same pace, so the order of two waiting tasks never changes and one key,
    fixed when the task enters, is exact. A task of priority p is overtaken only by tasks that entered less
    than `(100 - p) * seconds_per_level` seconds after it.
    """

    name = "priority"

    def __init__(self, seconds_per_level: float = 60.0) -> None:
        self.seconds_per_level = not_negative("seconds_per_level", seconds_per_level)

    def rank(self, task: Rankable, now: float) -> Rank:
        return Rank(0, task.entered_at - task.priority * self.seconds_per_level)

    def overtaken_within(self, task: Standing) -> float:
        return (HIGHEST - task.priority) * self.seconds_per_level
