"""Tasks: submit, list, look, wait, and control one of them."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Query, Request, Response

from penstock.errors import WaitTimeout
from penstock.model.priority import read_priority
from penstock.model.states import TaskStatus
from penstock.model.task import TaskView
from penstock.service.access import Submitter, TaskId, Viewer, find_task, of_leader, visible
from penstock.service.auth import allowed
from penstock.service.bulk import BulkReply, Terms
from penstock.service.errors import HttpProblem
from penstock.service.idempotency import IdempotencyKey, key_of
from penstock.service.intake import accepted, submission_of, submit, told
from penstock.service.json_body import Reply, read_json
from penstock.service.labels import NAME, batch_tag, workflow_key
from penstock.service.routing import errors, make_router, read_body
from penstock.service.schemas import (
    Accepted,
    BatchId,
    Changed,
    ListQuery,
    ResultReply,
    RetryIn,
    TaskIn,
    TaskReply,
)
from penstock.service.service import Service, service_of
from penstock.service.task_replies import result_reply, task_reply
from penstock.stores.contract import TaskFilter

router = make_router("tasks")

LONGEST_WAIT = 300.0


async def submit_task(
    request: Request, principal: Submitter, task: TaskIn, key: IdempotencyKey = None
) -> Response:
    """Submit one task; the reply is sent when it is durable.

    The same `Idempotency-Key` with the same type and payload gives the same task, as long as it is kept.
    """
    service = service_of(request)
    one = submission_of(service, principal, task, key)
    outcomes, tasks = await submit(service, principal, [one])
    reply = await accepted(service, outcomes[0], tasks[0])
    return Reply(reply, 202, {"location": f"/tasks/{reply['task_id']}"})


_may_submit = allowed("submit")


async def _submit_directly(request: Request) -> Response:
    principal = await _may_submit(request, None)
    key = key_of(request)
    return await submit_task(request, principal, await read_body(request, TaskIn), key)


submit_task.direct = _submit_directly  # type: ignore[attr-defined]
router.post(
    "/tasks",
    name="submit_task",
    response_model=Accepted,
    status_code=202,
    responses=errors(402, 404, 409, 413),
)(submit_task)
router.post("/task", name="submit_task_alias", status_code=202, include_in_schema=False)(submit_task)


@router.get("/tasks", name="list_tasks", response_model=list[TaskReply])
async def list_tasks(request: Request, principal: Viewer, asked: Annotated[ListQuery, Query()]) -> Response:
    """A page of tasks, newest first. Where more follow, `Link` and `x-next-cursor` say how to get them."""
    service, tenant = service_of(request), visible(principal, asked.tenant)
    where, limit = await of_leader(service.engine, _where(asked, tenant), asked.workflow), asked.limit
    views: list[TaskView] = await service.engine.read(
        lambda reader: reader.tasks(where, asked.cursor or 0, limit + 1, whole=False)
    )
    now = service.engine.clock.wall()
    headers = _next(request, views[limit - 1].seq) if len(views) > limit else {}
    return Reply([task_reply(view, now) for view in views[:limit]], headers=headers)


def _where(asked: ListQuery, tenant: str | None) -> TaskFilter:
    batch = () if asked.batch_id is None else (batch_tag(tenant or "", asked.batch_id),)
    return TaskFilter(
        statuses=tuple(asked.status),
        types=tuple(asked.task_type),
        tenant=tenant,
        tags=(*asked.tag, *batch),
        metadata={**_metadata(asked.metadata), **({} if asked.name is None else {NAME: asked.name})},
        priorities=tuple(map(read_priority, asked.priority)),
        program=None if asked.workflow is None else workflow_key(tenant or "", asked.workflow),
    )


@router.get("/tasks/{task_id}", name="get_task", response_model=TaskReply, responses=errors(404))
@router.get("/task/{task_id}", name="get_task_alias", include_in_schema=False)
async def get_task(request: Request, principal: Viewer, task_id: TaskId) -> Response:
    """A task as it stands."""
    engine = service_of(request).engine
    return Reply(task_reply(await find_task(engine, principal, task_id), engine.clock.wall()))


@router.get(
    "/tasks/{task_id}/result",
    name="get_task_result",
    response_model=ResultReply,
    responses={202: {"model": ResultReply, "description": "It has not ended yet."}, **errors(404)},
)
async def get_task_result(
    request: Request,
    principal: Viewer,
    task_id: TaskId,
    wait: Annotated[float, Query(ge=0, le=LONGEST_WAIT, allow_inf_nan=False)] = 0.0,
) -> Response:
    """How a task ended; `wait` is how many seconds to wait for its end."""
    service = service_of(request)
    view = await find_task(service.engine, principal, task_id)
    if not view.status.final and wait > 0:
        await _wait(service, request, task_id, wait)
        view = await find_task(service.engine, principal, task_id)
    done = view.status.final
    reply = result_reply(view, service.engine.clock.wall())
    return Reply(reply, 200 if done else 202, {} if done else {"retry-after": "1"})


@router.post("/tasks/{task_id}/cancel", name="cancel_task", response_model=Changed, responses=errors(404))
async def cancel_task(request: Request, principal: Submitter, task_id: TaskId) -> Response:
    """Cancel a task that waits, or one that runs at its next wait."""
    engine = service_of(request).engine
    await find_task(engine, principal, task_id)
    return await _changed(request, principal, task_id, (await engine.cancel(task_id)).get(task_id, False))


@router.post("/tasks/{task_id}/pause", name="pause_task", response_model=Changed, responses=errors(404))
async def pause_task(request: Request, principal: Submitter, task_id: TaskId) -> Response:
    """Do not start a task that waits; what comes for one that is suspended is kept."""
    engine = service_of(request).engine
    await find_task(engine, principal, task_id)
    return await _changed(request, principal, task_id, bool(await engine.pause(TaskFilter(ids=(task_id,)))))


@router.post("/tasks/{task_id}/resume", name="resume_task", response_model=Changed, responses=errors(404))
async def resume_task(request: Request, principal: Submitter, task_id: TaskId) -> Response:
    """Let a paused task go on."""
    engine = service_of(request).engine
    await find_task(engine, principal, task_id)
    return await _changed(request, principal, task_id, bool(await engine.resume(TaskFilter(ids=(task_id,)))))


@router.post(
    "/tasks/{task_id}/retry",
    name="retry_task",
    response_model=Accepted,
    status_code=202,
    responses=errors(404),
)
async def retry_task(
    request: Request, principal: Submitter, task_id: TaskId, how: RetryIn | None = None
) -> Response:
    """Try a failed or cancelled task again, as a new one; what was recorded is not paid again unless
    `fresh`."""
    engine = service_of(request).engine
    await find_task(engine, principal, task_id)
    id = await engine.retry(task_id, how is not None and how.fresh)
    return Reply(told(id, TaskStatus.QUEUED), 202, {"location": f"/tasks/{id}"})


@router.post(
    "/tasks/bulk",
    name="submit_bulk",
    response_class=Response,
    responses={
        200: {
            "description": "A line of JSON for each line: `{line, task_id, status}` or `{line, error}`; then "
            "`{done, lines, accepted, refused}`.",
            "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
        }
    },
    openapi_extra={
        "requestBody": {
            "description": "A task in JSON on each line, of any number.",
            "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
        }
    },
)
async def submit_bulk(
    request: Request,
    principal: Submitter,
    batch_id: Annotated[BatchId | None, Query(description="the batch that all of them belong to")] = None,
    key: IdempotencyKey = None,
) -> Response:
    """Submit any number of tasks, one a line, while they are read; outcomes come as chunks become durable.

    With an `Idempotency-Key`, a stream that broke can be sent again as a whole.
    """
    return BulkReply(service_of(request), principal, Terms(key, batch_id))


async def _changed(request: Request, principal: Viewer, task_id: str, changed: bool) -> Response:
    view = await find_task(service_of(request).engine, principal, task_id)
    return Reply({"task_id": task_id, "changed": changed, "status": str(view.status)})


async def _wait(service: Service, request: Request, task_id: str, seconds: float) -> None:
    """Until the task has ended, the time is over, the client is gone or the service stops."""
    if service.long_polls >= service.config.most_parked:
        raise HttpProblem(503, "too_many_waiting", "too many requests wait for results already")
    service.long_polls += 1
    end = asyncio.ensure_future(service.engine.waiters.outcome(task_id, seconds))
    closing = asyncio.ensure_future(service.closing.wait())
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({end, closing, gone}, return_when=asyncio.FIRST_COMPLETED)
        if end.done():
            end.result()
    except WaitTimeout:
        pass
    finally:
        service.long_polls -= 1
        for one in (end, closing, gone):
            one.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _metadata(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        data = read_json(text.encode("utf-8", "replace"))
    except ValueError:
        data = None
    if not isinstance(data, dict):
        raise HttpProblem(422, "invalid_request", "metadata: give a JSON object", param="metadata")
    return data


def _next(request: Request, seq: int) -> dict[str, str]:
    asked = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    query = urlencode([*asked, ("cursor", seq)], errors="replace")
    return {"link": f'<{request.url.path}?{query}>; rel="next"', "x-next-cursor": str(seq)}
