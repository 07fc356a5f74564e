"""Arrival order."""

from __future__ import annotations

from penstock.model.rank import Rank, Rankable
from penstock.model.standing import Standing
from penstock.policies.base import Strategy


class Fifo(Strategy):
    """First come, first served."""

    name = "fifo"

    def rank(self, task: Rankable, now: float) -> Rank:
        return Rank(0, task.entered_at)

    def overtaken_within(self, task: Standing) -> float:
        return 0.0
