"""Handlers: the functions that run tasks, registered by task type."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from penstock.errors import ConfigurationError, UnknownTaskType
from penstock.model.lane import Lane
from penstock.model.options import DEFAULTS, TaskOptions

if TYPE_CHECKING:
    from penstock.runtime.context import TaskContext

HandlerFunction = Callable[["TaskContext"], Awaitable[Any]] | Callable[["TaskContext"], Any]


def _any_data(data: Any) -> Any:
    return data


def _no_model(data: Any) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Handler:
    """How a task type is run. `check` validates data at the door and returns what is kept; `model` names the
    model of the first step, when the door can know it (it chooses the lane)."""

    type: str
    function: HandlerFunction
    is_async: bool
    options: TaskOptions = DEFAULTS
    check: Callable[[Any], Any] = _any_data
    model: Callable[[Any], str] = _no_model
    pools: tuple[tuple[str, int], ...] = field(default=())

    def lane(self, data: Any) -> Lane:
        return Lane(self.type, self.model(data), self.pools)


class Handlers:
    """The task types that a node can run."""

    def __init__(self) -> None:
        self._by_type: dict[str, Handler] = {}

    def register(self, type: str, function: HandlerFunction, **details: Any) -> Handler:
        """Add a type; `details` are fields of `Handler`."""
        if type in self._by_type:
            raise ConfigurationError(f"task type {type!r} is registered already; choose another name")
        handler = Handler(type, function, inspect.iscoroutinefunction(function), **details)
        self._by_type[type] = handler
        return handler

    def __getitem__(self, type: str) -> Handler:
        handler = self._by_type.get(type)
        if handler is None:
            known = ", ".join(sorted(self._by_type)) or "none"
            raise UnknownTaskType(f"task type {type!r} has no handler here; known: {known}")
        return handler

    def __contains__(self, type: object) -> bool:
        return type in self._by_type

    @property
    def types(self) -> frozenset[str]:
        return frozenset(self._by_type)
