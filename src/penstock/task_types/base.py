"""What a built-in task type is made of."""

from __future__ import annotations

import builtins
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from penstock.errors import InvalidTask
from penstock.model.estimate import NOTHING, Estimate
from penstock.model.task_type import TaskType
from penstock.task_types.agent_definition import Agents
from penstock.task_types.gatherer import Gatherer
from penstock.task_types.tools import Tools
from penstock.task_types.turns import Turns

if TYPE_CHECKING:
    from penstock.runtime.client import ModelClient
    from penstock.runtime.context import TaskContext
    from penstock.task_types.functions import Functions

D = TypeVar("D", bound="TaskData")


class TaskData(BaseModel):
    """Base of the data of built-in types: unknown fields are refused, so that a misspelt one is found."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class Toolbox:
    """What built-in handlers work with; `client` and `functions` are there once the manager runs.

    `model` and `embedding_model` are used where the data names none. `root` is the folder that file
    operations stay in (`None`: there are none). `allowed_hosts` are private hosts and networks that API
    requests may reach all the same. Small embedding tasks wait `gather_seconds` for others like them to share
    a call (0: each makes its own).
    """

    client: Callable[[], ModelClient]
    functions: Functions
    model: str = "gpt-4o-mini"
    embedding_model: str = "text-embedding-3-small"
    embedding_inputs: int = 2048
    structured_output: bool = True
    root: Path | None = None
    allowed_hosts: tuple[str, ...] = ()
    most_bytes: int = 10_000_000
    gather_seconds: float = 0.0
    gatherer: Gatherer = field(default_factory=Gatherer, init=False, repr=False, compare=False)
    turns: Turns = field(default_factory=Turns, init=False, repr=False, compare=False)
    agents: Agents = field(default_factory=Agents, init=False, repr=False, compare=False)
    tools: Tools = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tools", Tools(self.functions))


@dataclass(frozen=True, slots=True)
class TaskKind(Generic[D]):
    """A task type: the model of its data, the handler, and what it is expected to use.

    `model` names the model of its first call (it chooses the lane); "" when it makes none.
    """

    type: TaskType
    data: builtins.type[D]
    run: Callable[[TaskContext, D, Toolbox], Awaitable[Any]]
    estimate: Callable[[D, Toolbox], Estimate] = lambda data, toolbox: NOTHING
    model: Callable[[D, Toolbox], str] = lambda data, toolbox: ""
    refuse: Callable[[D, Toolbox], None] = lambda data, toolbox: None
    """raises `InvalidTask` for data that is well-formed, but not for this manager"""
    settle: Callable[[D, Toolbox], D] = lambda data, toolbox: data
    """what is kept of the data, where the manager knows more of them than the caller said"""

    def read(self, data: Any) -> D:
        """The data as its model; raises `InvalidTask` that names every wrong field."""
        try:
            return self.data.model_validate({} if data is None else data)
        except ValidationError as error:
            raise InvalidTask(wrong_fields(self.type, error), field_names(error)) from None


class NamesModel(Protocol):
    """Data in which a task may name the model that it wants."""

    @property
    def model(self) -> str | None: ...


def named_model(data: NamesModel, toolbox: Toolbox) -> str:
    """The model that the data name, or else the manager's own."""
    return data.model or toolbox.model


def field_names(error: ValidationError) -> list[str]:
    """The top-level fields that are wrong."""
    return [str(one["loc"][0]) if one["loc"] else "" for one in error.errors(include_url=False)]


def wrong_fields(type: str, error: ValidationError) -> str:
    """What is wrong with the data of a task, field by field."""
    found = [
        f"{'.'.join(str(part) for part in one['loc']) or 'data'}: {one['msg']}" for one in error.errors()[:10]
    ]
    more = error.error_count() - len(found)
    return f"data of a {type} task: " + "; ".join(found) + (f"; and {more} more" if more else "")
