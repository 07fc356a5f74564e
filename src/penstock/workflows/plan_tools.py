"""Tools in plans: how they are offered to the model, and the task type that calls one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from penstock.errors import InvalidTask, StepError
from penstock.task_types.base import TaskData, Toolbox
from penstock.task_types.json_schemas import problems_of
from penstock.task_types.tools import FunctionTool, Tool, ToolTerms
from penstock.workflows.plan_arguments import Check, OfferedTool

if TYPE_CHECKING:
    from penstock.runtime.context import TaskContext


class GoalToolData(TaskData):
    """A tool by name, and its arguments."""

    tool: Annotated[str, Field(min_length=1, max_length=200)]
    arguments: dict[str, Any] = Field(default_factory=dict)


def offered(toolbox: Toolbox, names: Sequence[str]) -> dict[str, OfferedTool]:
    """The tools as plans know them. Raises `InvalidTask` for a name that no tool has."""
    tools = [toolbox.tools.named(name) for name in names]
    return {
        name: OfferedTool(name, one.description, one.schema, _check(one))
        for name, one in zip(names, tools, strict=True)
    }


def work_of_tools(
    toolbox: Toolbox, names: Sequence[str], types: frozenset[str]
) -> tuple[frozenset[str], dict[str, int]]:
    """(tools that are task types of their own and are run as such, further tries of each tool)"""
    tools = {name: toolbox.tools.named(name) for name in names}
    direct = {
        name
        for name, one in tools.items()
        if name in types and isinstance(one, FunctionTool) and one.terms == ToolTerms()
    }
    return frozenset(direct), {name: one.terms.retries for name, one in tools.items()}


def check_call(data: GoalToolData, toolbox: Toolbox) -> None:
    """Raise `InvalidTask` for a tool that there is not, or arguments that it cannot take."""
    tool = toolbox.tools.named(data.tool)
    try:
        tool.check(data.arguments)
    except InvalidTask as error:
        raise InvalidTask(str(error), ["arguments"]) from None


async def call_tool(context: TaskContext, data: GoalToolData, toolbox: Toolbox) -> Any:
    """What the tool gives; a person is asked before where the tool wants that."""
    tool = toolbox.tools.named(data.tool)
    if tool.terms.needs_approval:
        details = {"tool": tool.name, "arguments": data.arguments}
        decision = await context.approve(f"Call the tool {tool.name}?", details=details)
        if not decision.approved:
            why = f": {decision.comment}" if decision.comment else ""
            raise StepError(f"a person refused the call of the tool {tool.name}{why}")
    if tool.has_steps:
        return await tool.call(context, data.arguments)
    return await context.step(f"tool {tool.name}", tool.call, context, data.arguments, key="")


def _check(tool: Tool) -> Check:
    """What is wrong with arguments, of which some are not known yet."""

    def check(arguments: Mapping[str, Any], unknown: frozenset[str]) -> list[str]:
        if isinstance(tool, FunctionTool):
            found = tool.function.problems(arguments)
            return [f"{name}: {what}" for name, what in found if name.partition(".")[0] not in unknown]
        known = {name: value for name, value in arguments.items() if name not in unknown}
        return problems_of(known, _without(tool.schema, unknown))

    return check


def _without(schema: Mapping[str, Any], unknown: frozenset[str]) -> dict[str, Any]:
    """The schema for what is known, where the rest is sure to come."""
    properties = {name: one for name, one in schema.get("properties", {}).items() if name not in unknown}
    required = [name for name in schema.get("required", ()) if name not in unknown]
    return {**schema, "properties": properties, "required": required}
