"""Work for a node: a call of a task function, or a task type with its data."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.errors import InvalidTask, InvalidWorkflow, Problem
from penstock.model.references import holes
from penstock.workflows.nodes import INPUT, ITSELF, Node, refuse

Check = Callable[[Mapping[str, Any]], Sequence[tuple[str, str]]]


@dataclass(frozen=True, slots=True)
class Call:
    """A task type and data in which nodes may stand. `parameters` are those of the function, `terms` what it
    was decorated with; `check` gives (argument, words) of what is wrong with the arguments; `owner` is the
    manager that it belongs to."""

    type: str
    data: Any = None
    parameters: frozenset[str] = frozenset()
    terms: Mapping[str, Any] = field(default_factory=dict)
    check: Check | None = None
    owner: Any = None

    def problems(self, data: Any, path: str) -> list[Problem]:
        """What is wrong with the arguments that are known already; `data` is the JSON form."""
        unknown = holes(data)
        if self.check is None or unknown is None:
            return []
        return [
            Problem(f"{path}.{name}", f"{self.type}: {words}")
            for name, words in self.check(data or {})
            if name and name.partition(".")[0] not in unknown
        ]


def call(work: Any, /, *args: Any, **kwargs: Any) -> Call:
    """Work for later: `call(write, INPUT, style="short")`, `call("llm_call", prompt=text("... {}", INPUT))`.

    Raises `InvalidWorkflow` for what is no work, or for arguments that the function cannot take.
    """
    if isinstance(work, Call):
        if args or kwargs:
            raise refuse(f"{work.type} has its arguments already")
        return work
    work = getattr(work, "_inner", work)  # the synchronous face's
    registered = getattr(work, "_registered", None)
    if registered is not None:
        return _function_call(work, registered, args, kwargs)
    if isinstance(work, str) and work:
        return Call(str(getattr(work, "value", work)), _type_data(work, args, kwargs))
    if isinstance(work, Node):
        raise refuse(f"{work!r} is no work but stands for a result; pass it as an argument")
    if hasattr(work, "include"):
        raise refuse(f"{work!r} is a workflow: flow.include(it) makes it a part")
    if callable(work):
        name = getattr(work, "__name__", repr(work))
        how = "write it with def, and decorate" if name == "<lambda>" else "decorate"
        raise refuse(f"{name} is no task function; {how} it: @manager.task")
    if isinstance(work, Coroutine):
        work.close()
    raise refuse(
        f"work is a task function, a task type or call(...), not {work!r:.80}; "
        "give the function itself, then its arguments: add(f, 1), not add(f(1))"
    )


def stage(work: Any) -> Call:
    """Work that takes one thing: a task function or a type with that as its argument, or a call as it is."""
    if isinstance(work, Call):
        return work
    return call(work, INPUT) if _takes_something(work) else call(work)


def undoing(work: Any) -> Call:
    """Work that undoes a node: a task function with the node's result, or a call as it is."""
    if isinstance(work, Call):
        return work
    return call(work, ITSELF) if _takes_something(work) else call(work)


def is_work(value: Any) -> bool:
    """Whether it is work rather than a value."""
    return isinstance(value, Call) or hasattr(getattr(value, "_inner", value), "_registered")


def _takes_something(work: Any) -> bool:
    registered = getattr(getattr(work, "_inner", work), "_registered", None)
    return registered is None or bool(registered.positional)


def _function_call(work: Any, registered: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Call:
    try:
        data = registered.by_name(args, kwargs)
    except InvalidWorkflow:
        raise
    except InvalidTask as error:
        raise refuse(f"{work.name}: {error}") from None
    return Call(
        work.name,
        data,
        frozenset(registered.fields.values()),
        _own_terms(getattr(work, "_terms", None)),
        registered.problems,
        getattr(work, "manager", None),
    )


def _own_terms(terms: Any) -> dict[str, Any]:
    """What the decorator said that a task type does not know by itself."""
    found = {}
    if getattr(terms, "priority", None) is not None:
        found["priority"] = terms.priority
    config = getattr(terms, "config", None)
    for name in ("tenant", "pools", "estimated_seconds"):
        if value := getattr(config, name, None):
            found[name] = value
    return found


def _type_data(type: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    if len(args) > 1:
        raise refuse(f"{type} takes its data as one object or by name, not {len(args)} arguments by position")
    if args and kwargs:
        if not isinstance(args[0], Mapping):
            raise refuse(f"{type}: data by name go with an object, not with {args[0]!r:.80}")
        return {**args[0], **kwargs}
    return args[0] if args else (dict(kwargs) or None)
