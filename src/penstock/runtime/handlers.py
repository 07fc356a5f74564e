"""Handlers: the functions that run tasks, registered by task type."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from penstock.errors import ConfigurationError, UnknownTaskType
from penstock.model.estimate import Estimate
from penstock.model.lane import Lane
from penstock.model.options import DEFAULTS, TaskOptions

if TYPE_CHECKING:
    from penstock.runtime.context import TaskContext

HandlerFunction = Callable[["TaskContext"], Awaitable[Any]] | Callable[["TaskContext"], Any]

Run = Literal["async", "thread", "process"]


def _any_data(data: Any) -> Any:
    return data


def _no_model(data: Any) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Handler:
    """How a task type is run. `check` validates data at the door and returns what is kept; `model` names the
    model of the first step, when the door can know it (it chooses the lane); `estimate` tells what a task
    with such data is expected to use.

    `run` says where: a coroutine on the event loop, a plain function in a thread, or a function that computes
    in a process of its own, which gets the task's data instead of a context.
    """

    type: str
    function: HandlerFunction
    run: Run = "async"
    options: TaskOptions = DEFAULTS
    check: Callable[[Any], Any] = _any_data
    model: Callable[[Any], str] = _no_model
    pools: tuple[tuple[str, int], ...] = field(default=())
    estimate: Callable[[Any], Estimate] | None = None

    def lane(self, data: Any, pools: Mapping[str, int] | None = None) -> Lane:
        """The lane of a task with this data; `pools` of its own stand before those of its type."""
        units = tuple(sorted({**dict(self.pools), **pools}.items())) if pools else self.pools
        return Lane(self.type, self.model(data), units)


class Handlers:
    """The task types that a node can run."""

    def __init__(self) -> None:
        self._by_type: dict[str, Handler] = {}

    def register(self, type: str, function: HandlerFunction, **details: Any) -> Handler:
        """Add a type; `details` are fields of `Handler`. Where `run` is not given, a coroutine function runs
        on the loop and any other in a thread."""
        if type in self._by_type:
            raise ConfigurationError(f"task type {type!r} is registered already; choose another name")
        is_async = inspect.iscoroutinefunction(function)
        run: Run = details.pop("run", None) or ("async" if is_async else "thread")
        if run not in get_args(Run) or (run == "thread" and is_async):
            what = "a coroutine function" if is_async else "a plain function"
            raise ConfigurationError(
                f"run={run!r} does not suit the handler of {type!r}, {what}; coroutine functions run as "
                "'async', plain functions in a 'thread', importable ones in a 'process'"
            )
        handler = Handler(type, function, run, **details)
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
