"""Tasks of one's own in synchronous code: what `@manager.task` makes there."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Concatenate, Generic, Literal, ParamSpec, Protocol, TypeVar, overload

from penstock.manager.definitions import TaskDecorator, TaskFunction, TaskHandle
from penstock.manager.task_config import TaskConfig
from penstock.model.estimate import Estimate
from penstock.model.priority import Priority
from penstock.model.states import TaskStatus
from penstock.runtime.context import TaskContext

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Portal(Protocol):
    """Runs coroutines where the manager is."""

    def run(self, work: Coroutine[Any, Any, T]) -> T: ...

    def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R: ...


class SyncTaskHandle(Generic[R]):
    """A submitted call; `handle.result()` waits for it."""

    def __init__(self, portal: Portal, handle: TaskHandle[R]) -> None:
        self._portal = portal
        self._handle = handle
        self.id = handle.id

    def result(self, timeout: float | None = None) -> R:
        """As `TaskHandle.result`."""
        return self._portal.run(self._handle.result(timeout))

    @property
    def status(self) -> TaskStatus:
        """Where the task stands now."""
        return self._portal.call(lambda: self._handle.status)

    def cancel(self) -> bool:
        """False when it was too late."""
        return self._portal.run(self._handle.cancel())


class SyncTaskFunction(Generic[P, R]):
    """As `TaskFunction`, without `await`."""

    def __init__(self, portal: Portal, inner: TaskFunction[P, R]) -> None:
        self._portal = portal
        self._inner = inner
        self.function = self.__task_function__ = inner.function
        self.name = self.__name__ = inner.name
        self.__doc__ = inner.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<task function {self.name}>"

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> SyncTaskHandle[R]:
        """As `TaskFunction.submit`."""
        return SyncTaskHandle(self._portal, self._portal.run(self._inner.submit(*args, **kwargs)))

    def handle(self, task_id: str) -> SyncTaskHandle[R]:
        """As `TaskFunction.handle`."""
        return SyncTaskHandle(self._portal, self._inner.handle(task_id))

    def with_options(
        self,
        *,
        priority: Priority | int | str | None = None,
        config: TaskConfig | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> SyncTaskFunction[P, R]:
        """As `TaskFunction.with_options`."""
        inner = self._inner.with_options(priority=priority, config=config, metadata=metadata)
        return SyncTaskFunction(self._portal, inner)


class SyncTaskDecorator:
    """As `TaskDecorator`, for synchronous code."""

    def __init__(self, portal: Portal, inner: TaskDecorator) -> None:
        self._portal = portal
        self._inner = inner

    @overload
    def __call__(
        self, function: Callable[Concatenate[TaskContext, P], Coroutine[Any, Any, R]], /
    ) -> SyncTaskFunction[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[TaskContext, P], R], /) -> SyncTaskFunction[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> SyncTaskFunction[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> SyncTaskFunction[P, R]: ...
    @overload
    def __call__(
        self,
        *,
        name: str | None = None,
        run: Literal["auto", "thread", "process"] = "auto",
        priority: Priority | int | str | None = None,
        config: TaskConfig | None = None,
        metadata: Mapping[str, Any] | None = None,
        estimate: Callable[..., Estimate] | None = None,
        description: str = "",
        version: str = "",
    ) -> SyncTaskDecorator: ...

    def __call__(self, *functions: Callable[..., Any], **options: Any) -> Any:
        inner: Any = self._inner
        made = self._portal.call(inner, *functions, **options)
        if functions:
            return SyncTaskFunction(self._portal, made)
        return SyncTaskDecorator(self._portal, made)
