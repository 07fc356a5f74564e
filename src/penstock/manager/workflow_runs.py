"""The face of workflows: run one, follow it, stop it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from penstock.manager.submission import Submission
from penstock.manager.unset import UNSET, Unset
from penstock.manager.workflow_budgets import BudgetChange, Money
from penstock.manager.workflow_desk import WorkflowDesk
from penstock.manager.workflow_views import (
    WorkflowProgress,
    WorkflowSpending,
    analysis_of,
    leader_of,
    progress_of,
    spending_of,
)
from penstock.model.group import MemberView
from penstock.runtime.committer import run_whole
from penstock.stores.contract import AddOutcome, Transaction
from penstock.workflows.analysis import Analysis
from penstock.workflows.builder import Workflow
from penstock.workflows.coordinator import TYPE
from penstock.workflows.definition import WorkflowDefinition

if TYPE_CHECKING:
    from penstock.manager.engine import Manager

Flow: TypeAlias = Workflow | Mapping[str, Any] | WorkflowDefinition


class WorkflowRun:
    """One run of a workflow; `id` is the id of the task that leads it."""

    def __init__(self, engine: Manager, id: str) -> None:
        self._engine = engine
        self.id = id

    async def result(self, timeout: float | None = None) -> Any:
        """The workflow's result, as soon as it is there.

        Raises `TaskFailed` saying which node failed and why, `TaskCancelled`, or `WaitTimeout` after
        `timeout` seconds.
        """
        return await self._engine.wait(self.id, timeout)

    def progress(self) -> WorkflowProgress:
        """How far it is; costs the same for ten nodes or ten thousand."""
        return self._engine.peek(lambda reader: progress_of(reader, leader_of(reader, self.id)))

    def spending(self) -> WorkflowSpending | None:
        """What was booked on its `budget` and its `max_tokens`; `None` where it has neither."""
        return self._engine.peek(lambda reader: spending_of(reader, leader_of(reader, self.id)))

    async def adjust_budget(
        self, *, budget: Money | Unset | None = UNSET, max_tokens: int | Unset | None = UNSET
    ) -> WorkflowSpending:
        """Change what it may use in all (US dollars, tokens), at once: calls that wait for it go on, and
        `None` takes a limit away. Of one that failed it is what a retry has.

        Raises `InvalidTask` for less than what is spent and held, for a workflow that is completed, and for
        one that began without a budget.
        """
        change, now = BudgetChange.read(budget, max_tokens), self._engine.clock.wall()
        node = self._engine.node
        try:
            with node.gate.programs.freezing(self.id):
                told, _ = await run_whole(
                    node.committer,
                    lambda store: change.make(store, self.id, now),
                    lambda outcome: node.apply_budgets(outcome[1]),
                )
        finally:
            node.admitter.pump_soon()
        return told

    async def nodes(self) -> list[MemberView]:
        """How every node stands, in the order in which they were added."""
        return await self._engine.read(lambda reader: reader.members(leader_of(reader, self.id).seq))

    async def analysis(self) -> Analysis:
        """What took the time, what waited for what, and what it cost; of a workflow that still runs, so
        far."""
        now = self._engine.clock.wall()
        return await self._engine.read(lambda reader: analysis_of(reader, leader_of(reader, self.id), now))

    async def cancel(self, undo: bool = False) -> bool:
        """Cancel it with all its nodes; with `undo`, what completed is undone and it ends as failed. False
        when it was too late."""
        if undo and (stopped := await self._stop()) is not None:
            return stopped
        return (await self._engine.cancel(self.id)).get(self.id, False)

    async def _stop(self) -> bool | None:
        """Whether it will be undone; `None` where nothing of it has begun. Asked once more while it is being
        undone, that goes on."""
        now = self._engine.clock.wall()

        def stop(store: Transaction) -> bool | None:
            leader = leader_of(store, self.id)
            group = store.group(leader.seq)
            if group is None:
                return None
            if not group.closed and group.open:
                store.close_group(leader.seq, now)
                return True
            return group.closed and not leader.status.final

        return await self._engine.node.committer.run(stop)

    def __repr__(self) -> str:
        return f"<workflow run {self.id}>"


class WorkflowRuns:
    """The part of a manager that runs workflows."""

    workflows: WorkflowDesk

    async def run(self: Manager, flow: Flow, **details: Any) -> WorkflowRun:  # type: ignore[misc]
        """Start a workflow, as built in Python or as data; `details` are fields of `Submission`.

        Raises `InvalidWorkflow` with everything that is wrong, `QueueFull` when there is no room for all of
        its nodes.
        """
        definition = await self.workflows.check(flow)
        task = self.prepare(submission_of(definition, **details))
        capacity = self.node.settings.max_queue_size
        room = None if capacity is None else capacity - len(definition.nodes)

        def add(store: Transaction) -> Sequence[AddOutcome]:
            return store.add([task], room)

        return WorkflowRun(self, self._accepted(await self.node.committer.run(add), [task])[0])

    def workflow(self: Manager, id: str) -> WorkflowRun:  # type: ignore[misc]
        """The run of a workflow that was started earlier, perhaps by another process."""
        return WorkflowRun(self, id)


class AIWorkflows:
    """The same for the AI task manager."""

    engine: Manager

    async def run(self, flow: Flow, **details: Any) -> WorkflowRun:
        """Start a workflow, as built in Python or as data; `details` are fields of `Submission`.

        Raises `InvalidWorkflow` with everything that is wrong, `QueueFull` when there is no room for all of
        its nodes.
        """
        return await self.engine.run(flow, **details)

    def workflow(self, id: str) -> WorkflowRun:
        """The run of a workflow that was started earlier, perhaps by another process."""
        return self.engine.workflow(id)


def submission_of(definition: WorkflowDefinition, **details: Any) -> Submission:
    """The task that leads a run of this workflow."""
    given: dict[str, Any] = {
        "priority": definition.priority,
        "tenant": definition.tenant or "",
        "metadata": _metadata(definition),
        "slo_seconds": definition.deadline_seconds,
    }
    return Submission(TYPE, definition, **given | details)


def _metadata(definition: WorkflowDefinition) -> dict[str, Any] | None:
    named = {"name": definition.name} if definition.name else {}
    return {**named, **(definition.metadata or {})} or None
