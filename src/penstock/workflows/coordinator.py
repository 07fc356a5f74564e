"""The task that leads a workflow: adds the nodes, waits for them, undoes what has to be undone, and has the
result.

Everything that it decides follows from what is in the store: its group, which only ever moves towards its
end. So it may die anywhere: what runs next finds the same.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from penstock.errors import WorkflowFailed
from penstock.model.group import Group, MemberView
from penstock.model.program_budget import ProgramBudget
from penstock.model.states import TaskStatus
from penstock.model.task import NewTask, TaskView
from penstock.model.usage import to_pico
from penstock.model.waits import GROUP, TASK, Wait
from penstock.runtime.context import TaskContext
from penstock.stores.asks import TaskFilter
from penstock.stores.contract import AddOutcome, Reader, Transaction
from penstock.workflows.adding import Desk, Terms, new_nodes
from penstock.workflows.budgets import first_budget
from penstock.workflows.compiling import result_nodes, shaped, stands_alone
from penstock.workflows.definition import WorkflowDefinition
from penstock.workflows.rollback import roll_back
from penstock.workflows.taking_over import WORKFLOW, children_of, earlier_run, run_before

TYPE = WORKFLOW

_LARGE = 100_000


async def lead(context: TaskContext, desk: Desk) -> Any:
    """The handler of workflows."""
    begun = await _begin(context, desk)
    until = min((at for at in (begun["deadline"], begun["timeout_at"]) if at is not None), default=None)
    group = await _all_ended(context, until)
    if not group.closed:
        found = await _result(context, group, begun)
        if found is not None:
            return found[0]
    error = await _reason(context, group, begun)
    undone = await roll_back(context, group.id)
    raise WorkflowFailed(f"{error}{undone}", error.code)


async def _begin(context: TaskContext, desk: Desk) -> dict[str, Any]:
    """Add all nodes, once; until when the workflow has time (seconds since the epoch), and what it gives."""
    outcomes: list[AddOutcome] = []
    tasks: list[NewTask] = []

    async def begin() -> Callable[[Transaction], dict[str, Any]]:
        definition = await _definition(context)
        terms = _terms(context, definition)
        await _run_before_ended(context)
        look = context.services.committer.read
        earlier = await look(lambda reader: earlier_run(reader, _view(reader, context), definition))
        new = await new_nodes(definition.nodes, {}, terms, desk, earlier)
        tasks.extend(new.tasks)
        timeout_at = None if definition.timeout is None else context.task.started_at + definition.timeout

        output = list(result_nodes(definition))
        told = {
            "deadline": terms.deadline,
            "timeout_at": timeout_at,
            "output": output,
            "alone": stands_alone(definition, output),
        }

        def add(store: Transaction) -> dict[str, Any]:
            store.open_group(context.task.seq, definition.max_concurrent, terms.stops)
            store.open_budget(first_budget(store, _view(store, context), _budget(context, definition)))
            outcomes.extend(new.join(store, context.task.seq) or ())
            return told

        return add

    told: dict[str, Any] = await context.recorder.once(context.step_key("add nodes", (), {}), begin)
    if tasks:
        context.services.nursery.notice(outcomes, tasks)
    return told


async def _run_before_ended(context: TaskContext) -> None:
    """Tried again right after a cancel: nodes of that run that are still at work come to their end first, for
    all that they have recorded until then is taken over; and so does what undoes nodes."""
    look = context.services.committer.read
    before = await look(lambda reader: run_before(reader, _view(reader, context)))
    if before is None or before[1]:
        return
    id = before[0].seq

    def ended(store: Reader) -> bool | None:
        group = store.group(id)
        return True if group is None or not group.open else None

    if await look(ended) is None:
        await context.waiting(Wait(f"{GROUP}{id}"), ended)
    for view in await look(lambda reader: children_of(reader, id)):
        if not view.status.final:
            await context.waiting(Wait(f"{TASK}{view.seq}"), partial(_gone, view.seq))


def _gone(seq: int, store: Reader) -> bool | None:
    """Whether this task has ended."""
    found = store.tasks(TaskFilter(seqs=(seq,)), whole=False)
    return True if not found or found[0].status.final else None


async def _definition(context: TaskContext) -> WorkflowDefinition:
    """The workflow's data; a large one is read in a thread, so that it keeps nobody from running."""
    text = context.task.payload or "{}"
    if len(text) < _LARGE:
        return WorkflowDefinition.model_validate_json(text)
    return await asyncio.to_thread(WorkflowDefinition.model_validate_json, text)


def _view(reader: Reader, context: TaskContext) -> TaskView:
    """The workflow's own task."""
    [view] = reader.tasks(TaskFilter(seqs=(context.task.seq,)), whole=False)
    return view


def _budget(context: TaskContext, definition: WorkflowDefinition) -> ProgramBudget:
    """What all that belongs to the workflow may use, within what its own task belongs to."""
    limit = None if definition.budget is None else to_pico(definition.budget)
    task = context.task
    return ProgramBudget(task.id, definition.name, limit, definition.max_tokens, task.program)


def _terms(context: TaskContext, definition: WorkflowDefinition) -> Terms:
    task = context.task
    deadline = task.deadline
    if definition.deadline_seconds is not None:
        own = task.created_at + definition.deadline_seconds
        deadline = own if deadline is None else min(own, deadline)
    if deadline is not None and deadline <= context.services.clock.wall():
        raise WorkflowFailed("its deadline passed before it began", "workflow_deadline")
    return Terms(
        task.id, task.priority, task.tenant, task.created_at, deadline, definition.on_failure == "stop"
    )


async def _all_ended(context: TaskContext, until: float | None) -> Group:
    """The group once none of its tasks is open; when its time is over, what is open is cancelled."""
    id, clock = context.task.seq, context.services.clock

    def look(store: Transaction) -> Group | None:
        group = _group(store, id)
        if group.open and not group.closed and until is not None and clock.wall() >= until:
            store.close_group(id, clock.wall())
            group = _group(store, id)
        return group if group.closed or not group.open else None

    def look_at_rest(store: Transaction) -> Group | None:
        group = _group(store, id)
        return None if group.open else group

    group = await context.waiting(Wait(f"{GROUP}{id}", until), look)
    if group.open:
        group = await context.waiting(Wait(f"{GROUP}{id}"), look_at_rest)
    return group


def _group(store: Reader, id: int) -> Group:
    group = store.group(id)
    if group is None:  # it came with the journal of another
        raise WorkflowFailed("a copy of a workflow has no nodes; run it anew", "workflow_copied")
    return group


async def _result(context: TaskContext, group: Group, begun: Mapping[str, Any]) -> tuple[Any] | None:
    """The workflow's result; `None` where no node of its output completed."""
    wanted = begun["output"]

    def look(reader: Reader) -> dict[str, str | None]:
        ids = {view.node: view.id for view in reader.members(group.id, wanted)}
        found = reader.results_of(list(ids.values()))
        return {
            node: found[id][1]
            for node, id in ids.items()
            if id in found and found[id][0] is TaskStatus.COMPLETED
        }

    texts = await context.services.committer.read(look)
    results = {node: None if text is None else json.loads(text) for node, text in texts.items()}
    return (shaped(wanted, begun["alone"], results),) if results else None


async def _reason(context: TaskContext, group: Group, begun: Mapping[str, Any]) -> WorkflowFailed:
    """Why the workflow did not complete."""
    if group.stopped_by is not None:
        node = group.stopped_by
        [view] = await context.services.committer.read(lambda reader: reader.members(group.id, [node]))
        return WorkflowFailed(f"node {node!r} {_how(view)}")
    now = context.services.clock.wall()
    if not group.closed:
        return WorkflowFailed(f"none of the nodes of its output completed; {group.failed} failed")
    for name, code in (("deadline", "workflow_deadline"), ("timeout_at", "workflow_timeout")):
        if begun[name] is not None and now >= begun[name]:
            what = "deadline" if name == "deadline" else "timeout"
            return WorkflowFailed(
                f"its {what} passed when {group.completed} of {group.total} nodes were done", code
            )
    return WorkflowFailed("it was stopped by request", "workflow_stopped")


def _how(view: MemberView) -> str:
    if view.status is TaskStatus.CANCELLED:
        return "was cancelled"
    error = {} if view.error is None else json.loads(view.error)
    return f"failed ({error.get('code', 'unknown')}): {error.get('message', 'no reason was given')}"
