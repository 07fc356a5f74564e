"""The program that has had the least service first."""

from __future__ import annotations

from penstock.model.rank import Rank
from penstock.model.standing import Standing
from penstock.policies.base import Strategy


class LeastAttained(Strategy):
    """Least service so far first, counted over all tasks of a workflow; a task of none is its own program.

    It needs no estimate, and helps long sequential agents of very different length. Workflows that are wide
    and alike fare badly: their joins wait for the last branch of everybody.
    """

    name = "least_attained"
    preemptive = True

    def rank(self, task: Standing, now: float) -> Rank:
        return Rank(0, task.attained if task.program is None else task.program.attained)
