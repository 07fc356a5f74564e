"""Least estimated work left first, with ageing, between steps too."""

from __future__ import annotations

from penstock.model.standing import Standing
from penstock.policies.shortest_job_first import ShortestJobFirst


class ShortestRemaining(ShortestJobFirst):
    """As `shortest_job_first`, by what remains: re-ranked after each step, and steps compete."""

    name = "shortest_remaining"
    preemptive = True

    def measure(self, task: Standing) -> float:
        return task.remaining
