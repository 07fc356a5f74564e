"""Smallest estimate first, with ageing."""

from __future__ import annotations

from penstock.model.rank import Rank
from penstock.model.standing import Standing
from penstock.policies.base import Strategy
from penstock.policies.settings import zero_or_at_least

LEAST_AGEING = 1e-9


class ShortestJobFirst(Strategy):
    """Smallest `size` first; a second of waiting makes up for `ageing` units of size.

    The order is that of `entered_at + size / ageing`, which no waiting changes: a task is overtaken only by
    tasks that entered less than `size / ageing` seconds after it. The default lets a task of 60 s wait 20
    minutes for smaller ones, and one of 1,000 tokens five and a half hours; 0 is the pure rule, under which
    large tasks can starve.
    """

    name = "shortest_job_first"

    def __init__(self, ageing: float = 0.05) -> None:
        self.ageing = zero_or_at_least("ageing", ageing, LEAST_AGEING)

    def measure(self, task: Standing) -> float:
        """What is compared, in the scarce unit."""
        return task.size

    def rank(self, task: Standing, now: float) -> Rank:
        if self.ageing == 0:
            return Rank(0, self.measure(task))
        return Rank(0, task.entered_at + self.measure(task) / self.ageing)

    def overtaken_within(self, task: Standing) -> float | None:
        return self.measure(task) / self.ageing if self.ageing else None
