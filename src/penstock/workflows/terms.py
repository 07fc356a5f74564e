"""How nodes and workflows are run, as the builder takes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, TypedDict

from penstock.workflows.definition import OnFailure
from penstock.workflows.nodes import Node, refuse


class NodeTerms(TypedDict, total=False):
    """How a node is run, beside its work; what is not told here is as in `NodeDefinition`.

    `after` are nodes (or ids) that it needs without using their results. `fallback` is work or a value that
    stands in when it fails. `undo` is work that undoes it when the workflow fails later; a task function is
    called with the node's result.
    """

    id: str
    after: Node | str | Sequence[Node | str]
    max_retries: int
    retry_delay: float
    timeout: float
    priority: int | str
    tenant: str
    deadline_seconds: float
    pools: Mapping[str, int]
    fallback: Any
    undo: Any
    on_failure: OnFailure
    name: str
    description: str
    estimated_seconds: float


class WorkflowTerms(TypedDict, total=False):
    """How the whole is run; as the fields of `WorkflowDefinition`."""

    on_failure: OnFailure
    deadline_seconds: float
    timeout: float
    budget: float | Decimal | str
    max_tokens: int
    max_concurrent: int
    priority: int | str
    tenant: str
    metadata: Mapping[str, Any]
    description: str


NODE_TERMS = tuple(NodeTerms.__annotations__)
WORKFLOW_TERMS = tuple(WorkflowTerms.__annotations__)
HANDED_DOWN = ("on_failure", "deadline_seconds", "priority", "tenant")
"""terms of a part of a workflow that its nodes can carry"""
OF_THE_WHOLE = ("timeout", "budget", "max_tokens", "max_concurrent")
"""and those that they cannot"""


def check_terms(terms: Mapping[str, Any], known: Sequence[str], what: str, flow: str) -> None:
    """Raise `InvalidWorkflow` for a term that is none; type checkers see it too."""
    for term in terms:
        if term not in known:
            raise refuse(f"{what} has no term {term!r}; it takes {', '.join(known)}", name=flow)
