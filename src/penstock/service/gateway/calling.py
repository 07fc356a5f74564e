"""The routes of model calls."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute

from penstock.service.auth import Principal, allowed
from penstock.service.errors import ErrorReply
from penstock.service.gateway.calls import answer_whole, incoming
from penstock.service.gateway.streams import StreamedAnswer

_submitter = allowed("submit")
Caller = Annotated[Principal, Depends(_submitter)]
ERRORS: dict[int | str, dict[str, Any]] = {"default": {"model": ErrorReply, "description": "What went wrong"}}
_HEADERS = {
    "idempotency-key": "calls with the same key and body share one paid call",
    "x-penstock-priority": "0 to 100, or LOW, MEDIUM, HIGH, URGENT; higher goes first",
    "x-penstock-deadline": "seconds from now, or a time such as 2026-01-31T18:00:00Z",
    "x-penstock-hold": "seconds to wait before being told to ask again",
    "x-penstock-budget": "US dollars that this call may cost at most",
    "x-penstock-tenant": "the tenant to call for; admin keys only",
    "x-penstock-task-id": "the task that this call is booked to",
}


def _document(*required: str) -> dict[str, Any]:
    """The request as the OpenAPI document shows it: fields that this server does not know are passed on."""
    properties: dict[str, Any] = {name: {} for name in required if name != "model"}
    properties |= {"model": {"type": "string"}, "stream": {"type": "boolean"}}
    schema = {"type": "object", "required": list(required), "properties": properties}
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "parameters": [
            {
                "name": name,
                "in": "header",
                "required": False,
                "description": text,
                "schema": {"type": "string"},
            }
            for name, text in _HEADERS.items()
        ],
    }


async def _answer(request: Request, principal: Principal, path: str) -> Response:
    call = await incoming(request, principal, path)
    return StreamedAnswer(call) if call.shape.stream else await answer_whole(call)


class ModelCallRoute(APIRoute):
    """Answers a call without the detour of declared dependencies, which takes longer than the call's own
    reading; what is declared is for the OpenAPI document."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        path = self.path[self.path.rindex("/v1/") :]

        async def handle(request: Request) -> Response:
            return await _answer(request, await _submitter(request, None), path)

        return handle


routes = APIRouter(tags=["gateway"], route_class=ModelCallRoute)


@routes.post("/v1/chat/completions", responses=ERRORS, openapi_extra=_document("model", "messages"))
async def chat_completions(request: Request, principal: Caller) -> Response:
    """A chat completion, in its turn: plain or streamed, with tools and everything else that the provider
    takes."""
    return await _answer(request, principal, "/v1/chat/completions")


@routes.post("/v1/responses", responses=ERRORS, openapi_extra=_document("model", "input"))
async def responses(request: Request, principal: Caller) -> Response:
    """A response, in its turn, plain or streamed."""
    return await _answer(request, principal, "/v1/responses")


@routes.post("/v1/completions", responses=ERRORS, openapi_extra=_document("model", "prompt"))
async def completions(request: Request, principal: Caller) -> Response:
    """A completion of the older kind, in its turn."""
    return await _answer(request, principal, "/v1/completions")


@routes.post("/v1/embeddings", responses=ERRORS, openapi_extra=_document("model", "input"))
async def embeddings(request: Request, principal: Caller) -> Response:
    """Embeddings, in their turn."""
    return await _answer(request, principal, "/v1/embeddings")
