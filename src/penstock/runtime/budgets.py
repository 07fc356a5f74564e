"""Budgets of programs on their way from the store to the gate, and out of it again."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.admission import ProgramBudgets
from penstock.model.program_budget import ProgramBudget
from penstock.model.task import Claimed
from penstock.runtime.committer import Committer
from penstock.runtime.looper import Looper
from penstock.stores.contract import Control, Reader, Transaction

CHANGED = "budget"
"""The kind of the control row that says: the budget of the program that this task leads was changed."""


def budgets_of(store: Reader, tasks: Sequence[Claimed]) -> list[ProgramBudget]:
    """The budgets that bind tasks just claimed, with all that was settled before: no call of theirs comes to
    the gate before they do."""
    programs = {task.program for task in tasks if task.program is not None}
    return store.program_budgets(sorted(programs)) if programs else []


def changed_budgets(store: Transaction, controls: Sequence[Control]) -> list[ProgramBudget]:
    """The budgets that other processes changed, as they are now."""
    leaders = [one.task for one in controls if one.kind == CHANGED and one.task is not None]
    programs = store.budgets_led_by(leaders) if leaders else []
    return store.program_budgets(programs) if programs else []


class BudgetDropper(Looper):
    """Drops the accounts of programs that are over, so that as many are in memory as there are at work."""

    interval = 10.0

    def __init__(self, committer: Committer, budgets: ProgramBudgets) -> None:
        super().__init__()
        self._committer = committer
        self._budgets = budgets

    async def tick(self) -> float | None:
        # Whatever was settled so far is written before the store is asked; whoever moves later stays.
        if moves := self._budgets.at_rest():
            over = await self._committer.run(lambda store: store.programs_over(list(moves)))
            self._budgets.drop(over, moves)
        return None
