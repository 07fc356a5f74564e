"""The FastAPI application, and the parts of it for applications of others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI

import penstock
from penstock.service.errors import add_error_handlers
from penstock.service.gateway.routing import router as gateway_router
from penstock.service.limits_middleware import Bounds
from penstock.service.routes import monitoring
from penstock.service.routes.rest import router as rest_router
from penstock.service.service import Service
from penstock.service.webhooks import Webhooks

NO_DOCS: dict[str, Any] = {"docs_url": None, "redoc_url": None, "openapi_url": None}


def router() -> APIRouter:
    """Every route, for `include_router` in somebody's own application (with `attach`)."""
    whole = APIRouter()
    # In one list, the most used first: routes before one, and routers inside others, take time of each
    # request.
    for part in (gateway_router, rest_router(), monitoring.router):
        whole.routes.extend(part.routes)
    return whole


@asynccontextmanager
async def running(service: Service) -> AsyncIterator[Service]:
    """The service while its task manager runs: for the lifespan of somebody's own application."""
    webhooks = Webhooks(service.engine, service.manager.setup.allowed_hosts)
    async with service.manager:
        service.open()
        async with webhooks, service.gateway:
            yield service


def create_app(service: Service, docs: bool = True) -> FastAPI:
    """An application that starts and stops the service with itself; `docs`: at /docs and /openapi.json."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with running(service):
            yield

    places = {} if docs else NO_DOCS
    app = FastAPI(title="Penstock", version=penstock.__version__, lifespan=lifespan, **places)
    app.add_middleware(Bounds, service=service)
    attach(app, service)
    app.router.routes.extend(router().routes)
    return app


def attach(app: FastAPI, service: Service) -> None:
    """Let the routes of an application find the service."""
    app.state.penstock = service
    add_error_handlers(app)
