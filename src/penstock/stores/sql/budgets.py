"""Budgets of programs: rows beside the programs, moved where calls are settled."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.model.program_budget import ProgramBudget
from penstock.stores.sql.session import Session, WritingSession, as_list


class BudgetReading(Session):
    """`program_budgets`."""

    def program_budgets(self, programs: Sequence[str]) -> list[ProgramBudget]:
        return [ProgramBudget(*row) for row in self.db.rows("program_budgets", (as_list(programs),))]


class Budgeting(WritingSession):
    """`open_budget`, `programs_over`, and how budgets go with their programs."""

    def open_budget(self, budget: ProgramBudget) -> None:
        row = (budget.program, budget.name, budget.limit, budget.max_tokens, budget.within)
        self.db.do("open_budget", row)

    def programs_over(self, programs: Sequence[str]) -> list[str]:
        return [program for (program,) in self.db.rows("programs_over", (as_list(programs),))]

    def budgets_led_by(self, seqs: Sequence[int]) -> list[str]:
        """The programs with a budget that these tasks lead."""
        return [program for (program,) in self.db.rows("budgets_led_by", (as_list(seqs),))]

    def forget_budgets(self, programs: Sequence[str]) -> None:
        """Drop those of these programs that no task leads or belongs to any more."""
        if programs:
            self.db.do("forget_budgets", (as_list(programs),))
