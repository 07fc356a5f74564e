"""Goals of a manager: planned by a model, shown, and pursued as workflows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from penstock.errors import ConfigurationError, InvalidTask
from penstock.manager.goal_types import GoalTypes
from penstock.manager.task_config import TaskConfig
from penstock.manager.workflow_runs import WorkflowRun
from penstock.model.priority import Priority
from penstock.model.task_type import TaskType
from penstock.stores.asks import TaskFilter
from penstock.workflows.coordinator import TYPE as WORKFLOW
from penstock.workflows.plan_reading import PlanTerms, read_plan
from penstock.workflows.plan_results import subtask_of
from penstock.workflows.plan_tools import offered
from penstock.workflows.plan_weight import weigh
from penstock.workflows.plans import Plan

if TYPE_CHECKING:
    from penstock.manager.ai_task_manager import AITaskManager

_PATIENT = TaskConfig(timeout=None)


class GoalRun:
    """A goal that is pursued; `id` is that of its task."""

    def __init__(self, manager: AITaskManager, id: str) -> None:
        self._manager = manager
        self._workflow: str | None = None
        self.id = id

    async def result(self, timeout: float | None = None) -> dict[str, Any]:
        """`report` (Markdown), `plan`, `results` by subtask, `rounds`, `mended` and `workflow`.

        Raises `TaskFailed` that says which subtask failed and why, or `WaitTimeout` after `timeout` seconds.
        """
        result: dict[str, Any] = await self._manager.wait_for_task(self.id, timeout)
        return result

    def workflow(self) -> WorkflowRun | None:
        """The run of its plan, with progress, nodes and analysis; `None` while there is no plan."""
        if self._workflow is None:
            where = TaskFilter(types=(WORKFLOW,), metadata={"goal": self.id})
            found = self._manager.engine.peek(lambda reader: reader.tasks(where, 0, 1))
            self._workflow = found[0].id if found else None
        return None if self._workflow is None else self._manager.workflow(self._workflow)

    async def cancel(self) -> bool:
        """Cancel it with all its subtasks; False when it was too late."""
        return await self._manager.cancel_task(self.id)

    def __repr__(self) -> str:
        return f"<goal {self.id}>"


class GoalFace(GoalTypes):
    """The part of a manager that plans."""

    async def plan(
        self,
        goal: str,
        *,
        tools: Sequence[Any] = (),
        priority: Priority | int | str | None = None,
        config: TaskConfig | None = None,
        metadata: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        **fields: Any,
    ) -> Plan:
        """A plan for this goal, made by one model call (two more where the first answer cannot be used), with
        what running it is expected to take. Nothing of it is run.

        `tools` are functions or names of tools that it may use, `fields` those of a GOAL task (`model`,
        `instructions`, `max_subtasks`). Raises `TaskFailed` when the model makes no usable plan,
        `WaitTimeout` after `timeout` seconds.
        """
        manager = cast("AITaskManager", self)
        data = {**fields, "goal": goal, "tools": self._named(tools), "dry_run": True}
        id = await manager.submit_task(TaskType.GOAL, data, priority, config or _PATIENT, metadata)
        return await self.plan_made(id, timeout)

    async def plan_made(self, id: str, timeout: float | None = None) -> Plan:
        """The plan that this GOAL task made or ran, as soon as the task has ended; raises as `plan`."""
        manager = cast("AITaskManager", self)
        found = await manager.wait_for_task(id, timeout)
        task = manager.get_task(id)
        data = task.data if task is not None else {}
        subtasks = tuple(map(subtask_of, found["plan"]["subtasks"]))
        return self._weighed(Plan(data["goal"], subtasks, tuple(found["mended"])), data.get("model"))

    async def pursue(
        self,
        goal: str | Plan,
        *,
        tools: Sequence[Any] = (),
        priority: Priority | int | str | None = None,
        config: TaskConfig | None = None,
        metadata: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> GoalRun:
        """Plan and run this goal, or run this plan as it is. `fields` are those of a GOAL task, such as
        `replans`, `budget` and `deadline_seconds`.

        Raises `InvalidPlan` with all that is wrong with a plan, and as `submit_task`.
        """
        manager = cast("AITaskManager", self)
        data = {**fields, "tools": self._named(tools)}
        if isinstance(goal, Plan):
            used = {one.tool for one in goal.subtasks if one.tool is not None}
            data |= {"goal": goal.goal, "plan": goal.as_dict()}
            data["tools"] = [*data["tools"], *sorted(used.difference(data["tools"]))]
        else:
            data["goal"] = goal
        id = await manager.submit_task(TaskType.GOAL, data, priority, config or _PATIENT, metadata)
        return GoalRun(manager, id)

    def read_plan(self, goal: str, plan: Mapping[str, Any], tools: Sequence[Any] = ()) -> Plan:
        """A plan as JSON, checked and weighed. Raises `InvalidPlan` with all that is wrong."""
        named = self._named(tools)
        listed = plan.get("subtasks") if isinstance(plan, Mapping) else None
        used = {one.get("tool") for one in listed or () if isinstance(one, dict)}
        named += sorted(one for one in used if isinstance(one, str) and one and one not in named)
        known = []
        for name in named:
            try:
                known.append((name, offered(self._toolbox, [name])[name]))
            except InvalidTask:
                continue  # the plan's own complaint names the place
        return self._weighed(read_plan(plan, PlanTerms(goal, dict(known), 1_000)))

    def _weighed(self, plan: Plan, model: str | None = None) -> Plan:
        """The plan with what running it is expected to take, as far as prices are known."""
        manager = cast("AITaskManager", self)
        weigher, url = manager.engine.node.weigher, manager.setup.base_url
        toolbox = self._toolbox
        return replace(
            plan, estimate=weigh(plan, model or toolbox.model, lambda one: weigher.cost_of(one, url))
        )

    def goal(self, id: str) -> GoalRun:
        """A goal that was submitted earlier, perhaps by another process."""
        return GoalRun(cast("AITaskManager", self), id)

    def _named(self, tools: Sequence[Any]) -> list[str]:
        if isinstance(tools, str):
            raise ConfigurationError("tools is a list of functions or names, not one text")
        name = cast("AITaskManager", self)._tool_name
        return [name(one) for one in tools]
