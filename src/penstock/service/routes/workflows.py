"""Workflows: run one given as data, see how far it is and what took its time, stop it."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import Path, Query, Request, Response

from penstock.errors import TaskNotFound
from penstock.manager.engine import Manager
from penstock.manager.workflow_views import WorkflowSpending, analysis_of, progress_of, spending_of
from penstock.model.states import TaskStatus
from penstock.model.task import TaskView
from penstock.service.access import Submitter, TaskId, Viewer, find_task, is_task_id, own_tenant, visible
from penstock.service.auth import Principal, allowed
from penstock.service.confining import own_workflow
from penstock.service.errors import HttpProblem
from penstock.service.idempotency import IdempotencyKey, key_of
from penstock.service.intake import KNOWN, told
from penstock.service.json_body import Reply
from penstock.service.labels import workflow_key
from penstock.service.routes.batches import progress_or_404
from penstock.service.routing import errors, json_body, make_router
from penstock.service.schemas import Accepted, Changed, Name, TenantName
from penstock.service.service import service_of
from penstock.service.workflow_replies import node_reply, plain_reply, workflow_reply
from penstock.service.workflow_schemas import (
    AnalysisReply,
    NodeReply,
    StopIn,
    WorkflowBudgetIn,
    WorkflowBudgetReply,
    WorkflowReply,
)
from penstock.stores.contract import Reader, TaskFilter
from penstock.workflows.analysis import Analysis
from penstock.workflows.coordinator import TYPE
from penstock.workflows.definition import WorkflowDefinition

router = make_router("workflows")

ENTERED = "the workflow is durable and waits its turn"
_Tenant = Annotated[TenantName | None, Query(description="only for an admin key of no tenant")]
_EXAMPLE = {
    "name": "report",
    "nodes": [
        {"id": "collect", "type": "llm_call", "data": {"prompt": "Name three turbines."}},
        {
            "id": "write",
            "type": "llm_call",
            "data": {"prompt": {"$text": "Compare them: ${collect/text}"}},
            "max_retries": 2,
        },
    ],
    "deadline_seconds": 3600,
}
# A picture is no page: nothing in it may be run or fetched.
_PICTURE = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}


async def run_workflow(
    request: Request, principal: Submitter, workflow: WorkflowDefinition, key: IdempotencyKey = None
) -> Response:
    """Run a workflow; the reply is sent when it is durable. All that is wrong with it is told at once, in
    `problems` with the path of each.

    The same `Idempotency-Key` with the same workflow gives the same run, as long as it is kept.
    """
    return await _run(service_of(request).engine, principal, workflow.as_dict(), key)


_may_submit = allowed("submit")


async def _run_directly(request: Request) -> Response:
    """What is wrong with a workflow is found by its own check, which tells everything, and in its words."""
    principal = await _may_submit(request, None)
    key = key_of(request)
    return await _run(service_of(request).engine, principal, await json_body(request), key)


async def _run(engine: Manager, principal: Principal, form: Any, key: str | None) -> Response:
    named = form.get("tenant") if isinstance(form, dict) else None
    tenant = own_tenant(principal, named if isinstance(named, str) else None)
    form = own_workflow(principal, form, tenant)
    run = await engine.run(form, **({} if key is None else {"idempotency_key": key}))
    found = await engine.read(lambda reader: reader.results_of([run.id]))
    if run.id not in found:
        raise TaskNotFound(f"workflow {run.id} was removed", run.id)
    status: TaskStatus = found[run.id][0]
    fresh = key is None or status is TaskStatus.QUEUED
    reply = {**told(run.id, status), "message": ENTERED if fresh else KNOWN}
    return Reply(reply, 202, {"location": f"/workflows/{run.id}"})


run_workflow.direct = _run_directly  # type: ignore[attr-defined]
router.post(
    "/workflows",
    name="run_workflow",
    response_model=Accepted,
    status_code=202,
    responses=errors(402, 404, 409, 413),
    openapi_extra={"requestBody": {"content": {"application/json": {"example": _EXAMPLE}}}},
)(run_workflow)


@router.get("/workflows/{workflow}", name="get_workflow", response_model=WorkflowReply, responses=errors(404))
async def get_workflow(
    request: Request, principal: Viewer, workflow: Annotated[Name, Path()], tenant: _Tenant = None
) -> Response:
    """How far a workflow is, by its id; or all tasks that were given this name as their `workflow`."""
    engine, scope = service_of(request).engine, visible(principal, tenant)
    if is_task_id(workflow):
        view = await engine.get(workflow)
        if view is not None and view.type == TYPE and scope in (None, view.tenant):
            leader = view
            progress = await engine.read(lambda reader: progress_of(reader, leader))
            return Reply(workflow_reply(leader, progress, engine.clock.wall()))
    where = TaskFilter(tenant=scope or "", program=workflow_key(scope or "", workflow))
    return Reply(plain_reply(workflow, await progress_or_404(engine, where, "workflow", workflow)))


@router.get(
    "/workflows/{workflow_id}/budget",
    name="get_workflow_budget",
    response_model=WorkflowBudgetReply,
    responses=errors(404),
)
async def get_workflow_budget(request: Request, principal: Viewer, workflow_id: TaskId) -> Response:
    """What was booked on a workflow's budget and on its cap of tokens; nothing where it has neither."""
    engine = service_of(request).engine
    leader = await _find(engine, principal, workflow_id)
    told = await engine.read(lambda reader: spending_of(reader, leader)) or WorkflowSpending.nothing()
    return Reply({"workflow": leader.id, **told.as_dict()})


@router.patch(
    "/workflows/{workflow_id}/budget",
    name="change_workflow_budget",
    response_model=WorkflowBudgetReply,
    responses=errors(404),
)
async def change_workflow_budget(
    request: Request, principal: Submitter, workflow_id: TaskId, changes: WorkflowBudgetIn
) -> Response:
    """Change what a workflow may use in all, at once: calls that wait for it go on. Less than what is spent
    and held is refused. Of one that failed it is what a retry has."""
    engine = service_of(request).engine
    leader = await _find(engine, principal, workflow_id)
    given = changes.model_dump(exclude_unset=True)
    told = await engine.workflow(leader.id).adjust_budget(**given)
    return Reply({"workflow": leader.id, **told.as_dict()})


@router.get(
    "/workflows/{workflow_id}/nodes",
    name="list_workflow_nodes",
    response_model=list[NodeReply],
    responses=errors(404),
)
async def list_workflow_nodes(
    request: Request,
    principal: Viewer,
    workflow_id: TaskId,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    cursor: Annotated[int, Query(ge=0, le=2**62)] = 0,
) -> Response:
    """A page of a workflow's nodes, in the order in which they were added. Where more follow, `x-next-cursor`
    says how to get them."""
    engine = service_of(request).engine
    leader = await _find(engine, principal, workflow_id)
    found = await engine.read(lambda reader: reader.members(leader.seq, limit=limit + 1, after=cursor))
    headers = {"x-next-cursor": str(found[limit - 1].seq)} if len(found) > limit else {}
    return Reply([node_reply(one) for one in found[:limit]], headers=headers)


@router.get(
    "/workflows/{workflow_id}/analysis",
    name="analyse_workflow",
    response_model=AnalysisReply,
    responses={
        200: {
            "description": "What took its time: as JSON, as text or as a picture.",
            "content": {kind: {"schema": {"type": "string"}} for kind in ("text/plain", "image/svg+xml")},
        },
        **errors(404),
    },
)
async def analyse_workflow(
    request: Request,
    principal: Viewer,
    workflow_id: TaskId,
    format: Annotated[
        Literal["json", "text", "svg"] | None, Query(description="else as `Accept` says")
    ] = None,
) -> Response:
    """What took a workflow's time, what waited for what, and what it cost; of one that runs, so far."""
    engine = service_of(request).engine
    leader = await _find(engine, principal, workflow_id)
    now = engine.clock.wall()
    analysis: Analysis = await engine.read(partial(_analysis, leader, now))
    kind = format or _accepted_kind(request.headers.get("accept", ""))
    if kind == "text":
        return Response(await asyncio.to_thread(analysis.as_text), media_type="text/plain; charset=utf-8")
    if kind == "svg":
        picture = await asyncio.to_thread(analysis.as_svg)
        return Response(picture, media_type="image/svg+xml", headers=_PICTURE)
    return Reply(analysis.as_dict())


@router.post(
    "/workflows/{workflow_id}/cancel",
    name="cancel_workflow",
    response_model=Changed,
    responses=errors(404),
)
async def cancel_workflow(
    request: Request, principal: Submitter, workflow_id: TaskId, how: StopIn | None = None
) -> Response:
    """Cancel a workflow with all its nodes; or, with `undo`, have what completed undone."""
    engine = service_of(request).engine
    leader = await _find(engine, principal, workflow_id)
    changed = await engine.workflow(leader.id).cancel(undo=how is not None and how.undo)
    status = (await _find(engine, principal, workflow_id)).status
    return Reply({"task_id": leader.id, "changed": changed, "status": str(status)})


async def _find(engine: Manager, principal: Principal, id: str) -> TaskView:
    try:
        view = await find_task(engine, principal, id)
    except TaskNotFound as error:
        raise HttpProblem(404, "workflow_not_found", f"there is no workflow {error.task_id!r}") from None
    if view.type != TYPE:
        raise HttpProblem(404, "workflow_not_found", f"task {view.id} is no workflow", task_id=view.id)
    return view


def _analysis(leader: TaskView, now: float, reader: Reader) -> Analysis:
    return analysis_of(reader, leader, now)


def _accepted_kind(accept: str) -> str:
    kinds = {"application/json": "json", "text/plain": "text", "image/svg+xml": "svg"}
    wanted = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    return next((kinds[one] for one in wanted if one in kinds), "json")
