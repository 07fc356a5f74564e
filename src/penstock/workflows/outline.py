"""What of a raw definition can be judged as a graph, even where its fields are wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.errors import Problem
from penstock.model.references import find


@dataclass(slots=True)
class Need:
    """A node's need of another: `path` says where in the definition it is stated."""

    path: str
    node: str
    by_reference: bool


@dataclass(slots=True)
class NodeOutline:
    """A node of which at least the id can be read. `undo` are the references of its compensation, which are
    no needs; `problems` are references that cannot be."""

    path: str
    id: str
    type: str | None
    needs: list[Need] = field(default_factory=list)
    undo: list[Need] = field(default_factory=list)
    types: list[tuple[str, str]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def outlines(nodes: Any) -> list[NodeOutline]:
    """The outline of every node that has an id."""
    if not isinstance(nodes, Sequence) or isinstance(nodes, str):
        return []
    return [
        _outline(f"nodes.{place}", node)
        for place, node in enumerate(nodes)
        if isinstance(node, Mapping) and isinstance(node.get("id"), str)
    ]


def _outline(path: str, node: Mapping[str, Any]) -> NodeOutline:
    one = NodeOutline(path, node["id"], node["type"] if isinstance(node.get("type"), str) else None)
    after = node.get("after")
    if isinstance(after, Sequence) and not isinstance(after, str):
        one.needs += [
            Need(f"{path}.after.{number}", name, False)
            for number, name in enumerate(after)
            if isinstance(name, str)
        ]
    for where, data in _parts(node):
        _look(one, f"{path}.{where}", data, one.needs)
    compensate = node.get("compensate")
    if isinstance(compensate, Mapping):
        _look(one, f"{path}.compensate.data", compensate.get("data"), one.undo)
    one.types = [(f"{path}.type", one.type)] if one.type is not None else []
    for name in ("fallback", "compensate"):
        work = node.get(name)
        if isinstance(work, Mapping) and isinstance(work.get("type"), str):
            one.types.append((f"{path}.{name}.type", work["type"]))
    return one


def _parts(node: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "data", node.get("data")
    fallback = node.get("fallback")
    if isinstance(fallback, Mapping):
        yield "fallback.value", fallback.get("value")
        yield "fallback.data", fallback.get("data")


def _look(one: NodeOutline, path: str, data: Any, into: list[Need]) -> None:
    if not isinstance(data, dict | list):
        return
    found, problems = find(data)
    into += [Need(_joined(path, each.where), each.node, True) for each in found]
    one.problems += [Problem(_joined(path, each.path), each.message) for each in problems]


def _joined(path: str, where: str) -> str:
    return f"{path}.{where}" if where else path
