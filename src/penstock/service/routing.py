"""Routers whose routes read bounded bodies of strict JSON and name their errors in the OpenAPI document."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from penstock.service.errors import ErrorReply
from penstock.service.json_body import Reply, read_json
from penstock.service.service import service_of

B = TypeVar("B", bound=BaseModel)

_MEANINGS = {
    400: "The request cannot be read, or a setting makes no sense.",
    401: "The API key is missing or wrong.",
    402: "The estimate is over what is left of a budget.",
    403: "The key may not do this.",
    404: "There is no such thing, or it is not yours.",
    409: "It does not go with what is there: the idempotency key was used with other data, a task has ended.",
    413: "The body is too large.",
    422: "A field is wrong; `param` names it.",
    429: "Too many requests for this key.",
    503: "The queue is full, or the store cannot be used; try again later.",
}
_ALWAYS = (400, 401, 403, 422, 429, 503)


class BoundedRequest(Request):
    """A request whose body is at most so many bytes."""

    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            most = service_of(self).config.max_body
            length = self.headers.get("content-length", "")
            if length.isdecimal() and len(length) < 20 and int(length) > most:
                raise _too_large(most)
            chunks, size = [], 0
            async for chunk in self.stream():
                size += len(chunk)
                if size > most:
                    raise _too_large(most)
                chunks.append(chunk)
            self._body = b"".join(chunks)
        return self._body

    async def json(self) -> Any:
        return read_json(await self.body())


class BoundedRoute(APIRoute):
    """A route that gets a `BoundedRequest`.

    Where its function has an attribute `direct`, that one is called with the request alone, and the
    function's signature is for the document: taking a request apart by it costs as much as adding a task.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = getattr(self.endpoint, "direct", None) or super().get_route_handler()

        async def bounded(request: Request) -> Response:
            return await handle(BoundedRequest(request.scope, request.receive))

        return bounded


def make_router(tag: str) -> APIRouter:
    """A router for routes about one thing; their names are the operation ids."""
    return APIRouter(
        route_class=BoundedRoute,
        tags=[tag],
        default_response_class=Reply,
        generate_unique_id_function=lambda route: route.name,
        responses=errors(*_ALWAYS),
        strict_content_type=False,
    )


async def json_body(request: Request) -> Any:
    """The body as JSON; raises `RequestValidationError` like a declared body does."""
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        told = {"type": "json_type", "loc": ("body",), "msg": "the content type is application/json"}
        raise RequestValidationError([told])
    try:
        return await request.json()
    except json.JSONDecodeError as error:
        told = {"type": "json_invalid", "loc": ("body",), "msg": f"no JSON: {error.msg}"}
        raise RequestValidationError([told]) from None


async def read_body(request: Request, model: type[B]) -> B:
    """The body as this model; raises likewise."""
    data = await json_body(request)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False, include_context=False)
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in wrong]) from None


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """`responses` of a route: these statuses with the one shape of errors."""
    return {status: {"model": ErrorReply, "description": _MEANINGS[status]} for status in statuses}


def _too_large(most: int) -> HTTPException:
    return HTTPException(413, f"the body is larger than {most:,} bytes")
