"""Registers the type GOAL, and the types that nodes of its workflows have."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from pydantic import ValidationError

from penstock.errors import InvalidTask
from penstock.manager.engine import Manager
from penstock.model.estimate import NOTHING, Estimate
from penstock.runtime.context import TaskContext
from penstock.task_types.base import TaskData, TaskKind, Toolbox, field_names, wrong_fields
from penstock.workflows.plan_nodes import REPORT_TYPE, TOOL_TYPE
from penstock.workflows.plan_report import GoalReportData, compile_report, estimate
from penstock.workflows.plan_tools import GoalToolData, call_tool, check_call
from penstock.workflows.planner import GoalData, kind

D = TypeVar("D", bound=TaskData)


class GoalTypes:
    """The part of a manager's registering that is about goals."""

    _registered_at: Manager
    _toolbox: Toolbox
    _add_kind: Callable[[TaskKind[Any]], None]

    def _add_goal_types(self) -> None:
        """Add them; once, when the manager is made."""
        handlers, toolbox = self._registered_at.handlers, self._toolbox
        goal: TaskKind[GoalData] = kind(lambda: handlers.types)
        self._add_kind(goal)

        async def report(context: TaskContext) -> Any:
            data = _read(REPORT_TYPE, GoalReportData, context.data)
            return await compile_report(context, data, toolbox, handlers.types)

        async def tool(context: TaskContext) -> Any:
            return await call_tool(context, _read(TOOL_TYPE, GoalToolData, context.data), toolbox)

        def weigh_report(given: Any) -> Estimate:
            return estimate(_read(REPORT_TYPE, GoalReportData, given), toolbox)

        def model_of(given: Any) -> str:
            return str(given.get("model") or "") if isinstance(given, dict) else ""

        self._add(REPORT_TYPE, report, GoalReportData, estimate=weigh_report, model=model_of)
        self._add(TOOL_TYPE, tool, GoalToolData, refuse=check_call, estimate=lambda given: NOTHING)

    def _add(
        self,
        type: str,
        run: Callable[[TaskContext], Awaitable[Any]],
        form: type[D],
        refuse: Callable[[D, Toolbox], None] = lambda data, toolbox: None,
        **details: Any,
    ) -> None:
        toolbox = self._toolbox

        def check(given: Any) -> Any:
            data = _read(type, form, given)
            refuse(data, toolbox)
            return data.model_dump(mode="json", exclude_unset=True)

        self._registered_at.register(type, run, check=check, inner=True, **details)


def _read(type: str, form: type[D], given: Any) -> D:
    try:
        return form.model_validate({} if given is None else given)
    except ValidationError as error:
        raise InvalidTask(wrong_fields(type, error), field_names(error)) from None
