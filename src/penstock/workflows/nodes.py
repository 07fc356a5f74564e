"""Nodes: what stands for the result of a task while a workflow is being built."""

from __future__ import annotations

from collections.abc import Mapping
from string import Formatter
from typing import TYPE_CHECKING, Any, NoReturn

from pydantic_core import PydanticSerializationError, to_jsonable_python

from penstock.errors import InvalidWorkflow, Problem
from penstock.model.references import LITERAL, RESULT, TEXT, find, part_of, rebuilt, tokens

if TYPE_CHECKING:
    from penstock.workflows.builder import Workflow


class Node:
    """Stands for the result of a task of a workflow: pass it on as an argument. `node["key"]` and `node[0]`
    stand for parts of the result.

    There is no result before the workflow runs, so to await a node, to test it or to write it into a text is
    an error that says what to do instead.
    """

    __slots__ = ("_flow", "_path", "id")

    def __init__(self, flow: Workflow | None, id: str, path: str = "") -> None:
        self._flow = flow
        self.id = id
        self._path = path

    def __getitem__(self, key: str | int) -> Node:
        return Node(self._flow, self.id, f"{self._path}/{_escaped(key, self)}")

    def path(self, pointer: str) -> Node:
        """A part of the result, by JSON pointer: `node.path("/items/0/name")`."""
        if not pointer.startswith("/"):
            raise _misuse(self, f"a JSON pointer begins with '/', unlike {pointer!r}")
        return Node(self._flow, self.id, self._path + pointer)

    @property
    def flow(self) -> Workflow | None:
        """The workflow that it belongs to; `None` for `INPUT` and `ITSELF`."""
        return self._flow

    @property
    def reference(self) -> dict[str, str]:
        """The same in the data form."""
        return {RESULT: self.id, "path": self._path} if self._path else {RESULT: self.id}

    def __repr__(self) -> str:
        part = f" at {self._path}" if self._path else ""
        whose = f" of workflow {self._flow.name!r}" if self._flow is not None else ""
        return f"<node {self.id!r}{part}{whose}>"

    def __await__(self) -> NoReturn:
        raise _misuse(self, "it cannot be awaited: pass it to another call, and run the workflow")

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Node):
            return self is other
        raise _misuse(self, "it equals nothing yet: compare inside a task")

    __hash__ = object.__hash__

    def __bool__(self) -> NoReturn:
        raise _misuse(self, "it is neither true nor false yet: decide inside a task")

    def __str__(self) -> NoReturn:
        raise _misuse(self, 'it has no text yet: write text("... {}", node), or repr(node) to look at it')

    def __format__(self, spec: str) -> NoReturn:
        raise _misuse(self, 'it cannot stand in an f-string: write text("... {}", node)')

    def __iter__(self) -> NoReturn:
        raise _misuse(self, "it cannot be iterated yet: take parts by node[0], or pass it on whole")

    def __contains__(self, item: object) -> NoReturn:
        raise _misuse(self, "what it holds is not known yet: decide inside a task")

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise _misuse(self, "it is no function: it stands for the result of one")

    def __getattr__(self, name: str) -> NoReturn:
        # Not our error class: hasattr and copying rely on this one, and ask before anything is set.
        if name.startswith("_"):
            raise AttributeError(name)
        raise AttributeError(f"{self!r} has no attribute {name!r}; a part of its result is node[{name!r}]")


INPUT = Node(None, "$input")
"""In work that is part of a pattern: what the stage before gave, or what the workflow is given."""

ITSELF = Node(None, "$itself")
"""In work that undoes a node: the node's own result."""


def text(template: str, *args: Any, **named: Any) -> dict[str, Any]:
    """A text with results in it, as `str.format` writes them: `text("Compare {} with {b}", a, b=other)`.
    Texts stand as they are, all else as JSON. Raises `InvalidWorkflow` for a field without a value, and for
    a value without a field."""
    parts: list[Any] = []
    taken, used = 0, set()
    for literal, field, spec, conversion in Formatter().parse(template):
        parts += [literal] if literal else []
        if field is None:
            continue
        if spec or conversion:
            raise refuse(f"text takes plain fields, not {{{field}{conversion or ''}:{spec}}}")
        if not field:
            field, taken = str(taken), taken + 1
        known = field in named or (field.isdigit() and int(field) < len(args))
        if not known:
            raise refuse(f"text {template[:60]!r} has a field {{{field}}} for which nothing is given")
        used.add(field)
        parts.append(named[field] if field in named else args[int(field)])
    if left := [one for one in [*map(str, range(len(args))), *named] if one not in used]:
        raise refuse(f"text {template[:60]!r} has no field {{{left[0]}}} for what is given")
    return {TEXT: parts}


def as_json(value: Any, flow: Workflow | None, where: str) -> Any:
    """The value as JSON of its own, nodes in it as references; `flow` is whose nodes may stand in it.

    Raises `InvalidWorkflow` for a node of another workflow and for what is no JSON.
    """

    def referred(one: Any) -> Any:
        if not isinstance(one, Node):
            raise TypeError(f"{type(one).__name__} is no JSON")
        if one.flow is not None and one.flow is not flow:
            raise refuse(
                f"{one!r} is of another workflow; include that one here, and use what include gives",
                where,
            )
        return one.reference

    try:
        return to_jsonable_python(value, fallback=referred)
    except (PydanticSerializationError, TypeError, ValueError) as error:
        raise refuse(f"is no JSON: {error}", where) from None


def named_in(data: Any) -> list[str]:
    """The nodes that JSON data refer to, each once."""
    return list(dict.fromkeys(one.node for one in find(data)[0]))


def replaced(data: Any, values: Mapping[str, Any]) -> Any:
    """The data with references to these nodes replaced by what is given for them: data in which references
    to other nodes may stand."""

    def answer(reference: dict[str, Any]) -> Any:
        if reference[RESULT] not in values:
            return reference
        return _part(values[reference[RESULT]], reference.get("path", ""))

    return rebuilt(data, answer)


def refuse(message: str, where: str = "", name: str = "") -> InvalidWorkflow:
    """The error for one problem."""
    return InvalidWorkflow([Problem(where, message)], name)


def _part(value: Any, path: str) -> Any:
    """A part of data in which references stand: the path goes on in the reference that it leads to."""
    rest = tokens(path)
    while rest:
        if isinstance(value, dict) and RESULT in value:
            joined = value.get("path", "") + "".join(f"/{_escape(one)}" for one in rest)
            return {**value, "path": joined}
        if isinstance(value, dict) and LITERAL in value:
            return {
                LITERAL: part_of(value[LITERAL], "".join(f"/{_escape(one)}" for one in rest), "the input")
            }
        value = part_of(value, f"/{_escape(rest.pop(0))}", "the input")
    return value


def _escaped(key: Any, node: Node) -> str:
    if isinstance(key, bool) or not isinstance(key, str | int) or (isinstance(key, int) and key < 0):
        raise _misuse(node, f"a part is named by a key or a place from 0, not by {key!r}")
    return _escape(str(key))


def _escape(token: str) -> str:
    return token.replace("~", "~0").replace("/", "~1")


def _misuse(node: Node, message: str) -> InvalidWorkflow:
    return refuse(f"{node!r} stands for a result that is not there before the workflow runs; {message}")
