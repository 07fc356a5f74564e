"""Functions by name, for tasks that call them: arguments are checked against the signature."""

from __future__ import annotations

import functools
import inspect
import pickle
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PydanticUserError, ValidationError, create_model
from pydantic_core import PydanticSerializationError, to_jsonable_python

from penstock.errors import ConfigurationError, InvalidTask, StepError
from penstock.model.version import version_order
from penstock.runtime.context import TaskContext

Run = Literal["auto", "async", "thread", "process"]
Function = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class RegisteredFunction:
    """A function with what is known of it. `run`: "async", "thread" or "process"; `fields` are the names of
    its parameters by the fields of `model`; `takes_context` says that its first one is the `TaskContext`."""

    name: str
    function: Function
    run: str
    description: str
    model: type[BaseModel]
    fields: Mapping[str, str]
    positional: tuple[str, ...]
    takes_context: bool

    @property
    def schema(self) -> dict[str, Any]:
        """JSON schema of its parameters; raises `ConfigurationError` for a type that no JSON can be."""
        try:
            schema = self.model.model_json_schema(by_alias=True)
        except PydanticUserError as error:
            why = str(error).partition("\n")[0]
            raise ConfigurationError(
                f"function {self.name}: its parameters cannot be told to a model: {why}"
            ) from None
        return {key: value for key, value in schema.items() if key != "title"}

    def check(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments as the function takes them; raises `InvalidTask` that names every wrong one."""
        problems = self.problems(arguments)
        if problems:
            told = "; ".join(f"{name}: {what}" for name, what in problems)
            fields = [name.partition(".")[0] for name, _ in problems]
            raise InvalidTask(f"arguments of function {self.name}: {told}", fields)
        return self._read(arguments)

    def problems(self, arguments: Mapping[str, Any]) -> list[tuple[str, str]]:
        """What is wrong with the arguments: the first ten pairs of a parameter and words."""
        try:
            self._read(arguments)
        except ValidationError as error:
            return [(".".join(map(str, one["loc"])), one["msg"]) for one in error.errors()[:10]]
        return []

    def by_name(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments by position and by name as arguments by name; raises `InvalidTask` where that fails."""
        if len(args) > len(self.positional):
            raise InvalidTask(
                f"args.{len(self.positional)}: function {self.name} takes {len(self.positional)} "
                f"arguments by position, not {len(args)}"
            )
        named = dict(zip(self.positional, args, strict=False))
        twice = [name for name in named if name in kwargs]
        if twice:
            raise InvalidTask(f"kwargs.{twice[0]}: is given by position too")
        return {**named, **kwargs}

    async def call(self, context: TaskContext, arguments: Mapping[str, Any]) -> Any:
        """What the function returns for these arguments, as JSON.

        What it raises is raised here; `InvalidTask` for wrong arguments, `StepError` for a result that is no
        JSON.
        """
        args, kwargs = self._placed(self.check(arguments))
        if self.takes_context:
            args = [context, *args]
        services = context.services
        if self.run == "async":
            result = await self.function(*args, **kwargs)
        elif self.run == "process":
            result = await services.in_process(self.function, *args, **kwargs)
        else:
            result = await services.in_thread(self.function, *args, **kwargs)
        try:
            return to_jsonable_python(result)
        except (PydanticSerializationError, ValueError) as error:
            raise StepError(f"function {self.name} returned what is no JSON: {error}") from None

    def _read(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        read = self.model.model_validate(dict(arguments))
        given = {
            self.fields[field]: getattr(read, field) for field in read.model_fields_set & set(self.fields)
        }
        return {**given, **(read.model_extra or {})}

    def _placed(self, arguments: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Those that go by position only, and the others."""
        args = []
        for parameter in _parameters(self.function, self.takes_context):
            if parameter.kind is not parameter.POSITIONAL_ONLY or parameter.name not in arguments:
                break
            args.append(arguments.pop(parameter.name))
        return args, arguments


class Functions:
    """The functions that tasks of a manager may call."""

    def __init__(self) -> None:
        self._by_name: dict[str, RegisteredFunction] = {}
        self._versions: dict[str, dict[str, RegisteredFunction]] = {}

    def register(
        self,
        function: Function,
        *,
        name: str | None = None,
        run: Run = "auto",
        description: str = "",
        version: str = "",
    ) -> RegisteredFunction:
        """Add a function. `run` "auto" is its own way: a coroutine function on the loop, any other in a
        thread; "process" is for functions that compute, at the top of a module that can be imported.

        A first parameter annotated `TaskContext` gets the context. Of several versions the newest is called
        by its name. Raises `ConfigurationError` for a name that is taken or a function that cannot be run
        that way.
        """
        name = name or getattr(function, "__name__", "")
        if not name or name == "<lambda>":
            raise ConfigurationError("this function has no name of its own; give one: name=...")
        versions = self._versions.setdefault(name, {})
        if version in versions and versions[version].function is not function:
            raise ConfigurationError(f"a function named {name!r} is registered already; choose another name")
        made = versions[version] = _registered(function, name, run, description)
        self._by_name[name] = versions[max(versions, key=version_order)]
        return made

    def named(self, name: str) -> RegisteredFunction:
        """The function of this name; raises `InvalidTask` that names those there are."""
        function = self._by_name.get(name)
        if function is None:
            known = ", ".join(sorted(self._by_name)) or "none"
            raise InvalidTask(f"no function named {name!r} is registered; known: {known}")
        return function

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._by_name)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name


def _registered(function: Function, name: str, run: Run, description: str) -> RegisteredFunction:
    is_async = inspect.iscoroutinefunction(_bare(function))
    if inspect.isasyncgenfunction(_bare(function)) or inspect.isgeneratorfunction(_bare(function)):
        raise ConfigurationError(f"function {name} is a generator; return a list")
    if is_async and run not in ("auto", "async"):
        raise ConfigurationError(
            f"function {name} is a coroutine function; it runs on the loop, not in a {run}"
        )
    if not is_async and run == "async":
        raise ConfigurationError(f"function {name} is no coroutine function; run it in a thread or a process")
    hints = _hints(function, name)
    takes_context = _takes_context(function, hints, name)
    if run == "process":
        _check_sendable(function, name, takes_context)
    parameters = _parameters(function, takes_context)
    model, fields = _model(name, parameters, hints)
    return RegisteredFunction(
        name=name,
        function=function,
        run=run if run != "auto" else ("async" if is_async else "thread"),
        description=description or (inspect.getdoc(function) or "").split("\n\n")[0],
        model=model,
        fields=fields,
        positional=tuple(one.name for one in parameters if one.kind in (0, 1)),
        takes_context=takes_context,
    )


def _bare(function: Function) -> Any:
    """The function below partials, and the `__call__` of an object."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isroutine(function) or inspect.isclass(function):
        return function
    return type(function).__call__


def _hints(function: Function, name: str) -> dict[str, Any]:
    bare = _bare(function)
    bare = bare.__init__ if inspect.isclass(bare) else inspect.unwrap(bare)
    try:
        # Modules may import it for type checkers only.
        return typing.get_type_hints(bare, localns={"TaskContext": TaskContext}, include_extras=True)
    except (NameError, AttributeError, TypeError) as error:
        raise ConfigurationError(f"function {name}: its annotations cannot be read: {error}") from None


def _takes_context(function: Function, hints: dict[str, Any], name: str) -> bool:
    marked = [one.name for one in _parameters(function, False) if hints.get(one.name) is TaskContext]
    if not marked:
        return False
    first = _parameters(function, False)[0]
    if marked != [first.name] or first.kind is first.KEYWORD_ONLY:
        raise ConfigurationError(f"function {name}: the context must be its first parameter")
    return True


def _parameters(function: Function, takes_context: bool) -> list[inspect.Parameter]:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{function!r} has no signature that can be read: {error}") from None
    return parameters[1:] if takes_context else parameters


def _model(
    name: str, parameters: list[inspect.Parameter], hints: dict[str, Any]
) -> tuple[type[BaseModel], dict[str, str]]:
    """A model of the arguments. Its fields are numbered and go by aliases, for a parameter may have a name
    that no field can have."""
    fields: dict[str, Any] = {}
    names: dict[str, str] = {}
    extra: Literal["allow", "forbid"] = "forbid"
    for place, one in enumerate(parameters):
        if one.kind is one.VAR_POSITIONAL:
            raise ConfigurationError(f"function {name} takes *{one.name}; arguments of tasks have names")
        if one.kind is one.VAR_KEYWORD:
            extra = "allow"
            continue
        default = ... if one.default is one.empty else one.default
        fields[f"p{place}"] = (hints.get(one.name, Any), Field(default, alias=one.name))
        names[f"p{place}"] = one.name
    # A default is the function's own affair: it is neither checked nor handed on.
    config = ConfigDict(extra=extra, arbitrary_types_allowed=False)
    try:
        return create_model(name, __config__=config, **fields), names
    except PydanticUserError as error:
        raise ConfigurationError(f"function {name}: {error.message}") from None


def _check_sendable(function: Function, name: str, takes_context: bool) -> None:
    if takes_context:
        raise ConfigurationError(f"function {name} takes the context, which stays in this process")
    try:
        pickle.dumps(function)
    except Exception as error:
        raise ConfigurationError(
            f"function {name} cannot be sent to a process: {error}; it must stand at the top of a module "
            "that can be imported"
        ) from None
