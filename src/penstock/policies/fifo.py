"""Arrival order."""

from __future__ import annotations

from penstock.model.rank import Rank, Rankable


class Fifo:
    """First come, first served."""

    name = "fifo"
    preemptive = False

    def rank(self, task: Rankable, now: float) -> Rank:
        return Rank(0, task.entered_at)
