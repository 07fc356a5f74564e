"""Webhooks: URLs that are told of the ends of tasks, and the secret that signs what they are told."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import Path, Request, Response

from penstock.model.clock import iso_time
from penstock.service.access import Admin, Viewer, own_tenant, visible
from penstock.service.errors import HttpProblem
from penstock.service.json_body import Reply
from penstock.service.routing import errors, make_router
from penstock.service.service import Service, service_of
from penstock.service.steering_schemas import Removed, SecretReply, WebhookIn, WebhookReply
from penstock.service.webhook_delivery import check_url, secret_of
from penstock.service.webhooks import Subscription, subscribe, subscriptions, unsubscribe

router = make_router("webhooks")


@router.post(
    "/webhooks",
    name="create_webhook",
    response_model=WebhookReply,
    status_code=201,
    responses=errors(409, 413),
)
async def create_webhook(request: Request, principal: Admin, wanted: WebhookIn) -> Response:
    """Tell a URL of the ends of tasks that match from now on.

    An admin key of no tenant means those of all tenants, unless it names one.
    """
    service = service_of(request)
    check_url(service.manager.setup.allowed_hosts, wanted.url)
    made = await subscribe(
        service.engine,
        url=wanted.url,
        tenant=visible(principal, wanted.tenant),
        task_type=wanted.task_type,
        tag=wanted.tag,
        statuses=tuple(wanted.statuses),
        events=tuple(wanted.events),
    )
    return Reply(_told(made), 201, {"location": f"/webhooks/{made.id}"})


@router.get("/webhooks", name="list_webhooks", response_model=list[WebhookReply])
async def list_webhooks(request: Request, principal: Viewer) -> Response:
    """The webhooks there are; a tenant's own for its keys."""
    tenant = visible(principal)
    found = await service_of(request).engine.read(subscriptions)
    return Reply([_told(one) for one in found if tenant is None or one.tenant == tenant])


@router.delete("/webhooks/{webhook_id}", name="delete_webhook", response_model=Removed, responses=errors(404))
async def delete_webhook(
    request: Request, principal: Admin, webhook_id: Annotated[str, Path(max_length=200)]
) -> Response:
    """Tell it no more; deliveries under way go on."""
    if not await unsubscribe(service_of(request).engine, webhook_id, visible(principal)):
        raise HttpProblem(404, "webhook_not_found", f"there is no webhook {webhook_id!r}")
    return Reply({"removed": True})


@router.get("/webhook-secret", name="get_webhook_secret", response_model=SecretReply)
async def get_webhook_secret(request: Request, principal: Admin) -> Response:
    """The secret that signs what this key's tenant is told."""
    return await _secret(service_of(request), own_tenant(principal), renew=False)


@router.post("/webhook-secret", name="renew_webhook_secret", response_model=SecretReply)
async def renew_webhook_secret(request: Request, principal: Admin) -> Response:
    """Sign with a new secret from now on; for a day the old one signs, too."""
    return await _secret(service_of(request), own_tenant(principal), renew=True)


async def _secret(service: Service, tenant: str, renew: bool) -> Response:
    now = service.engine.clock.wall()
    work = partial(secret_of, tenant=tenant, now=now, renew=renew)
    kept: dict[str, Any] = dict(await service.engine.node.committer.run(work))
    until = kept["previous_until"]
    if until is not None and until <= now:
        kept["previous"] = until = None
    return Reply(
        {**kept, "previous_until": None if until is None else iso_time(until)},
        headers={"cache-control": "no-store"},
    )


def _told(one: Subscription) -> dict[str, Any]:
    return {
        "id": one.id,
        "url": one.url,
        "task_type": one.task_type,
        "tag": one.tag,
        "statuses": list(one.statuses),
        "events": list(one.events),
        "tenant": one.tenant or "",
        "created_at": iso_time(one.created_at),
    }
