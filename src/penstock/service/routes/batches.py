"""Batches: tasks that came together, and how far they are."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from fastapi import Path, Query, Request, Response

from penstock.errors import PenstockError
from penstock.manager.engine import Manager
from penstock.model.ids import new_id
from penstock.model.states import TaskStatus
from penstock.model.task import Added, Existing
from penstock.service.access import Submitter, Viewer, own_tenant, visible
from penstock.service.auth import Principal
from penstock.service.errors import HttpProblem
from penstock.service.idempotency import IdempotencyKey
from penstock.service.intake import check_after, submission_of
from penstock.service.json_body import Reply
from penstock.service.labels import batch_prefix, batch_tag
from penstock.service.routing import errors, make_router
from penstock.service.schemas import (
    BatchAccepted,
    BatchId,
    BatchIn,
    BatchReply,
    TenantName,
)
from penstock.service.service import service_of
from penstock.stores.contract import AddOutcome, Reader, TaskFilter, Transaction

router = make_router("batches")

_Tenant = Annotated[TenantName | None, Query(description="only for an admin key of no tenant")]


@router.post(
    "/batches",
    name="submit_batch",
    response_model=BatchAccepted,
    status_code=202,
    responses=errors(402, 404, 409, 413),
)
async def submit_batch(
    request: Request,
    principal: Submitter,
    batch: BatchIn,
    key: IdempotencyKey = None,
) -> Response:
    """Submit tasks together: all of them or, when one is refused, none."""
    service, tenant = service_of(request), own_tenant(principal, batch.tenant)
    id = batch.batch_id or (new_id() if key is None else hashlib.sha256(key.encode()).hexdigest()[:32])
    submissions = []
    for place, one in enumerate(batch.tasks):
        if own_tenant(principal, one.tenant or tenant) != tenant:
            raise HttpProblem(422, "invalid_request", "all tasks of a batch have one tenant", param="tenant")
        one = one.model_copy(update={"tenant": tenant, "webhook": one.webhook or batch.webhook})
        own = f"{key}:{place}" if key is not None and one.idempotency_key is None else None
        submissions.append(submission_of(service, principal, one, own, id))
    await check_after(service, principal, submissions)
    engine = service.engine
    engine.check_money(submissions, service.manager.setup.base_url)
    tasks = [engine.prepare(one) for one in submissions]

    def add(store: Transaction) -> list[AddOutcome]:
        outcomes = store.add(tasks, engine.settings.max_queue_size)
        for outcome in outcomes:
            if isinstance(outcome, PenstockError):
                raise outcome
        return outcomes

    outcomes = await engine.node.committer.run(add)
    engine.notice(outcomes, tasks)
    ids = [outcome.id for outcome in outcomes if isinstance(outcome, Added | Existing)]
    message = f"{len(ids)} tasks are durable and wait their turn"
    reply = {"batch_id": id, "task_ids": ids, "status": "queued", "message": message}
    return Reply(reply, 202, {"location": f"/batches/{id}"})


@router.get("/batches", name="list_batches", response_model=list[BatchReply])
async def list_batches(
    request: Request,
    principal: Viewer,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[BatchId | None, Query()] = None,
    tenant: _Tenant = None,
) -> Response:
    """A page of batches, from the last id to the first; ids that are made up here rise with time. Where more
    follow, `x-next-cursor` says how to get them."""
    scope = visible(principal, tenant) or ""
    prefix = batch_prefix(scope)

    def look(reader: Reader) -> list[tuple[str, dict[str, Any]]]:
        tags = reader.tags(prefix, None if cursor is None else prefix + cursor, limit)
        return [(tag, progress(reader, TaskFilter(tenant=scope, tags=(tag,)))) for tag in tags]

    found = await service_of(request).engine.read(look)
    replies = [{"batch_id": tag.removeprefix(prefix), **told} for tag, told in found]
    more = {"x-next-cursor": replies[-1]["batch_id"]} if len(replies) == limit else {}
    return Reply(replies, headers=more)


@router.get("/batches/{batch_id}", name="get_batch", response_model=BatchReply, responses=errors(404))
async def get_batch(
    request: Request,
    principal: Viewer,
    batch_id: Annotated[str, Path(max_length=200)],
    tenant: _Tenant = None,
) -> Response:
    """How far a batch is."""
    where = batch_filter(principal, batch_id, tenant)
    return Reply(
        {"batch_id": batch_id, **await progress_or_404(service_of(request).engine, where, "batch", batch_id)}
    )


def batch_filter(principal: Principal, batch_id: str, tenant: str | None) -> TaskFilter:
    """The tasks of a batch."""
    scope = visible(principal, tenant) or ""
    return TaskFilter(tenant=scope, tags=(batch_tag(scope, batch_id),))


def progress(reader: Reader, where: TaskFilter) -> dict[str, Any]:
    """How far these tasks are, as `ProgressReply` says."""
    counts = {status: one.count for status, one in reader.counts(where).items()}
    total = sum(counts.values())
    done = sum(count for status, count in counts.items() if status.final)
    by_status = {str(status): counts.get(status, 0) for status in TaskStatus}
    return {"total": total, "done": done, "progress": done / total if total else 0.0, "by_status": by_status}


async def progress_or_404(engine: Manager, where: TaskFilter, what: str, id: str) -> dict[str, Any]:
    """The same; raises `HttpProblem` where there are none."""
    told: dict[str, Any] = await engine.read(lambda reader: progress(reader, where))
    if not told["total"]:
        raise HttpProblem(404, f"{what}_not_found", f"there is no {what} {id!r}")
    return told
