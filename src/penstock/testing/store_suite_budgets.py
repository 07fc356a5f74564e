"""Checks of the budgets of programs: booked with the settlements, kept as long as anybody needs them."""

from __future__ import annotations

from penstock.model.program_budget import ProgramBudget
from penstock.model.reservation import ReservationState
from penstock.model.states import TaskStatus
from penstock.model.task import Claimed
from penstock.stores.contract import Retention
from penstock.testing.store_probe import NOW, Probe, same, settled

SETTLED, RELEASED, UNCERTAIN = (
    ReservationState.SETTLED, ReservationState.RELEASED, ReservationState.UNCERTAIN,
)  # fmt: skip


def open_budget(probe: Probe, program: str, limit: int | None = 9_000, **fields: object) -> None:
    probe.store.run(lambda tx: tx.open_budget(ProgramBudget(program, limit=limit, **fields)))  # type: ignore[arg-type]


def budgets(probe: Probe, *programs: str) -> list[ProgramBudget]:
    return probe.store.read(lambda reader: reader.program_budgets(programs))


def booked(probe: Probe, program: str) -> tuple[int, int, int, int]:
    """(spent, uncertain, tokens, uncertain tokens)"""
    one = budgets(probe, program)[-1]
    same(one.program, program, "the innermost comes last")
    return one.spent, one.uncertain, one.tokens, one.uncertain_tokens


def hold(probe: Probe, task: Claimed, program: str = "p", **fields: int) -> int:
    return probe.reserve(task, program=program, tokens_most=200, **fields)


def over(probe: Probe, *programs: str) -> list[str]:
    return probe.store.run(lambda tx: tx.programs_over(programs))


def check_budget_is_booked(probe: Probe) -> None:
    """What is settled and what is uncertain is booked on the budget; what is held or released is not."""
    open_budget(probe, "p", name="flow", max_tokens=500)
    same(budgets(probe, "p", "q"), [ProgramBudget("p", "flow", 9_000, 500)], "the budget")
    task = probe.running(program="p")
    ids = [hold(probe, task) for _ in range(4)]
    same(booked(probe, "p"), (0, 0, 0, 0), "while all is held")
    probe.settle(settled(ids[0], SETTLED, input_tokens=90, output_tokens=10, cost=4_000))
    probe.settle(settled(ids[1], UNCERTAIN), settled(ids[2], RELEASED))
    probe.settle(settled(ids[0], SETTLED, input_tokens=90, output_tokens=10, cost=4_000))
    same(booked(probe, "p"), (4_000, 7_000, 100, 200), "booked once, above the limit as well")
    probe.store.run(lambda tx: tx.release_uncertain([ids[1], ids[1]]))
    same(booked(probe, "p"), (4_000, 0, 100, 0), "after the release by hand")
    probe.store.run(lambda tx: tx.rescue(NOW, NOW, 9, [probe.node]))
    same(booked(probe, "p"), (4_000, 7_000, 100, 200), "what a lost node held")


def check_budgets_within_budgets(probe: Probe) -> None:
    """What is booked on a program is booked on those around it; a program without limits needs a row only
    within one that has some."""
    open_budget(probe, "outer")
    open_budget(probe, "middle", None, within="outer")
    open_budget(probe, "inner", 5_000, within="middle")
    open_budget(probe, "free", None, within="nobody")
    open_budget(probe, "alone", 1, within="nobody")
    same(
        [one.program for one in budgets(probe, "inner", "free")], ["outer", "middle", "inner"], "outer first"
    )
    same(
        [one.program for one in budgets(probe, "middle", "inner")], ["outer", "middle", "inner"], "each once"
    )
    same(budgets(probe, "alone"), [ProgramBudget("alone", limit=1)], "around it is no budget")
    task = probe.running(program="inner")
    probe.settle(settled(hold(probe, task, "inner"), SETTLED, input_tokens=1, output_tokens=2, cost=5))
    probe.settle(settled(hold(probe, task, "outer"), SETTLED, input_tokens=1, output_tokens=2, cost=7))
    sums = [booked(probe, name)[0] for name in ("inner", "middle", "outer", "alone")]
    same(sums, [5, 5, 12, 0], "booked on each")


def check_budget_is_opened_once(probe: Probe) -> None:
    """A second opening changes nothing."""
    open_budget(probe, "p")
    task = probe.running(program="p")
    probe.settle(settled(hold(probe, task), SETTLED, cost=3))
    open_budget(probe, "p", 1)
    same(budgets(probe, "p"), [ProgramBudget("p", limit=9_000, spent=3)], "the budget")


def check_budget_that_begins_with_something_booked(probe: Probe) -> None:
    """What is booked from the start counts, and later bookings are added to it."""
    open_budget(probe, "p", spent=5, uncertain=6, tokens=7, uncertain_tokens=8)
    probe.settle(settled(hold(probe, probe.running(program="p")), SETTLED, input_tokens=1, cost=3))
    same(booked(probe, "p"), (8, 6, 8, 8), "booked")


def check_limits_of_a_budget_change(probe: Probe) -> None:
    """Other limits change nothing of what is booked; what is held is told with that of programs within."""
    open_budget(probe, "outer")
    open_budget(probe, "inner", None, within="outer")
    task = probe.running(program="inner")
    probe.settle(settled(hold(probe, task, "inner"), SETTLED, cost=3))
    hold(probe, task, "inner")
    hold(probe, task, "outer")
    hold(probe, task, "other")
    read = probe.store.read
    same([read(lambda reader, one=one: reader.held_of_budget(one)) for one in ("outer", "inner", "none")],  # type: ignore[misc]
         [(14_000, 400), (7_000, 200), (0, 0)], "held")  # fmt: skip
    probe.store.run(lambda tx: tx.limit_budget("outer", None, 77))
    probe.store.run(lambda tx: tx.limit_budget("nobody", 1, 1))
    outer, inner = budgets(probe, "inner")
    same((outer.limit, outer.max_tokens, outer.spent), (None, 77, 3), "the outer one")
    same((inner.limit, inner.max_tokens, inner.spent), (None, None, 3), "the inner one")


def check_budget_goes_with_its_program(probe: Probe) -> None:
    """A budget is kept while a task belongs to its program or leads it, and what comes late is booked."""
    leader = probe.running(id="lead")
    open_budget(probe, "lead")
    first, second = probe.running(program="lead"), probe.running(program="lead")
    same(over(probe, "lead", "gone"), ["gone"], "over, with all at work")
    late = hold(probe, second, "lead")
    probe.finish(first)
    probe.finish(leader, TaskStatus.FAILED, NOW + 5)
    same(over(probe, "lead"), [], "over, with one node at work")
    probe.finish(second, at=NOW + 9)
    same(over(probe, "lead"), ["lead"], "over")
    probe.settle(settled(late, SETTLED, cost=8_000))
    same(booked(probe, "lead")[0], 8_000, "settled late")
    for age, kept in ((1, True), (6, True), (10, False)):
        probe.store.run(lambda tx, age=age: tx.prune(Retention(finished_before=NOW + age), NOW))  # type: ignore[misc]
        same(bool(budgets(probe, "lead")), kept, f"kept after {age} seconds")


CHECKS = (
    check_budget_is_booked,
    check_budgets_within_budgets,
    check_budget_is_opened_once,
    check_budget_that_begins_with_something_booked,
    check_limits_of_a_budget_change,
    check_budget_goes_with_its_program,
)
