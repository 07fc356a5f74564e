"""What tasks wait for from outside: events, and the answers of people; and copies that go on from a step."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

from fastapi import Query, Request, Response

from penstock.manager.letters import approval_of
from penstock.model.clock import iso_time
from penstock.model.states import TaskStatus
from penstock.model.waits import Await
from penstock.service.access import Submitter, TaskId, Viewer, find_task, visible
from penstock.service.confining import own_workflow
from penstock.service.intake import told, type_of
from penstock.service.json_body import Reply
from penstock.service.routing import errors, make_router
from penstock.service.schemas import Accepted, TenantName
from penstock.service.service import service_of
from penstock.service.workflow_schemas import ApprovalReply, DecisionIn, EventIn, ForkIn, Sent
from penstock.stores.contract import Reader
from penstock.workflows.coordinator import TYPE as WORKFLOW_TYPE

router = make_router("tasks")

_MOST_AT_ONCE = 100_000


@router.post(
    "/tasks/{task_id}/events",
    name="send_event",
    response_model=Sent,
    status_code=202,
    responses=errors(404, 409, 413),
)
async def send_event(request: Request, principal: Submitter, task_id: TaskId, event: EventIn) -> Response:
    """Send an event to a task, whether it waits for it yet or not; the reply is sent when it is durable."""
    engine = service_of(request).engine
    view = await find_task(engine, principal, task_id)
    await engine.send_event(view.id, event.name, event.data, principal.name)
    message = f"the event is kept until the task takes it; the task is {view.status}"
    return Reply({"task_id": view.id, "name": event.name, "message": message}, 202)


@router.get("/approvals", name="list_approvals", response_model=list[ApprovalReply])
async def list_approvals(
    request: Request,
    principal: Viewer,
    tenant: Annotated[TenantName | None, Query(description="only for an admin key of no tenant")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    cursor: Annotated[float, Query(ge=0, le=1e12, allow_inf_nan=False)] = 0.0,
) -> Response:
    """A page of what people are asked and nobody has answered yet, the oldest first. Where more follow,
    `x-next-cursor` says how to get them."""
    whose = visible(principal, tenant)
    page, more = await service_of(request).engine.read(partial(_approvals, whose, cursor, limit))
    headers = {"x-next-cursor": repr(page[-1].asked_at)} if more else {}
    return Reply([_told(one) for one in page], headers=headers)


@router.post(
    "/tasks/{task_id}/decision",
    name="decide_task",
    response_model=Sent,
    status_code=202,
    responses=errors(404, 409, 413),
)
async def decide_task(
    request: Request, principal: Submitter, task_id: TaskId, decision: DecisionIn
) -> Response:
    """Answer an approval that a task asks for, in the name of this key; the first answer counts."""
    engine = service_of(request).engine
    view = await find_task(engine, principal, task_id)
    await engine.decide(
        view.id,
        decision.approved,
        name=decision.name,
        by=principal.name,
        comment=decision.comment,
        data=decision.data,
    )
    message = f"the task is told that it is {'' if decision.approved else 'not '}approved"
    return Reply({"task_id": view.id, "name": decision.name or "", "message": message}, 202)


@router.post(
    "/tasks/{task_id}/fork",
    name="fork_task",
    response_model=Accepted,
    status_code=202,
    responses=errors(404, 413),
)
async def fork_task(request: Request, principal: Submitter, task_id: TaskId, how: ForkIn) -> Response:
    """Add a copy of a task that has its recorded steps up to but without one; the task goes on as it is."""
    engine = service_of(request).engine
    view = await find_task(engine, principal, task_id)
    data: Any = how.data
    if data is not None and type_of(view.type) == WORKFLOW_TYPE:
        data = own_workflow(principal, data, view.tenant)
    id = await engine.fork(view.id, how.step, data)
    return Reply(told(id, TaskStatus.QUEUED), 202, {"location": f"/tasks/{id}"})


def _approvals(tenant: str | None, after: float, limit: int, reader: Reader) -> tuple[Sequence[Await], bool]:
    """A page, and whether more follow. It ends between two instants, for those are what a cursor knows."""
    wanted = limit
    while True:
        found = reader.approvals(tenant, after, wanted + 1)
        if len(found) <= wanted:
            return found, False
        last = found[wanted].asked_at
        page = [one for one in found if one.asked_at < last]
        if page or wanted >= _MOST_AT_ONCE:
            return page or found, True
        wanted = wanted * 4


def _told(one: Await) -> dict[str, Any]:
    asked = approval_of(one)
    return {
        "task_id": asked.task_id,
        "name": asked.name,
        "question": asked.question,
        "details": asked.details,
        "task_type": asked.type,
        "tenant": asked.tenant,
        "asked_at": iso_time(asked.asked_at),
        "until": None if asked.until is None else iso_time(asked.until),
    }
