"""PYTHON: a registered function with its arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, field_validator

from penstock.errors import InvalidTask
from penstock.model.task_type import TaskType
from penstock.task_types.base import TaskData, TaskKind, Toolbox
from penstock.task_types.field_types import json_size

if TYPE_CHECKING:
    from penstock.runtime.context import TaskContext


class PythonData(TaskData):
    """The name of a registered `function`, and its arguments (JSON) by position and by name."""

    function: Annotated[str, Field(min_length=1, max_length=200)]
    args: list[Any] = Field(default_factory=list)
    kwargs: dict[str, Any] = Field(default_factory=dict)

    @field_validator("args", "kwargs")
    @classmethod
    def _json(cls, value: Any) -> Any:
        json_size(value)
        return value


def _arguments(data: PythonData, toolbox: Toolbox) -> dict[str, Any]:
    function = toolbox.functions.named(data.function)
    arguments = function.by_name(data.args, data.kwargs)
    problems = function.problems(arguments)
    if problems:
        places = {
            name: f"args.{place} ({name})" for place, name in enumerate(function.positional[: len(data.args)])
        }
        told = []
        for where, what in problems:
            name, dot, rest = where.partition(".")
            told.append(f"{places.get(name, f'kwargs.{name}')}{dot}{rest}: {what}")
        raise InvalidTask("; ".join(told))
    return arguments


def _refuse(data: PythonData, toolbox: Toolbox) -> None:
    try:
        _arguments(data, toolbox)
    except InvalidTask as error:
        raise InvalidTask(f"data of a {TaskType.PYTHON} task: {error}") from None


async def run(context: TaskContext, data: PythonData, toolbox: Toolbox) -> Any:
    """What the function returns, as JSON.

    It is run like a handler of its own: after a crash from the top, with its recorded steps at hand when it
    takes the context.
    """
    return await toolbox.functions.named(data.function).call(context, _arguments(data, toolbox))


KIND = TaskKind(TaskType.PYTHON, PythonData, run, refuse=_refuse)
