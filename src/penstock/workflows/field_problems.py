"""What is wrong with a field of a definition, in words that help to mend it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.errors import Problem
from penstock.model.suggestions import Suggester
from penstock.workflows.definition import Fallback, Form, NodeDefinition, Work, WorkflowDefinition

# What other systems, and models that write plans, call it.
_OTHER_WORDS = {
    "dependencies": "after",
    "depends_on": "after",
    "needs": "after",
    "requires": "after",
    "task_type": "type",
    "kind": "type",
    "payload": "data",
    "input": "data",
    "inputs": "data",
    "args": "data",
    "arguments": "data",
    "retries": "max_retries",
    "deadline": "deadline_seconds",
    "timeout_seconds": "timeout",
    "undo": "compensate",
    "estimated_time": "estimated_seconds",
    "tasks": "nodes",
    "steps": "nodes",
    "subtasks": "nodes",
    "outputs": "output",
    "max_concurrency": "max_concurrent",
}


def field_problem(error: Mapping[str, Any]) -> Problem:
    """One error of pydantic as a problem."""
    where: Sequence[str | int] = error["loc"]
    if where[0] == "output":  # of either form; one problem is enough
        return Problem("output", f"must be the id of a node or a list of ids, not {error.get('input')!r:.80}")
    return Problem(
        ".".join(map(str, where)), _message(error["type"], where, error["msg"], error.get("input"))
    )


def _message(kind: str, where: Sequence[str | int], message: str, given: Any) -> str:
    if kind == "extra_forbidden":
        return f"there is no such field{_hint(str(where[-1]), _form_of(where))}"
    if kind == "missing":
        return "is missing"
    if kind == "string_pattern_mismatch":
        return f"an id has 1 to 100 letters, digits and any of _ . : -, not {given!r:.120}"
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        return f"must be an object, not {given!r:.80}"
    if kind in ("tuple_type", "list_type"):
        return f"must be a list, not {given!r:.80}"
    if kind == "too_short":
        return "must not be empty"
    text = message.removeprefix("Value error, ").replace("Input should be", "must be")
    return f"{text}, not {given!r:.80}" if text.startswith("must be") else text


def _form_of(where: Sequence[str | int]) -> type[Form]:
    names = [part for part in where[:-1] if isinstance(part, str)]
    forms: dict[str, type[Form]] = {"fallback": Fallback, "compensate": Work, "nodes": NodeDefinition}
    return forms.get(names[-1], WorkflowDefinition) if names else WorkflowDefinition


def _hint(name: str, form: type[Form]) -> str:
    other = _OTHER_WORDS.get(name.casefold())
    if other is not None and other in form.model_fields:
        return f"; did you mean {other!r}?"
    nearest = Suggester(form.model_fields).nearest(name)
    return (
        f"; did you mean {nearest!r}?"
        if nearest is not None
        else f"; there are {', '.join(form.model_fields)}"
    )
