"""From nodes to tasks: ids given, references bound, what a node needs made the edges of its task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from penstock.model.references import bind, find, holds_marks
from penstock.workflows.definition import Fallback, NodeDefinition, Work, WorkflowDefinition


@dataclass(frozen=True, slots=True)
class NodeTask:
    """One node as the task it becomes. `after` are task ids; references in `data`, `fallback` and
    `compensate` name task ids (results to fill them in are keyed by those). `refs`: data or fallback hold
    something to fill in. Its options are those of `node`."""

    node: NodeDefinition
    id: str
    type: str
    data: Any
    after: tuple[str, ...]
    refs: bool
    fallback: Fallback | None = None
    compensate: Work | None = None


def compile_nodes(nodes: Sequence[NodeDefinition], ids: Mapping[str, str]) -> list[NodeTask]:
    """What to submit for these nodes, in their order. `ids` are task ids by node: of these nodes, and of
    those that were there before and that they need.

    The nodes have passed validation; an id that is missing raises `KeyError`.
    """
    return [_compiled(node, ids) for node in nodes]


def needs(node: NodeDefinition) -> tuple[str, ...]:
    """The nodes that a node needs, each once: those of `after`, then those its data refer to."""
    named = [one.node for _, data in node.parts() if data is not None for one in find(data)[0]]
    return tuple(dict.fromkeys((*node.after, *named)))


def result_nodes(definition: WorkflowDefinition) -> tuple[str, ...]:
    """The nodes whose results make the workflow's: its `output`, or those that no other node needs."""
    if isinstance(definition.output, str):
        return (definition.output,)
    if definition.output is not None:
        return definition.output
    needed = {one for node in definition.nodes for one in needs(node)}
    return tuple(node.id for node in definition.nodes if node.id not in needed)


def stands_alone(definition: WorkflowDefinition, nodes: Sequence[str]) -> bool:
    """Whether the result of the one result node is the workflow's as it is."""
    return isinstance(definition.output, str) or (definition.output is None and len(nodes) == 1)


def shaped(nodes: Sequence[str], alone: bool, results: Mapping[str, Any]) -> Any:
    """The workflow's result, from results by node id: that of the one node, or an object of several by node
    id, in which nodes without a result are `None`."""
    return results.get(nodes[0]) if alone else {node: results.get(node) for node in nodes}


def _compiled(node: NodeDefinition, ids: Mapping[str, str]) -> NodeTask:
    data = bind(node.data, ids)
    fallback, compensate = node.fallback, node.compensate
    if fallback is not None:
        work = fallback.work
        fallback = (
            Fallback(value=bind(fallback.value, ids))
            if work is None
            else Fallback(type=work.type, data=bind(work.data, ids))
        )
    if compensate is not None:
        compensate = Work(type=compensate.type, data=bind(compensate.data, ids))
    return NodeTask(
        node=node,
        id=ids[node.id],
        type=node.type,
        data=data,
        after=tuple(ids[one] for one in needs(node)),
        refs=any(holds_marks(one) for _, one in node.parts()),
        fallback=fallback,
        compensate=compensate,
    )
