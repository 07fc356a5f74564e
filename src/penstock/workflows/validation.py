"""Is this a workflow? All that is wrong is said at once, with its path; time is linear in nodes and edges."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from penstock.errors import InvalidWorkflow, Problem
from penstock.workflows.definition import Form, NodeDefinition, WorkflowDefinition
from penstock.workflows.field_problems import field_problem
from penstock.workflows.judge import Judge
from penstock.workflows.outline import outlines

MOST_NODES = 100_000

F = TypeVar("F", bound=Form)


class _Nodes(Form):
    nodes: tuple[NodeDefinition, ...]


def read_definition(
    raw: Mapping[str, Any] | WorkflowDefinition,
    *,
    types: Collection[str] | None = None,
    most_nodes: int = MOST_NODES,
) -> WorkflowDefinition:
    """The definition, a copy of its own; `types` are the task types there are (`None`: any will do).

    Raises `InvalidWorkflow` with everything that is wrong.
    """
    definition, problems = _checked(raw, WorkflowDefinition, (), types, most_nodes)
    if definition is None:
        name = raw.get("name") if isinstance(raw, Mapping) else getattr(raw, "name", "")
        raise InvalidWorkflow(problems, name if isinstance(name, str) else "")
    return definition


def read_nodes(
    raw: Sequence[Mapping[str, Any] | NodeDefinition],
    known: Collection[str],
    *,
    types: Collection[str] | None = None,
    most_nodes: int = MOST_NODES,
) -> tuple[NodeDefinition, ...]:
    """Nodes that are to join those `known`, which they may need; raises as `read_definition`."""
    listed = isinstance(raw, Sequence) and not isinstance(raw, str)
    nodes = [_plain(node) for node in raw] if listed else raw
    read, problems = _checked({"nodes": nodes}, _Nodes, known, types, most_nodes)
    if read is None:
        raise InvalidWorkflow(problems)
    return read.nodes


def find_problems(
    raw: Any, *, types: Collection[str] | None = None, most_nodes: int = MOST_NODES
) -> list[Problem]:
    """All that keeps it from being a workflow; empty when nothing does."""
    return _checked(raw, WorkflowDefinition, (), types, most_nodes)[1]


def _plain(given: Any) -> Any:
    return given.model_dump(mode="json", exclude_unset=True) if isinstance(given, BaseModel) else given


def _checked(
    raw: Any,
    form: type[F],
    known: Collection[str],
    types: Collection[str] | None,
    most_nodes: int,
) -> tuple[F | None, list[Problem]]:
    try:
        # A copy: nobody changes it later. And JSON, whatever it was made of.
        raw = json.loads(json.dumps(_plain(raw), allow_nan=False, ensure_ascii=False).encode())
    except (TypeError, ValueError, RecursionError) as error:
        return None, [Problem("", f"is no JSON: {_first_line(error)}")]
    if not isinstance(raw, dict):
        return None, [Problem("", f"must be an object with nodes, not {raw!r:.80}")]
    nodes = raw.get("nodes")
    if isinstance(nodes, list) and len(nodes) > most_nodes:
        return None, [Problem("nodes", f"there are {len(nodes)} nodes; at most {most_nodes} are possible")]
    found: F | None = None
    problems = []
    try:
        found = form.model_validate(raw)
    except ValidationError as error:
        found_wrong = error.errors(include_url=False, include_context=False)
        problems = [field_problem(one) for one in found_wrong if not (nodes and _counts_nodes(one))]
    judge = Judge(outlines(nodes), known)
    problems += judge.problems(types)
    problems += judge.output_problems(raw.get("output"))
    return (None, list(dict.fromkeys(problems))) if problems else (found, [])


def _counts_nodes(error: Mapping[str, Any]) -> bool:
    """Whether there are too few nodes: nodes that are wrong are told apart, and do not count."""
    return (error["type"], error["loc"]) == ("too_short", ("nodes",))


def _first_line(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error).partition("\n")[0]
