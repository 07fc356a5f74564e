"""A running workflow grows: one of its nodes adds nodes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from penstock.errors import InvalidTask, InvalidWorkflow, Problem, WorkflowStopped
from penstock.model.task import NewTask, TaskView
from penstock.runtime.context import TaskContext
from penstock.stores.asks import TaskFilter
from penstock.stores.contract import AddOutcome, Reader, Transaction
from penstock.workflows.adding import Desk, Terms, new_nodes
from penstock.workflows.definition import NodeDefinition
from penstock.workflows.validation import MOST_NODES, read_nodes

# A node's name, before a path into its result, in a template.
_IN_TEXT = re.compile(r"\$\{([^}/]{1,200})")
_MOST_NAMES, _LONGEST = 1_000, 200

Nodes = Sequence[Mapping[str, Any] | NodeDefinition]


async def grow(context: TaskContext, nodes: Nodes, desk: Desk) -> dict[str, str]:
    """Add nodes to the workflow that this task is a node of; their task ids, by node. Recorded: once.

    They may need any node that is there. Raises `InvalidWorkflow` with all that is wrong, `WorkflowStopped`
    when a failure or its deadline stopped the workflow meanwhile, `InvalidTask` outside of workflows.
    """
    outcomes: list[AddOutcome] = []
    tasks: list[NewTask] = []
    given: object = nodes
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise InvalidWorkflow([Problem("nodes", f"must be a list of nodes, not {nodes!r:.80}")])
    plain = [
        one.model_dump(mode="json", exclude_unset=True) if isinstance(one, NodeDefinition) else one
        for one in nodes
    ]

    async def begin() -> Callable[[Transaction], dict[str, str]]:
        look = context.services.committer.read
        group, leader, stops, known = await look(lambda reader: _around(reader, context, _named(plain)))
        try:
            read = read_nodes(plain, known, types=desk.types)
        except InvalidWorkflow:  # who knows all names can say which one was meant
            known = (await look(lambda reader: _around(reader, context, None)))[3]
            read = read_nodes(plain, known, types=desk.types)
        terms = Terms(
            leader.id, leader.priority, leader.tenant, leader.created_at, context.task.deadline, stops
        )
        new = await new_nodes(read, known, terms, desk)
        tasks.extend(new.tasks)

        def add(store: Transaction) -> dict[str, str]:
            joined = new.join(store, group)
            if joined is None:
                raise WorkflowStopped(f"workflow {leader.id} was stopped; no nodes can join it")
            outcomes.extend(joined)
            return {node.node.id: node.id for node in new.nodes}

        return add

    ids: dict[str, str] = await context.recorder.once(context.step_key("grow", (plain,), {}), begin)
    if tasks:
        context.services.nursery.notice(outcomes, tasks)
    return ids


def _around(
    reader: Reader, context: TaskContext, names: Sequence[str] | None
) -> tuple[int, TaskView, bool, dict[str, str]]:
    """(group, its leading task, whether failures stop it, task ids by node) of the task's workflow; of the
    nodes only those of these names, unless there are so many that they have to be counted."""
    found = reader.group_of(context.task.seq)
    if found is None:
        raise InvalidTask(f"task {context.task_id} is no node of a workflow; only nodes can add nodes to it")
    group = reader.group(found[0])
    [leader] = reader.tasks(TaskFilter(seqs=(found[0],)), whole=False)
    if names and group is not None and group.total + len(names) <= MOST_NODES:
        known = {view.node: view.id for view in reader.members(found[0], names)}
    else:
        known = reader.member_ids(found[0])
    return found[0], leader, group is None or group.stops, known


def _named(nodes: Any) -> list[str] | None:
    """All texts in the nodes that may be names of nodes; `None` where they are too many to be of use."""
    pending, found = [nodes], dict[str, None]()
    while pending and len(found) <= _MOST_NAMES:
        value = pending.pop()
        if isinstance(value, str):
            found[value[:_LONGEST]] = None
            found.update(dict.fromkeys(_IN_TEXT.findall(value)))
        elif isinstance(value, Mapping):
            pending.extend(value.values())
        elif isinstance(value, Sequence):
            pending.extend(value)
    return None if pending else list(found)
