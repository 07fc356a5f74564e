"""Nodes become tasks: checked, given their terms, and put in the line together, in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from penstock.errors import InvalidTask, InvalidWorkflow, PenstockError, Problem
from penstock.model.group import NewMember
from penstock.model.ids import new_id
from penstock.model.json_text import json_text
from penstock.model.options import TaskOptions
from penstock.model.task import Added, NewTask
from penstock.runtime.fallbacks import Fallback
from penstock.stores.contract import AddOutcome, Transaction
from penstock.workflows.compiling import NodeTask, compile_nodes
from penstock.workflows.definition import NodeDefinition
from penstock.workflows.taking_over import NOTHING, Earlier

_AT_ONCE = 200


class Desk(Protocol):
    """What workflows need of the manager they run in."""

    @property
    def types(self) -> frozenset[str]:
        """The task types there are."""

    def options_of(self, type: str) -> TaskOptions:
        """How tasks of a type are run where nobody says otherwise."""

    def prepare(self, type: str, data: Any, **details: Any) -> NewTask:
        """Check a task at the door and rank it; `details` are fields of a submission."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the nodes of one workflow have in common, unless they say otherwise. `begun` and `deadline` are
    instants in seconds since the epoch."""

    workflow: str
    priority: int
    tenant: str
    begun: float
    deadline: float | None
    stops: bool = True


@dataclass(slots=True)
class NewNodes:
    """Tasks ready to be added, and as whom they join the group."""

    tasks: list[NewTask]
    nodes: list[NodeTask]
    stops: list[bool]
    earlier: Earlier = NOTHING

    def ids(self) -> list[str]:
        return [task.id for task in self.tasks]

    def join(self, store: Transaction, group: int) -> list[AddOutcome] | None:
        """Add them, and let them join; `None` when the group is closed. Nodes were let in with their
        workflow: no capacity keeps them out."""
        outcomes = store.add(self.tasks)
        members = []
        for outcome, node, stops in zip(outcomes, self.nodes, self.stops, strict=True):
            if isinstance(outcome, PenstockError):
                raise outcome
            assert isinstance(outcome, Added)
            undo = node.compensate if self.earlier.undoes(node.node.id) else None
            text = None if undo is None else json_text({"type": undo.type, "data": undo.data})
            members.append(NewMember(outcome.seq, node.node.id, stops, text))
        return outcomes if store.join_group(group, members) else None


async def new_nodes(
    nodes: Sequence[NodeDefinition],
    known: Mapping[str, str],
    terms: Terms,
    desk: Desk,
    earlier: Earlier = NOTHING,
) -> NewNodes:
    """Nodes of a checked definition as tasks; `known` are the task ids of nodes that are there already.

    Raises `InvalidWorkflow` naming every node whose data its type does not take.
    """
    ids = {**known, **{node.id: new_id() for node in nodes}}
    compiled = compile_nodes(nodes, ids)
    make = _Maker(terms, desk)
    tasks: list[NewTask] = []
    problems: list[Problem] = []
    for place, node in enumerate(compiled):
        if place % _AT_ONCE == _AT_ONCE - 1:
            await asyncio.sleep(0)  # thousands of nodes must not keep the loop from others
        try:
            tasks.append(make.task(node))
            earlier.apply(node.node.id, tasks[-1])
        except InvalidTask as error:
            problems.append(Problem(f"nodes.{place}", f"node {node.node.id!r}: {error}"))
    if problems:
        raise InvalidWorkflow(problems)
    stops = [terms.stops if node.on_failure is None else node.on_failure == "stop" for node in nodes]
    return NewNodes(tasks, compiled, stops, earlier)


class _Maker:
    """Makes the tasks of one workflow."""

    def __init__(self, terms: Terms, desk: Desk) -> None:
        self._terms = terms
        self._desk = desk
        self._options: dict[str, TaskOptions] = {}

    def task(self, one: NodeTask) -> NewTask:
        node, terms = one.node, self._terms
        metadata = {"node": node.id}
        if node.name:
            metadata["name"] = node.name
        if node.description:
            metadata["description"] = node.description
        task = self._desk.prepare(
            one.type,
            one.data,
            options=self._options_of(one),
            priority=terms.priority if node.priority is None else node.priority,
            tenant=terms.tenant if node.tenant is None else node.tenant,
            deadline=self._deadline(node),
            program=terms.workflow,
            after=one.after,
            pools=node.pools,
            metadata=metadata,
            estimated_seconds=node.estimated_seconds,
        )
        task.id = one.id
        return task

    def _deadline(self, node: NodeDefinition) -> float | None:
        own = None if node.deadline_seconds is None else self._terms.begun + node.deadline_seconds
        return min((at for at in (own, self._terms.deadline) if at is not None), default=None)

    def _options_of(self, one: NodeTask) -> TaskOptions:
        options = self._options.get(one.type)
        if options is None:
            # Others need its result, whatever its type says of keeping it.
            options = replace(self._desk.options_of(one.type), keep=True)
            self._options[one.type] = options
        node = one.node
        given: dict[str, Any] = {
            name: value
            for name, value in (
                ("max_retries", node.max_retries),
                ("retry_delay", node.retry_delay),
                ("timeout", node.timeout),
            )
            if value is not None
        }
        if one.refs:
            given["refs"] = True
        if (fallback := one.fallback) is not None:
            data = fallback.value if fallback.type is None else fallback.data
            given["fallback"] = Fallback(fallback.type, data).text
        return replace(options, **given) if given else options
