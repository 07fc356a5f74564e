"""Budgets of programs: rows beside the programs, moved where calls are settled."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.model.program_budget import ProgramBudget
from penstock.stores.sql.session import Session, WritingSession, as_list


class BudgetReading(Session):
    """`program_budgets`, `held_of_budget`."""

    def program_budgets(self, programs: Sequence[str]) -> list[ProgramBudget]:
        return [ProgramBudget(*row) for row in self.db.rows("program_budgets", (as_list(programs),))]

    def held_of_budget(self, program: str) -> tuple[int, int]:
        [(cost, tokens)] = self.db.rows("held_of_budget", (program,))
        return int(cost), int(tokens)


class Budgeting(WritingSession):
    """`open_budget`, `limit_budget`, `programs_over`, and how budgets go with their programs."""

    def open_budget(self, budget: ProgramBudget) -> None:
        terms = (budget.program, budget.name, budget.limit, budget.max_tokens, budget.within)
        booked = (budget.spent, budget.uncertain, budget.tokens, budget.uncertain_tokens)
        self.db.do("open_budget", (*terms, *booked))

    def limit_budget(self, program: str, limit: int | None, max_tokens: int | None) -> None:
        self.db.do("limit_budget", (program, limit, max_tokens))

    def programs_over(self, programs: Sequence[str]) -> list[str]:
        return [program for (program,) in self.db.rows("programs_over", (as_list(programs),))]

    def budgets_led_by(self, seqs: Sequence[int]) -> list[str]:
        return [program for (program,) in self.db.rows("budgets_led_by", (as_list(seqs),))]

    def forget_budgets(self, programs: Sequence[str]) -> None:
        """Drop those of these programs that no task leads or belongs to any more."""
        if programs:
            self.db.do("forget_budgets", (as_list(programs),))
