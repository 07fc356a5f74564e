"""Task types of a manager: the built-in ones, and those that users register."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import to_jsonable_python

from penstock.errors import ConfigurationError, InvalidTask
from penstock.manager.definitions import TaskTerms
from penstock.manager.engine import Manager
from penstock.manager.importable import importable
from penstock.manager.setup import Setup
from penstock.model.estimate import Estimate
from penstock.model.options import TaskOptions
from penstock.model.task_type import TaskType
from penstock.runtime.client import ModelClient
from penstock.runtime.context import TaskContext
from penstock.runtime.handlers import HandlerFunction
from penstock.task_types import BUILT_IN
from penstock.task_types.base import TaskKind, Toolbox, field_names, wrong_fields
from penstock.task_types.functions import Functions, RegisteredFunction


class Registering:
    """Registers types at an engine and gives built-in handlers their tools."""

    def __init__(self, engine: Manager, setup: Setup) -> None:
        self._registered_at = engine
        self._setup = setup
        self._client: ModelClient | None = None
        self.functions = Functions()
        first = setup.clients[0].config
        self._toolbox = Toolbox(
            client=self._open_client,
            functions=self.functions,
            model=first.model,
            embedding_model=first.embedding_model,
            structured_output=setup.structured_output,
            root=None if setup.file_root is None else Path(setup.file_root),
            allowed_hosts=tuple(setup.allowed_hosts),
            gather_seconds=setup.gather_seconds,
            embedding_inputs=setup.embedding_inputs,
            most_bytes=setup.most_bytes,
        )
        for kind in BUILT_IN:
            self._add_kind(kind)

    def register_type(  # noqa: PLR0913 - one keyword for each
        self,
        name: str,
        handler: Callable[..., Any],
        *,
        data: type[BaseModel] | None = None,
        estimate: Callable[[Any], Estimate] | None = None,
        model: Callable[[Any], str] | None = None,
        options: TaskOptions | None = None,
        pools: dict[str, int] | None = None,
        version: str = "",
    ) -> None:
        """Add a task type: `handler(context)`, or `handler(context, data)` with the validated data.

        `data` is the pydantic model that every submission must pass; `estimate` and `model` get that model's
        instance and tell what the task will use, and the model of its first call. Several versions of a type
        stand side by side: a task goes on with the one that made its recorded steps, and begins with the
        newest.
        """
        _check_type(name, handler, data)
        details: dict[str, Any] = {"pools": tuple(sorted((pools or {}).items())), "version": version}
        if options is not None:
            details["options"] = options
        if data is not None:
            details["check"] = _checker(name, data)
        if estimate is not None:
            details["estimate"] = _on_instance(estimate, data)
        if model is not None:
            details["model"] = _on_instance(model, data)
        self._registered_at.register(name, _handler(name, handler, data), **details)

    def add_function(self, function: Callable[..., Any], terms: TaskTerms) -> RegisteredFunction:
        """Make calls of a function a task type; also what `@task` does."""
        name = terms.name or str(getattr(function, "__name__", ""))
        sent = importable(function, name) if terms.run == "process" else function
        registered = self.functions.register(
            sent, name=name, run=terms.run, description=terms.description, version=terms.version
        )

        def check(given: Any) -> Any:
            if given is not None and not isinstance(given, dict):
                raise InvalidTask(f"data of a {registered.name} task: an object of its arguments, by name")
            plain = {one: _as_json(registered.name, one, value) for one, value in (given or {}).items()}
            return {
                one: _as_json(registered.name, one, value) for one, value in registered.check(plain).items()
            }

        async def run(context: TaskContext) -> Any:
            return await registered.call(context, context.data)

        details: dict[str, Any] = {"version": terms.version}
        if terms.config is not None:
            details["options"] = terms.config.options
        if terms.estimate is not None:
            estimate = terms.estimate
            details["estimate"] = lambda given: estimate(**registered.check(given))
        self._registered_at.register(registered.name, run, check=check, **details)
        return registered

    def open_client(self) -> None:
        """The engine runs: model calls can be made."""
        endpoints = [client.endpoint for client in self._setup.clients]
        self._client = ModelClient(self._registered_at.node.services.exchange, endpoints)

    async def close_client(self) -> None:
        """Close its connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    @property
    def client(self) -> ModelClient:
        """What built-in tasks make their model calls with; raises when the manager does not run."""
        return self._open_client()

    def _open_client(self) -> ModelClient:
        if self._client is None:
            raise ConfigurationError("the manager is not running; no model call can be made")
        return self._client

    def _add_kind(self, kind: TaskKind[Any]) -> None:
        toolbox = self._toolbox

        async def run(context: TaskContext) -> Any:
            return await kind.run(context, kind.read(context.data), toolbox)

        def check(given: Any) -> Any:
            data = kind.settle(kind.read(given), toolbox)
            kind.refuse(data, toolbox)
            return data.model_dump(mode="json", exclude_unset=True)

        self._registered_at.register(
            kind.type.value,
            run,
            check=check,
            estimate=lambda given: kind.estimate(kind.read(given), toolbox),
            model=lambda given: "" if given is None else _model_of(kind, given, toolbox),
        )


def _model_of(kind: TaskKind[Any], given: Any, toolbox: Toolbox) -> str:
    """The model of the first call; also of data in which other fields are yet to be filled in."""
    try:
        data = kind.read(given)
    except InvalidTask:
        data = kind.data.model_construct(**given)
    return kind.model(data, toolbox)


def _check_type(name: Any, handler: Any, data: Any) -> None:
    if not isinstance(name, str) or not name:
        raise ConfigurationError(f"a task type needs a name, a text, not {name!r}")
    if name in TaskType.__members__:
        raise ConfigurationError(f"task type {name!r} is built in; choose another name")
    if not callable(handler):
        raise ConfigurationError(f"the handler of {name!r} must be a function, not {handler!r}")
    if data is not None and not (isinstance(data, type) and issubclass(data, BaseModel)):
        raise ConfigurationError(f"data of {name!r} must be a pydantic model's class, not {data!r}")


def _as_json(function: str, name: Any, value: Any) -> Any:
    try:
        return to_jsonable_python(value)
    except (ValueError, RecursionError) as error:
        raise InvalidTask(
            f"arguments of function {function}: {name}: cannot be kept as JSON: {error}"
        ) from None


def _checker(name: str, model: type[BaseModel]) -> Callable[[Any], Any]:
    def check(given: Any) -> Any:
        try:
            return model.model_validate(given).model_dump(mode="json")
        except ValidationError as error:
            raise InvalidTask(wrong_fields(name, error), field_names(error)) from None

    return check


def _on_instance(function: Callable[[Any], Any], model: type[BaseModel] | None) -> Callable[[Any], Any]:
    return function if model is None else lambda given: function(model.model_validate(given))


def _handler(name: str, function: Callable[..., Any], model: type[BaseModel] | None) -> HandlerFunction:
    """A handler of one argument from one of one or two."""
    try:
        takes = len(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        takes = 1
    if takes == 1:
        return function
    if takes != 2:
        raise ConfigurationError(
            f"the handler of {name!r} takes {takes} arguments; it is called with (context) or (context, data)"
        )

    def data_of(context: TaskContext) -> Any:
        return context.data if model is None else model.model_validate(context.data)

    if inspect.iscoroutinefunction(function):

        async def run(context: TaskContext) -> Any:
            return await function(context, data_of(context))

        return run
    return lambda context: function(context, data_of(context))
