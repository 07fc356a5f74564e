"""The routes of models."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path

from penstock.service.access import Viewer
from penstock.service.errors import HttpProblem
from penstock.service.gateway.calling import ERRORS
from penstock.service.service import ServiceOf

routes = APIRouter(tags=["gateway"], responses=ERRORS)


@routes.get("/v1/models")
async def list_models(service: ServiceOf, principal: Viewer) -> dict[str, Any]:
    """Every model that can be called here."""
    return {"object": "list", "data": list((await service.gateway.catalogue.models()).values())}


@routes.get("/v1/models/{model:path}")
async def look_at_model(
    model: Annotated[str, Path(max_length=300)], service: ServiceOf, principal: Viewer
) -> dict[str, Any]:
    """One model."""
    found = (await service.gateway.catalogue.models()).get(model)
    if found is None:
        raise HttpProblem(404, "model_not_found", f"there is no model {model!r} here", param="model")
    return found
