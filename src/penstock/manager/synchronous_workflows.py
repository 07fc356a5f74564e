"""Runs of workflows without `await`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from penstock.manager.goals import GoalRun
from penstock.manager.synchronous_definitions import Portal
from penstock.manager.unset import UNSET, Unset
from penstock.manager.workflow_budgets import Money
from penstock.manager.workflow_runs import WorkflowRun
from penstock.manager.workflow_views import WorkflowProgress, WorkflowSpending
from penstock.model.group import MemberView
from penstock.workflows.analysis import Analysis
from penstock.workflows.plans import Plan

if TYPE_CHECKING:
    from penstock.manager.ai_task_manager import AITaskManager

P = ParamSpec("P")
R = TypeVar("R")


class SyncWorkflowRun:
    """As `WorkflowRun`; `run.result()` waits for it."""

    def __init__(self, portal: Portal, run: WorkflowRun) -> None:
        self._portal = portal
        self._run = run
        self.id = run.id

    def result(self, timeout: float | None = None) -> Any:
        """As `WorkflowRun.result`."""
        return self._portal.run(self._run.result(timeout))

    def progress(self) -> WorkflowProgress:
        """As `WorkflowRun.progress`."""
        return self._portal.call(self._run.progress)

    def spending(self) -> WorkflowSpending | None:
        """As `WorkflowRun.spending`."""
        return self._portal.call(self._run.spending)

    def adjust_budget(
        self, *, budget: Money | Unset | None = UNSET, max_tokens: int | Unset | None = UNSET
    ) -> WorkflowSpending:
        """As `WorkflowRun.adjust_budget`."""
        return self._portal.run(self._run.adjust_budget(budget=budget, max_tokens=max_tokens))

    def nodes(self) -> list[MemberView]:
        """As `WorkflowRun.nodes`."""
        return self._portal.run(self._run.nodes())

    def analysis(self) -> Analysis:
        """As `WorkflowRun.analysis`."""
        return self._portal.run(self._run.analysis())

    def cancel(self, undo: bool = False) -> bool:
        """As `WorkflowRun.cancel`."""
        return self._portal.run(self._run.cancel(undo))


class SyncGoalRun:
    """As `GoalRun`; `run.result()` waits for it."""

    def __init__(self, portal: Portal, run: GoalRun) -> None:
        self._portal = portal
        self._run = run
        self.id = run.id

    def result(self, timeout: float | None = None) -> dict[str, Any]:
        """As `GoalRun.result`."""
        return self._portal.run(self._run.result(timeout))

    def workflow(self) -> SyncWorkflowRun | None:
        """As `GoalRun.workflow`."""
        found = self._portal.call(self._run.workflow)
        return None if found is None else SyncWorkflowRun(self._portal, found)

    def cancel(self) -> bool:
        """As `GoalRun.cancel`."""
        return self._portal.run(self._run.cancel())


class SyncGoals:
    """The part of a `SyncTaskManager` that plans."""

    manager: AITaskManager

    if TYPE_CHECKING:

        def run(self, work: Coroutine[Any, Any, R]) -> R: ...
        def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R: ...

    def plan(self, goal: str, **details: Any) -> Plan:
        """As `AITaskManager.plan`."""
        return self.run(self.manager.plan(goal, **details))

    def pursue(self, goal: str | Plan, **details: Any) -> SyncGoalRun:
        """As `AITaskManager.pursue`."""
        return SyncGoalRun(self, self.run(self.manager.pursue(goal, **details)))

    def goal(self, id: str) -> SyncGoalRun:
        """As `AITaskManager.goal`."""
        return SyncGoalRun(self, self.manager.goal(id))
