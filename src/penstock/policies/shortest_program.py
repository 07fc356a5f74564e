"""The program with the least estimated work left first."""

from __future__ import annotations

from penstock.model.rank import Rank
from penstock.model.standing import Standing
from penstock.policies.base import Strategy


class ShortestProgram(Strategy):
    """Least work left first, counted over all tasks of a workflow; a task of none is its own program.

    The best rule for agent workloads even with a rough estimate. What waits of a program gets better as the
    program is served, so a program's waiting tasks are ranked again after its steps.
    """

    name = "shortest_program"
    preemptive = True

    def rank(self, task: Standing, now: float) -> Rank:
        return Rank(0, task.remaining if task.program is None else task.program.remaining)
