"""The routes of batches: order, look, list, cancel."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from penstock.errors import ConfigurationError
from penstock.model.ids import new_id
from penstock.model.order import Order
from penstock.model.priority import read_priority
from penstock.service.access import Submitter, Viewer
from penstock.service.errors import HttpProblem
from penstock.service.gateway.calling import ERRORS
from penstock.service.gateway.order_records import order_body
from penstock.service.gateway.pages import owner, page
from penstock.service.service import Service, ServiceOf

routes = APIRouter(tags=["gateway"], responses=ERRORS)

WINDOW_SECONDS = 86_400.0
OrderId = Annotated[str, Path(max_length=100)]


class Life(BaseModel):
    """How long output files are kept."""

    anchor: Literal["created_at"]
    seconds: int = Field(ge=3_600, le=2_592_000)


class NewOrder(BaseModel):
    """A batch to be made of a file."""

    model_config = ConfigDict(extra="ignore")

    input_file_id: str = Field(max_length=100)
    endpoint: Literal["/v1/chat/completions", "/v1/responses", "/v1/embeddings", "/v1/completions"]
    completion_window: Literal["24h"]
    metadata: dict[str, str] | None = Field(default=None, max_length=16)
    output_expires_after: Life | None = None


@routes.post("/v1/batches")
async def create_batch(
    new: NewOrder,
    service: ServiceOf,
    principal: Submitter,
    x_penstock_priority: Annotated[str, Header(max_length=20)] = "LOW",
) -> dict[str, Any]:
    """Make a batch of a file that was uploaded with the purpose `batch`: each line becomes a task."""
    file = await service.gateway.shelf.file(new.input_file_id, owner(principal))
    if file.purpose != "batch":
        raise HttpProblem(
            400, "wrong_purpose", f"{file.id} was not uploaded for a batch", param="input_file_id"
        )
    now = service.engine.clock.wall()
    body = {
        **new.model_dump(include={"input_file_id", "endpoint", "completion_window", "metadata"}),
        "expires_at": now + WINDOW_SECONDS,
        "priority": _priority(x_penstock_priority),
    }
    if new.output_expires_after is not None:
        body["output_life"] = new.output_expires_after.seconds
    order = Order(f"batch_{new_id()}", file.tenant, "validating", now, body=body)
    await service.gateway.orders.place(order)
    return order_body(order)


def _priority(text: str) -> int:
    try:
        return read_priority(text)
    except (ConfigurationError, ValueError) as error:
        raise HttpProblem(400, "invalid_header", str(error), param="x-penstock-priority") from None


@routes.get("/v1/batches")
async def list_batches(
    service: ServiceOf,
    principal: Viewer,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: Annotated[str, Query(max_length=100)] = "",
) -> dict[str, Any]:
    """The caller's batches, newest first."""
    tenant = owner(principal)
    found = await service.engine.read(lambda reader: reader.orders(tenant, after, limit + 1))
    told = [await service.gateway.orders.counted(order) for order in found]
    return page(told, limit, order_body)


@routes.get("/v1/batches/{batch_id}")
async def look_at_batch(batch_id: OrderId, service: ServiceOf, principal: Viewer) -> dict[str, Any]:
    """How a batch stands."""
    order = await _order(service, batch_id, owner(principal))
    return order_body(await service.gateway.orders.counted(order))


@routes.post("/v1/batches/{batch_id}/cancel")
async def cancel_batch(batch_id: OrderId, service: ServiceOf, principal: Submitter) -> dict[str, Any]:
    """Cancel a batch: lines that wait are dropped, those under way end."""
    order = await _order(service, batch_id, owner(principal))
    if order.ended or order.status == "finalizing":
        raise HttpProblem(
            409,
            "batch_ended",
            f"{order.id} is {order.status} and cannot be cancelled",
            headers={"x-should-retry": "false"},
        )
    return order_body(await service.gateway.orders.counted(await service.gateway.orders.cancel(order)))


async def _order(service: Service, id: str, tenant: str | None) -> Order:
    found: Order | None = await service.engine.read(lambda reader: reader.order(id))
    if found is None or tenant not in (None, found.tenant):
        raise HttpProblem(404, "batch_not_found", f"there is no batch {id}", param="batch_id")
    return found
