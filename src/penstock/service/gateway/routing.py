"""All routes of the gateway."""

from __future__ import annotations

from fastapi import APIRouter

from penstock.service.gateway import batch_routes, calling, file_routes, model_routes

router = APIRouter()
for part in (calling, model_routes, file_routes, batch_routes):
    router.routes.extend(part.routes.routes)  # no router inside another: each takes time of every request
