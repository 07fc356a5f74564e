"""Handlers: the functions that run tasks, registered by task type."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from penstock.errors import ConfigurationError, UnknownTaskType, VersionMissing
from penstock.model.estimate import Estimate
from penstock.model.lane import Lane
from penstock.model.options import DEFAULTS, TaskOptions
from penstock.model.suggestions import Suggester
from penstock.model.version import checked_version, version_order

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
    in a process of its own, which gets the task's data instead of a context. Handlers of several versions of
    a type stand side by side: what has recorded steps goes on with the one that made them, all else runs on
    the newest. Tasks of an `inner` type are made by another type's handler, and by nobody else.
    """

    type: str
    function: HandlerFunction
    run: Run = "async"
    options: TaskOptions = DEFAULTS
    check: Callable[[Any], Any] = _any_data
    model: Callable[[Any], str] = _no_model
    pools: tuple[tuple[str, int], ...] = field(default=())
    estimate: Callable[[Any], Estimate] | None = None
    version: str = ""
    inner: bool = False

    def lane(self, data: Any, pools: Mapping[str, int] | None = None) -> Lane:
        """The lane of a task with this data; `pools` of its own stand before those of its type."""
        units = tuple(sorted({**dict(self.pools), **pools}.items())) if pools else self.pools
        return Lane(self.type, self.model(data), units)


class Handlers:
    """The task types that a node can run."""

    def __init__(self) -> None:
        self._by_type: dict[str, Handler] = {}
        self._versions: dict[str, dict[str, Handler]] = {}

    def register(self, type: str, function: HandlerFunction, **details: Any) -> Handler:
        """Add a type; `details` are fields of `Handler`. Where `run` is not given, a coroutine function runs
        on the loop and any other in a thread."""
        version = checked_version(details.get("version", ""))
        versions = self._versions.get(type, {})
        if version in versions:
            again = f"version {version!r} of task type {type!r}" if version else f"task type {type!r}"
            raise ConfigurationError(f"{again} is registered already; choose another name, or a version")
        is_async = inspect.iscoroutinefunction(function)
        run: Run = details.pop("run", None) or ("async" if is_async else "thread")
        if run not in get_args(Run) or (run == "thread" and is_async):
            what = "a coroutine function" if is_async else "a plain function"
            raise ConfigurationError(
                f"run={run!r} does not suit the handler of {type!r}, {what}; coroutine functions run as "
                "'async', plain functions in a 'thread', importable ones in a 'process'"
            )
        handler = Handler(type, function, run, **details)
        if version:
            handler = replace(handler, options=replace(handler.options, version=version))
        self._versions[type] = {**versions, version: handler}
        self._by_type[type] = max(self._versions[type].values(), key=lambda one: version_order(one.version))
        return handler

    def of(self, type: str, version: str) -> Handler:
        """The handler of just this version; raises `VersionMissing` naming those there are."""
        self[type]
        versions = self._versions[type]
        if version not in versions:
            known = ", ".join(repr(one) if one else "the one without a version" for one in sorted(versions))
            raise VersionMissing(
                f"no handler of {f'version {version!r}' if version else 'no version'} of task type {type!r} "
                f"is registered here, only: {known}"
            )
        return versions[version]

    def __getitem__(self, type: str) -> Handler:
        handler = self._by_type.get(type)
        if handler is None:
            known = ", ".join(sorted(self._by_type)) or "none"
            nearest = Suggester(self._by_type).nearest(type)
            meant = "" if nearest is None else f"; did you mean {nearest!r}?"
            raise UnknownTaskType(f"task type {type!r} has no handler here{meant}; known: {known}")
        return handler

    def __contains__(self, type: object) -> bool:
        return type in self._by_type

    @property
    def types(self) -> frozenset[str]:
        return frozenset(self._by_type)
