"""The budget of a workflow, as it begins."""

from __future__ import annotations

from dataclasses import replace

from penstock.model.program_budget import ProgramBudget
from penstock.model.task import TaskView
from penstock.stores.contract import Reader
from penstock.workflows.taking_over import run_before


def own_budget(store: Reader, program: str) -> ProgramBudget | None:
    """The budget of this program, where it has one."""
    return next((one for one in store.program_budgets([program]) if one.program == program), None)


def first_budget(store: Reader, leader: TaskView, given: ProgramBudget) -> ProgramBudget:
    """What a workflow begins with: what its definition gives; tried again, or as a fork, what the run before
    had last. Tried again, all that was booked there counts too; not where everything is run anew."""
    found = run_before(store, leader)
    before = None if found is None else own_budget(store, found[0].id)
    if found is None or before is None:
        return given
    if found[1]:
        return replace(given, limit=before.limit, max_tokens=before.max_tokens)
    # Calls of a run that was cancelled may be in flight still: they count as what they hold.
    held, held_tokens = store.held_of_budget(before.program)
    return replace(
        before,
        program=given.program,
        name=given.name,
        within=given.within,
        uncertain=before.uncertain + held,
        uncertain_tokens=before.uncertain_tokens + held_tokens,
    )
