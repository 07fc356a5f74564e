"""Tasks of one's own: a decorator turns a function into one whose calls can be made durable."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Generator, Mapping
from dataclasses import dataclass, fields, replace
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    Literal,
    ParamSpec,
    TypeVar,
    get_type_hints,
    overload,
)

from pydantic import TypeAdapter, ValidationError

from penstock.errors import ConfigurationError, TaskNotFound
from penstock.manager.task_config import TaskConfig
from penstock.model.estimate import Estimate
from penstock.model.priority import Priority
from penstock.model.states import TaskStatus
from penstock.model.version import checked_version
from penstock.runtime.context import TaskContext

if TYPE_CHECKING:
    from penstock.manager.ai_task_manager import AITaskManager
    from penstock.task_types.functions import RegisteredFunction

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class TaskTerms:
    """How the calls of a function are run as tasks. `run`: `auto` (async functions on the event loop, plain
    ones in a thread), `thread` or `process`; `estimate` is called with the function's arguments. A task goes
    on with the `version` that made its recorded steps; others begin with the newest."""

    name: str | None = None
    run: Literal["auto", "thread", "process"] = "auto"
    priority: Priority | int | str | None = None
    config: TaskConfig | None = None
    metadata: Mapping[str, Any] | None = None
    estimate: Callable[..., Estimate] | None = None
    description: str = ""
    version: str = ""

    def __post_init__(self) -> None:
        if self.run not in ("auto", "thread", "process"):
            raise ConfigurationError(f"run={self.run!r} is unknown: give auto, thread or process")
        if self.config is not None and not isinstance(self.config, TaskConfig):
            raise ConfigurationError(f"config must be a TaskConfig(...), not {type(self.config).__name__}")
        checked_version(self.version)


class TaskHandle(Generic[R]):
    """A submitted call; `await handle` gives its result."""

    def __init__(self, manager: AITaskManager, id: str, read: Callable[[Any], R]) -> None:
        self._manager = manager
        self._read = read
        self.id = id

    def __await__(self) -> Generator[Any, None, R]:
        return self.result().__await__()

    async def result(self, timeout: float | None = None) -> R:
        """The function's return value.

        Raises `TaskFailed`, `TaskCancelled`, `WaitTimeout` after `timeout` seconds, or `ConfigurationError`
        for a result that is not what the function is annotated to return.
        """
        given = await self._manager.wait_for_task(self.id, timeout)
        try:
            return self._read(given)
        except ValidationError as error:
            what = "; ".join(one["msg"] for one in error.errors()[:3])
            raise ConfigurationError(
                f"task {self.id} is completed, but its result {given!r:.80} is not what its function is "
                f"annotated to return: {what}"
            ) from error

    @property
    def status(self) -> TaskStatus:
        """Where the task stands now."""
        task = self._manager.get_task(self.id)
        if task is None:
            raise TaskNotFound(f"there is no task {self.id}", self.id)
        return task.status

    async def cancel(self) -> bool:
        """False when it was too late."""
        return await self._manager.cancel_task(self.id)


class TaskFunction(Generic[P, R]):
    """A function whose calls can be tasks: `await f.submit(...)` makes one. Calling it runs it here and
    now, without a task."""

    def __init__(
        self,
        manager: AITaskManager,
        function: Callable[..., Any],
        registered: RegisteredFunction,
        terms: TaskTerms,
    ) -> None:
        self._manager = manager
        self._registered = registered
        self._terms = terms
        self._result = _result_reader(function)
        self.function = self.__task_function__ = function
        self.__doc__ = function.__doc__
        self.__name__ = registered.name

    @property
    def name(self) -> str:
        """The task type that its calls have."""
        return self._registered.name

    @property
    def manager(self) -> AITaskManager:
        """Where its calls are submitted."""
        return self._manager

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    async def submit(self, *args: P.args, **kwargs: P.kwargs) -> TaskHandle[R]:
        """Add a task that calls the function with these arguments.

        Raises `InvalidTask` naming the argument that is wrong, and as `submit_task`.
        """
        id = await self._manager.submit_task(
            self.name,
            self._registered.by_name(args, kwargs),
            self._terms.priority,
            self._terms.config,
            self._terms.metadata,
        )
        return TaskHandle(self._manager, id, self._result)

    def handle(self, task_id: str) -> TaskHandle[R]:
        """The handle of a call that was submitted earlier, perhaps by another process."""
        return TaskHandle(self._manager, task_id, self._result)

    def __repr__(self) -> str:
        return f"<task function {self.name}>"

    def with_options(
        self,
        *,
        priority: Priority | int | str | None = None,
        config: TaskConfig | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> TaskFunction[P, R]:
        """The same function, whose calls are submitted otherwise."""
        terms = replace(
            self._terms,
            priority=self._terms.priority if priority is None else priority,
            config=self._terms.config if config is None else config,
            metadata=self._terms.metadata if metadata is None else metadata,
        )
        return TaskFunction(self._manager, self.function, self._registered, terms)


class TaskDecorator:
    """`@manager.task`, plain or with options: `@manager.task(name="resize", run="process")`.

    The arguments of `submit` are checked against the function's annotations, by type checkers and at the
    door; a first parameter annotated `TaskContext` is filled in.
    """

    def __init__(self, manager: AITaskManager, terms: TaskTerms) -> None:
        self._manager = manager
        self._terms = terms

    @overload
    def __call__(
        self, function: Callable[Concatenate[TaskContext, P], Coroutine[Any, Any, R]], /
    ) -> TaskFunction[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[TaskContext, P], R], /) -> TaskFunction[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> TaskFunction[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> TaskFunction[P, R]: ...
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
    ) -> TaskDecorator: ...

    def __call__(self, *functions: Callable[..., Any], **options: Any) -> Any:
        if not functions:
            known = [one.name for one in fields(TaskTerms)]
            for option in options:
                if option not in known:
                    of_config = option in {one.name for one in fields(TaskConfig)}
                    hint = f"config=TaskConfig({option}=...)" if of_config else ", ".join(known)
                    raise ConfigurationError(f"@task has no option {option!r}; it takes {hint}")
            return TaskDecorator(self._manager, replace(self._terms, **options))
        (function,) = functions
        if not callable(function):
            raise ConfigurationError(f"@task is for functions, not for {function!r}")
        registered = self._manager.add_function(function, self._terms)
        return TaskFunction(self._manager, function, registered, self._terms)


def _result_reader(function: Callable[..., Any]) -> Callable[[Any], Any]:
    """Gives results back in the type that the function says it returns."""
    try:
        wanted = get_type_hints(function).get("return", Any)
        if wanted is inspect.Signature.empty or wanted is Any or wanted is None:
            return lambda value: value
        return TypeAdapter(wanted).validate_python
    except Exception:  # annotations that cannot be resolved or are no types: results stay plain JSON
        return lambda value: value
