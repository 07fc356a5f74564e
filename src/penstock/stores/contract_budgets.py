"""What a store promises of the budgets of programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from penstock.model.program_budget import ProgramBudget


class BudgetReader(Protocol):
    """What is asked of budgets."""

    def program_budgets(self, programs: Sequence[str]) -> list[ProgramBudget]:
        """The budgets of these programs and of those around them, outer ones first. What is booked by
        settlements is in them, what is held is not."""

    def held_of_budget(self, program: str) -> tuple[int, int]:
        """(pico-dollars, tokens) held by calls in flight of this program and of those within it."""


class BudgetWriter(Protocol):
    """Making budgets; they are booked on by `settle` and `release_uncertain`."""

    def open_budget(self, budget: ProgramBudget) -> None:
        """Give a program its budget before its first task is added, with what is booked on it from the start;
        nothing is changed when it has one. Without limits of its own it is kept where `within` has a budget,
        and else is not."""

    def limit_budget(self, program: str, limit: int | None, max_tokens: int | None) -> None:
        """Change what a program with a budget may use in all; what is booked stays."""

    def budgets_led_by(self, seqs: Sequence[int]) -> list[str]:
        """The programs with a budget that these tasks lead."""

    def programs_over(self, programs: Sequence[str]) -> list[str]:
        """Those of these programs of which neither a task nor the one that leads it has not ended."""
