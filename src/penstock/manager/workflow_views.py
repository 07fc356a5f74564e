"""What can be told of a workflow from a look at the store: for its face, for HTTP, for other processes."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from penstock.errors import TaskNotFound
from penstock.model.task import TaskView
from penstock.model.usage import from_pico
from penstock.stores.contract import Reader
from penstock.workflows.analysis import Analysis, analyse, record_of
from penstock.workflows.budgets import own_budget
from penstock.workflows.coordinator import TYPE


@dataclass(frozen=True, slots=True)
class WorkflowProgress:
    """How many nodes there are, and how many of them ended how. `stopped_by` is the node whose failure
    stopped the workflow."""

    total: int
    open: int
    completed: int
    failed: int
    cancelled: int
    stopped_by: str | None = None

    @property
    def fraction(self) -> float:
        """0 to 1, by nodes that have ended."""
        return 1.0 - self.open / self.total if self.total else 0.0


@dataclass(frozen=True, slots=True)
class WorkflowSpending:
    """What was booked on the budget of a workflow, in US dollars, and on its cap of tokens: by all its tasks,
    those that they started and workflows within it. What is held by calls in flight is not in it."""

    budget: Decimal | None
    spent: Decimal
    uncertain: Decimal
    max_tokens: int | None
    tokens: int
    uncertain_tokens: int

    @staticmethod
    def nothing() -> WorkflowSpending:
        """Without a limit, and with nothing booked."""
        return WorkflowSpending(None, Decimal(0), Decimal(0), None, 0, 0)

    def as_dict(self) -> dict[str, Any]:
        """Money in US dollars, as numbers."""
        money = {"budget": self.budget, "spent": self.spent, "uncertain": self.uncertain}
        return {
            **{name: None if one is None else float(one) for name, one in money.items()},
            "max_tokens": self.max_tokens,
            "tokens": self.tokens,
            "uncertain_tokens": self.uncertain_tokens,
        }


def leader_of(reader: Reader, id: str) -> TaskView:
    """The task that leads a workflow. Raises `TaskNotFound` for what is none."""
    view = reader.task(id)
    if view is None or view.type != TYPE:
        raise TaskNotFound(f"there is no workflow {id}", id)
    return view


def progress_of(reader: Reader, leader: TaskView) -> WorkflowProgress:
    """How far it is; one that has not begun has all of its nodes before it."""
    group = reader.group(leader.seq)
    if group is not None:
        return WorkflowProgress(
            group.total, group.open, group.completed, group.failed, group.cancelled, group.stopped_by
        )
    nodes = leader.payload.get("nodes") if isinstance(leader.payload, dict) else None
    planned = len(nodes) if isinstance(nodes, list) and not leader.status.final else 0
    return WorkflowProgress(planned, planned, 0, 0, 0)


def spending_of(reader: Reader, leader: TaskView) -> WorkflowSpending | None:
    """What its budget was used for; `None` where neither it nor a workflow around it has one."""
    one = own_budget(reader, leader.id)
    if one is None:
        return None
    return WorkflowSpending(
        None if one.limit is None else from_pico(one.limit),
        from_pico(one.spent),
        from_pico(one.uncertain),
        one.max_tokens,
        one.tokens,
        one.uncertain_tokens,
    )


def analysis_of(reader: Reader, leader: TaskView, now: float) -> Analysis:
    """What took the time, what waited for what, and what it cost; of one that still runs, so far."""
    needs = reader.member_needs(leader.seq)
    records = [record_of(member, needs.get(member.node, ())) for member in reader.members(leader.seq)]
    name = leader.metadata.get("name") if isinstance(leader.metadata, dict) else None
    return analyse(
        records, name=name if isinstance(name, str) else "", now=None if leader.status.final else now
    )
