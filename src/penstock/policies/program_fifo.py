"""By arrival of the program."""

from __future__ import annotations

from penstock.model.rank import Rank
from penstock.model.standing import Standing
from penstock.policies.base import Strategy


class ProgramFifo(Strategy):
    """The workflow that came first goes first, the best blind rule for DAGs; a task of none is its own."""

    name = "program_fifo"

    def rank(self, task: Standing, now: float) -> Rank:
        return Rank(0, task.entered_at if task.program is None else task.program.entered_at)
