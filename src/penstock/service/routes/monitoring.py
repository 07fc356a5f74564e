"""Routes for whoever watches a server: metrics, and whether it lives and can take work."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from penstock.service.access import Viewer
from penstock.service.errors import HttpProblem
from penstock.service.json_body import Reply
from penstock.service.routing import errors
from penstock.service.service import ServiceOf

SCRAPE_SECONDS = 10.0


class Health(BaseModel):
    """`ok`, or what is wrong with each part."""

    status: str
    problems: dict[str, str] = {}


router = APIRouter(tags=["monitoring"])


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}, **errors(401, 403, 429, 503)},
    summary="Metrics for Prometheus",
)
async def metrics(service: ServiceOf, principal: Viewer) -> Response:
    """Metrics of all tenants in Prometheus's text format; needs a key of no tenant with scope read."""
    if principal.tenant:
        raise HttpProblem(403, "whole_service_only", "metrics tell of every tenant; use a key of no tenant")
    try:
        async with asyncio.timeout(SCRAPE_SECONDS):
            text = await service.metrics.text()
    except TimeoutError:
        raise HttpProblem(503, "store_busy", "the store did not answer in time") from None
    return Response(text, media_type=CONTENT_TYPE_LATEST)


@router.get("/healthz", response_model=Health, summary="Whether the process lives")
async def healthz() -> Health:
    """Says `ok` as long as the event loop turns; needs no key and tells nothing else."""
    return Health(status="ok")


@router.get(
    "/readyz",
    response_model=Health,
    responses={503: {"model": Health, "description": "No task can be taken now."}},
    summary="Whether tasks can be taken",
)
async def readyz(service: ServiceOf) -> Reply:
    """503 while the store takes no writes, nothing is dispatched, or the server stops; needs no key."""
    problems = await service.readiness.problems(service.engine, service.closing.is_set())
    health = Health(status="unready" if problems else "ok", problems=problems)
    return Reply(health.model_dump(), 503 if problems else 200)
