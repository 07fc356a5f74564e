"""Shapes of work: one after another, side by side, the same for each and then together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

from penstock.workflows.builder import Workflow
from penstock.workflows.nodes import INPUT, Node, refuse
from penstock.workflows.terms import WorkflowTerms


def pipeline(
    *stages: Any, input: Any = INPUT, name: str = "pipeline", **terms: Unpack[WorkflowTerms]
) -> Workflow:
    """Each stage gets what the one before it gave, the first one `input`. A stage is a task function,
    `call(...)` with `INPUT` in it, or a workflow."""
    flow = _begun(name, terms, stages)
    value = input
    for one in stages:
        value = _placed(flow, one, value)
    return flow.returns(value)


def parallel(
    *stages: Any, input: Any = INPUT, name: str = "parallel", **terms: Unpack[WorkflowTerms]
) -> Workflow:
    """All stages side by side, each with `input`; as a stage of another shape it gives a list, in order."""
    flow = _begun(name, terms, stages)
    results = [_placed(flow, one, input) for one in stages]
    return flow.returns(_flat(results))


def map_reduce(
    items: Sequence[Any],
    map: Any,
    reduce: Any = None,
    *,
    name: str = "map_reduce",
    **terms: Unpack[WorkflowTerms],
) -> Workflow:
    """`map` for each item side by side, then `reduce` with the list of what they gave."""
    if not isinstance(items, Sequence) or isinstance(items, str):
        raise refuse(f"items must be a list that is known now, not {items!r:.80}", name=name)
    flow = _begun(name, terms, items)
    results = [_placed(flow, map, item) for item in items]
    if reduce is not None:
        return flow.returns(_placed(flow, reduce, results))
    return flow.returns(_flat(results))


def _begun(name: str, terms: WorkflowTerms, parts: Sequence[Any]) -> Workflow:
    flow = Workflow(name, **terms)
    if not parts:
        raise refuse("there is nothing to do: no stages", name=name)
    return flow


def _placed(flow: Workflow, work: Any, value: Any) -> Node | list[Node]:
    """Add a stage; what it gives. It comes after all that `value` stands for, whether it uses it or not."""
    since = len(flow)
    part = isinstance(work, Workflow)
    given = flow.include(work, value) if part else flow.place(work, value)
    flow.follow(since, value)
    return given


def _flat(results: Sequence[Node | list[Node]]) -> list[Node]:
    return [node for result in results for node in (result if isinstance(result, list) else [result])]
