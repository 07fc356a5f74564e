"""Changing what a workflow may use in all, while it runs, before it begins, or before it is tried again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from penstock.admission.money import usd
from penstock.errors import InvalidTask
from penstock.manager.unset import UNSET, Unset
from penstock.manager.workflow_views import WorkflowSpending, leader_of, spending_of
from penstock.model.program_budget import ProgramBudget
from penstock.model.states import TaskStatus
from penstock.model.task import TaskView
from penstock.model.usage import to_pico
from penstock.runtime.budgets import CHANGED
from penstock.stores.contract import Transaction
from penstock.workflows.budgets import first_budget, own_budget
from penstock.workflows.definition import MOST_TOKENS

Money = Decimal | float | str


@dataclass(frozen=True, slots=True)
class BudgetChange:
    """What is to hold from now on: pico-dollars and tokens; `None` takes a limit away."""

    limit: int | Unset | None
    max_tokens: int | Unset | None

    @staticmethod
    def read(budget: Money | Unset | None, max_tokens: int | Unset | None) -> BudgetChange:
        """The change to so many US dollars and tokens. Raises `InvalidTask` for what is no amount."""
        if budget is UNSET and max_tokens is UNSET:
            raise InvalidTask("give budget, max_tokens or both")
        limit: int | Unset | None
        try:
            limit = budget if budget is None or isinstance(budget, Unset) else to_pico(budget)
        except ValueError as error:
            raise InvalidTask(f"budget: {error}", ["budget"]) from None
        if isinstance(budget, bool) or (isinstance(limit, int) and limit < 0):
            raise InvalidTask(f"budget must be US dollars from 0, not {budget!r}", ["budget"])
        whole = isinstance(max_tokens, int) and not isinstance(max_tokens, bool)
        if not (max_tokens in (None, UNSET) or (whole and 1 <= max_tokens <= MOST_TOKENS)):
            raise InvalidTask(
                f"max_tokens must be a whole number from 1 to {MOST_TOKENS:,}, not {max_tokens!r}",
                ["max_tokens"],
            )
        return BudgetChange(limit, max_tokens)

    def make(self, store: Transaction, id: str, now: float) -> tuple[WorkflowSpending, list[ProgramBudget]]:
        """Change the budget of a workflow: how it stands then, and what the gate is to know.

        Raises `TaskNotFound`, and `InvalidTask` for less than what is spent and held, for a workflow that is
        completed, and for one that began without a budget.
        """
        leader = leader_of(store, id)
        if leader.status is TaskStatus.COMPLETED:
            raise InvalidTask(f"workflow {leader.id} is completed: no budget binds it any more")
        before = own_budget(store, leader.id) or self._opened(store, leader)
        after = replace(
            before,
            limit=before.limit if isinstance(self.limit, Unset) else self.limit,
            max_tokens=before.max_tokens if isinstance(self.max_tokens, Unset) else self.max_tokens,
        )
        self._check(after, *store.held_of_budget(leader.id))
        # One that has no limit yet and gets none either is not kept.
        store.open_budget(after)
        store.limit_budget(leader.id, after.limit, after.max_tokens)
        store.ask_control(CHANGED, leader.seq, now)
        told = spending_of(store, leader) or WorkflowSpending.nothing()
        return told, store.program_budgets([leader.id])

    def _opened(self, store: Transaction, leader: TaskView) -> ProgramBudget:
        """The budget of a workflow that has not begun, as it will be when it begins."""
        if leader.status.final or store.group(leader.seq) is not None:
            raise InvalidTask(
                f"workflow {leader.id} began without a budget, and what it used was not counted; to bound "
                "it, cancel it and run it again with `budget` or `max_tokens`"
            )
        given = first_budget(store, leader, _given(leader))
        store.open_budget(given)
        return given

    def _check(self, after: ProgramBudget, held: int, held_tokens: int) -> None:
        booked = after.spent + after.uncertain
        if not isinstance(self.limit, Unset) and after.limit is not None and after.limit < booked + held:
            raise InvalidTask(
                f"workflow {after.program} cannot have a budget of {usd(after.limit)}: {usd(booked)} are "
                f"spent and {usd(held)} held for calls in flight; give at least {usd(booked + held)}, or "
                "cancel it",
                ["budget"],
            )
        used = after.tokens + after.uncertain_tokens
        cap = after.max_tokens
        if not isinstance(self.max_tokens, Unset) and cap is not None and cap < used + held_tokens:
            raise InvalidTask(
                f"workflow {after.program} cannot have max_tokens of {cap:,}: {used:,} are used and "
                f"{held_tokens:,} held for calls in flight; give at least {used + held_tokens:,}, or "
                "cancel it",
                ["max_tokens"],
            )


def _given(leader: TaskView) -> ProgramBudget:
    """What its definition says."""
    data: dict[str, Any] = leader.payload if isinstance(leader.payload, dict) else {}
    budget, max_tokens = data.get("budget"), data.get("max_tokens")
    limit = None if budget is None else to_pico(budget)
    return ProgramBudget(leader.id, data.get("name") or "", limit, max_tokens, leader.program)
