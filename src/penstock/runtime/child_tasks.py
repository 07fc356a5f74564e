"""Tasks that a handler starts and waits for."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from penstock.errors import ChildFailed, InvalidTask, Parked, PenstockError, StoreError
from penstock.model.options import read_options
from penstock.model.states import TaskStatus
from penstock.model.task import Added, Existing, NewTask
from penstock.model.waits import TASK, Wait
from penstock.runtime.committer import run_whole
from penstock.stores.contract import AddOutcome, Transaction

if TYPE_CHECKING:
    from penstock.runtime.context import TaskContext

Work: TypeAlias = str | Callable[..., Any]
"""what a child does: a task type, or a task function of the same manager"""


@dataclass(frozen=True, slots=True)
class Nursery:
    """How tasks come into being: `named` gives the type that a text or a task function stands for,
    `prepare(type, data, details)` checks and ranks one as the door does, `notice` tells the dispatcher of
    those that were added, and `grow` adds nodes to a context's workflow."""

    named: Callable[[Any], str]
    prepare: Callable[[str, Any, dict[str, Any]], NewTask]
    notice: Callable[[Sequence[AddOutcome], Sequence[NewTask]], None]
    grow: Callable[[TaskContext, Sequence[Any]], Awaitable[dict[str, str]]]


class Child:
    """A task that a handler started; `id` names it. `mark` is the same for the child that a retry of the
    handler's task starts in its place."""

    __slots__ = ("_context", "_mark", "_seq", "_type", "id")

    def __init__(self, context: TaskContext, id: str, seq: int, type: str, mark: str) -> None:
        self._context = context
        self._mark = mark
        self._seq = seq
        self._type = type
        self.id = id

    async def result(self, patience: float | None = None) -> Any:
        """Its result, recorded. Raises `ChildFailed` when it failed or was cancelled. `patience` are seconds
        before the waiting task is suspended (of the settings, if not given)."""
        context, id = self._context, self.id
        step = context.step_key(f"result {self._type}", (self._mark,), {})
        found = await context.recorded_wait(
            step, Wait(f"{TASK}{self._seq}"), lambda store: _outcome(store, id), patience
        )
        if found["status"] == TaskStatus.COMPLETED:
            return found["result"]
        error = found["error"] or {}
        why = f": {error['message']}" if "message" in error else ""
        raise ChildFailed(f"child task {id} {_how(found['status'])}{why}"[:2000], id, error)


def _how(status: str) -> str:
    return {"failed": "failed", "cancelled": "was cancelled"}.get(status, "is gone")


def _outcome(store: Transaction, id: str) -> dict[str, Any] | None:
    known = store.results_of([id]).get(id)
    if known is None:
        return {
            "child": id,
            "status": "gone",
            "error": {"code": "task_not_found", "message": "it was removed"},
        }
    status, result, error = known
    if not status.final:
        return None
    read = {"child": id, "status": status.value, "result": None if result is None else json.loads(result)}
    return read | {"error": None if error is None else json.loads(error)}


async def begin_child(
    context: TaskContext, work: Work, data: Any, key: str | None, detached: bool, details: dict[str, Any]
) -> Child:
    """Submit a child task and record it, in one transaction."""
    type = context.services.nursery.named(work)
    step = context.step_key(f"start {type}", (data,), {}, key)
    known = await context.recorder.find(step)
    if known is not None:
        id, seq = json.loads(known)
        return Child(context, id, seq, type, await context.recorder.scope_of(step))
    context.check_parked()
    services, parent = context.services, context.task
    task = services.nursery.prepare(type, data, _inherited(context, details))
    if not (detached or read_options(task.options).keep):
        raise InvalidTask(f"the result of a child must be kept, or start the {type!r} task as detached")
    async with context.recorder.making(step) as made:
        if made.known is not None:
            id, seq = json.loads(made.known)
            return Child(context, id, seq, type, await context.recorder.scope_of(step))

        def add(store: Transaction) -> tuple[AddOutcome | None, int]:
            if not store.holds(parent.seq, parent.claim_no):
                return None, 0
            outcome = store.add([task])[0]
            if isinstance(outcome, PenstockError):
                return outcome, 0
            seq = outcome.seq if isinstance(outcome, Added) else _known(store, outcome, parent.seq, detached)
            store.adopt(parent.seq, seq, detached, joined=not isinstance(outcome, Added))
            made.write(store, [outcome.id, seq])
            return outcome, seq

        def landed(answer: tuple[AddOutcome | None, int]) -> None:
            if isinstance(answer[0], Added | Existing):
                services.nursery.notice([answer[0]], [task])  # whether or not the caller still waits
                made.landed(answer)

        outcome, seq = await run_whole(services.committer, add, landed)
        if outcome is None:
            raise Parked
        if isinstance(outcome, PenstockError):
            raise outcome
    return Child(context, outcome.id, seq, type, await context.recorder.scope_of(step))


def _known(store: Transaction, outcome: Existing, parent: int, detached: bool) -> int:
    """The number of a child that was there already; its parent must be able to wait for a result of it."""
    view = store.task(outcome.id)
    if view is None:
        raise StoreError(f"task {outcome.id} is not there")
    if view.seq == parent:
        raise InvalidTask("a task cannot be its own child; its key is that of the child")
    kept = not (view.result_expired or (isinstance(view.options, dict) and view.options.get("keep") is False))
    if not (detached or kept):
        raise InvalidTask(f"the child is to be task {view.id}, whose result is not kept")
    return view.seq


def _inherited(context: TaskContext, details: dict[str, Any]) -> dict[str, Any]:
    task = context.task
    own: dict[str, Any] = {"tenant": task.tenant, "program": task.program or task.id}
    if "service_class" not in details:
        own["priority"] = task.priority
    bounded = {"deadline", "slo_seconds", "service_class"} & details.keys()
    if not bounded and task.deadline is not None and task.deadline > context.services.clock.wall():
        own["deadline"] = task.deadline  # one that has passed already would only be refused
    return own | details
