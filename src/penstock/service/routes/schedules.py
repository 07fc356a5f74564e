"""Schedules: tasks that are made again and again."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query, Request, Response

from penstock.errors import ScheduleNotFound
from penstock.manager.scheduling import Timing
from penstock.model.clock import iso_time
from penstock.model.schedule import Schedule
from penstock.model.states import TaskStatus
from penstock.service.access import Submitter, Viewer, own_tenant, visible
from penstock.service.auth import Principal
from penstock.service.intake import terms_of, told
from penstock.service.json_body import Reply
from penstock.service.labels import shown_tags
from penstock.service.routing import errors, make_router
from penstock.service.schemas import Accepted, ShortName, TenantName
from penstock.service.service import service_of
from penstock.service.steering_schemas import Removed, ScheduleIn, ScheduleReply

router = make_router("schedules")

_Name = Annotated[ShortName, Path()]
_Tenant = Annotated[TenantName | None, Query(description="only for an admin key of no tenant")]
_UPCOMING = 3


@router.put(
    "/schedules/{name}", name="put_schedule", response_model=ScheduleReply, responses=errors(402, 404, 413)
)
async def put_schedule(request: Request, principal: Submitter, name: _Name, schedule: ScheduleIn) -> Response:
    """Make a task at every tick of `when`.

    A schedule of that name is replaced; its next tick stays unless its times are others.
    """
    service = service_of(request)
    one = terms_of(service, principal, schedule, own_tenant(principal, schedule.tenant))
    timing = Timing(schedule.when, schedule.zone, schedule.jitter_seconds, schedule.missed)
    return Reply(_told(await service.engine.keep_schedule(name, timing, one)))


@router.get("/schedules", name="list_schedules", response_model=list[ScheduleReply])
async def list_schedules(request: Request, principal: Viewer, tenant: _Tenant = None) -> Response:
    """All schedules, by name; a tenant's own for its keys."""
    scope = visible(principal, tenant)
    found = await service_of(request).engine.read(lambda reader: reader.schedules(scope))
    return Reply([_told(one) for one in found])


@router.get("/schedules/{name}", name="get_schedule", response_model=ScheduleReply, responses=errors(404))
async def get_schedule(request: Request, principal: Viewer, name: _Name, tenant: _Tenant = None) -> Response:
    """How a schedule stands."""
    return Reply(_told(await _find(request, principal, name, tenant)))


@router.delete("/schedules/{name}", name="delete_schedule", response_model=Removed, responses=errors(404))
async def delete_schedule(
    request: Request, principal: Submitter, name: _Name, tenant: _Tenant = None
) -> Response:
    """Remove a schedule; the tasks that it made stay."""
    await _find(request, principal, name, tenant)
    removed = await service_of(request).engine.unschedule(name, visible(principal, tenant) or "")
    return Reply({"removed": removed})


@router.post(
    "/schedules/{name}/pause", name="pause_schedule", response_model=ScheduleReply, responses=errors(404)
)
async def pause_schedule(
    request: Request, principal: Submitter, name: _Name, tenant: _Tenant = None
) -> Response:
    """Fire no more until it is resumed."""
    await service_of(request).engine.pause_schedule(name, visible(principal, tenant) or "")
    return Reply(_told(await _find(request, principal, name, tenant)))


@router.post(
    "/schedules/{name}/resume", name="resume_schedule", response_model=ScheduleReply, responses=errors(404)
)
async def resume_schedule(
    request: Request, principal: Submitter, name: _Name, tenant: _Tenant = None
) -> Response:
    """Go on with the next tick from now."""
    await service_of(request).engine.resume_schedule(name, visible(principal, tenant) or "")
    return Reply(_told(await _find(request, principal, name, tenant)))


@router.post(
    "/schedules/{name}/run",
    name="run_schedule",
    response_model=Accepted,
    status_code=202,
    responses=errors(402, 404),
)
async def run_schedule(
    request: Request, principal: Submitter, name: _Name, tenant: _Tenant = None
) -> Response:
    """Make a task of the schedule at once, beside its ticks."""
    id = await service_of(request).engine.run_schedule_now(name, visible(principal, tenant) or "")
    return Reply(told(id, TaskStatus.QUEUED), 202, {"location": f"/tasks/{id}"})


async def _find(request: Request, principal: Principal, name: str, tenant: str | None) -> Schedule:
    scope = visible(principal, tenant) or ""
    found: Schedule | None = await service_of(request).engine.read(
        lambda reader: reader.schedule(name, scope)
    )
    if found is None:
        raise ScheduleNotFound(f"there is no schedule {name!r}")
    return found


def _told(schedule: Schedule) -> dict[str, Any]:
    told = schedule.as_dict()
    names = set(ScheduleReply.model_fields) - {"payload", "upcoming", "tags"}
    return {
        **{name: told[name] for name in names},
        "payload": told["data"],
        "tags": shown_tags(tuple(told.get("tags", ()))),
        "upcoming": [iso_time(at) for at in schedule.upcoming(_UPCOMING)] if schedule.enabled else [],
    }
