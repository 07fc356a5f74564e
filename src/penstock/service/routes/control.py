"""Cancel, pause and resume many tasks: of a type, a tenant, a tag, a workflow, a batch, or everything."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from fastapi import Request, Response

from penstock.manager.engine import Manager
from penstock.model.states import PAUSABLE, TaskStatus
from penstock.service.access import Submitter, Viewer, of_leader, visible
from penstock.service.auth import Principal
from penstock.service.errors import HttpProblem
from penstock.service.intake import type_of
from penstock.service.json_body import Reply
from penstock.service.labels import batch_tag, workflow_key
from penstock.service.routing import errors, make_router
from penstock.service.schemas import ChangedMany, ControlReply, Selection
from penstock.service.service import service_of
from penstock.stores.contract import Reader, TaskFilter

router = make_router("control")

_CHUNK = 500
_UNFINISHED = tuple(status for status in TaskStatus if not status.final)
_PAUSABLE = tuple(status for status in TaskStatus if status in PAUSABLE)


@router.get("/control", name="get_control", response_model=ControlReply)
async def get_control(request: Request, principal: Viewer) -> Response:
    """What is paused as a whole."""
    scopes: list[str] = await service_of(request).engine.read(lambda reader: reader.pauses())
    if not principal.sees_all:
        scopes = [scope for scope in scopes if not scope.startswith("tenant:")]
    return Reply({"paused": scopes})


@router.post("/control/cancel", name="cancel_tasks", response_model=ChangedMany, responses=errors(404))
async def cancel_tasks(request: Request, principal: Submitter, selection: Selection) -> Response:
    """Cancel all unfinished tasks that match, in chunks beside other work."""
    engine = service_of(request).engine

    async def cancel(some: TaskFilter) -> int:
        return sum((await engine.cancel_where(some)).values())

    count = await _in_chunks(engine, await _where(engine, principal, selection, _UNFINISHED), cancel)
    return Reply({"changed": count, "message": "those that run end at their next wait"})


@router.post("/control/pause", name="pause_tasks", response_model=ChangedMany, responses=errors(404))
async def pause_tasks(request: Request, principal: Submitter, selection: Selection) -> Response:
    """Start none of the tasks that match and wait: for their turn, for others that they need, or suspended
    for what is kept for them then.

    Of everything, and of a type for every tenant (both for admin keys of no tenant), also those that come
    later.
    """
    engine, scope = service_of(request).engine, _scope(principal, selection)
    if scope is not None:
        await engine.set_pause(scope, True)
        return Reply({"changed": 0, "message": f"nothing of {scope} is started until it is resumed"})
    count = await _in_chunks(engine, await _where(engine, principal, selection, _PAUSABLE), engine.pause)
    return Reply({"changed": count, "message": "tasks that come later are not paused"})


@router.post("/control/resume", name="resume_tasks", response_model=ChangedMany, responses=errors(404))
async def resume_tasks(request: Request, principal: Submitter, selection: Selection) -> Response:
    """Undo a pause of everything or of a type, and resume single paused tasks that match."""
    engine, scope = service_of(request).engine, _scope(principal, selection)
    if scope is not None:
        await engine.set_pause(scope, False)
    count = await _in_chunks(
        engine, await _where(engine, principal, selection, (TaskStatus.PAUSED,)), engine.resume
    )
    return Reply({"changed": count, "message": "they wait their turn again"})


def _scope(principal: Principal, selection: Selection) -> str | None:
    """What stands for all tasks of a kind, also those that come later."""
    given = selection.model_dump(exclude_none=True)
    if principal.sees_all and set(given) == {"everything"}:
        return "all"
    if principal.sees_all and set(given) == {"task_type"}:
        return f"type:{type_of(given['task_type'])}"
    return None


async def _where(
    engine: Manager, principal: Principal, selection: Selection, statuses: tuple[TaskStatus, ...]
) -> TaskFilter:
    given = selection.model_dump(exclude_none=True)
    if not given or ("everything" in given and len(given) > 1):
        message = "say which tasks: everything, or some of task_type, tenant, tag, workflow, batch_id"
        raise HttpProblem(422, "invalid_request", message)
    tenant = visible(principal, selection.tenant)
    tags = () if selection.tag is None else (selection.tag,)
    if selection.batch_id is not None:
        tags = (*tags, batch_tag(tenant or "", selection.batch_id))
    where = TaskFilter(
        statuses=statuses,
        types=() if selection.task_type is None else (type_of(selection.task_type),),
        tenant=tenant,
        tags=tags,
        program=None if selection.workflow is None else workflow_key(tenant or "", selection.workflow),
    )
    return await of_leader(engine, where, selection.workflow)


async def _in_chunks(engine: Manager, where: TaskFilter, work: Callable[[TaskFilter], Awaitable[int]]) -> int:
    """Do it with a few tasks at a time, so that no other commit waits for long."""
    count = after = 0
    while True:
        found: list[tuple[int, str]] = await engine.read(partial(_ids, where, after))
        if not found:
            return count
        count += await work(TaskFilter(seqs=tuple(seq for seq, _ in found), statuses=where.statuses))
        after = found[-1][0]


def _ids(where: TaskFilter, after: int, reader: Reader) -> list[tuple[int, str]]:
    return reader.ids(where, after, _CHUNK)
