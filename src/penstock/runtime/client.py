"""A thin client for OpenAI-compatible endpoints, on journal and gate; several endpoints serve as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from penstock.errors import CallFailed, ConfigurationError
from penstock.llm.endpoint import Endpoint
from penstock.llm.refusals import read_refusal
from penstock.llm.reply_shape import is_answer
from penstock.llm.wire import CallShape, classify, read_object
from penstock.model.json_text import json_text
from penstock.runtime.capture_state import capture_as
from penstock.runtime.connections import Connections
from penstock.runtime.exchange import Exchange
from penstock.runtime.replies import Headers, Route, WireReply, WireRequest
from penstock.runtime.transport import unsent_errors
from penstock.runtime.visitor import Visitor


@dataclass(frozen=True, slots=True)
class ModelReply:
    """A successful reply: its JSON `body`, and what the provider called the request."""

    status: int
    request_id: str
    body: dict[str, Any]


class ModelClient:
    """Makes model calls by whichever endpoint has room first."""

    def __init__(self, exchange: Exchange, endpoints: Sequence[Endpoint], inner: Any = None) -> None:
        import httpx2

        self._http = httpx2
        self._exchange = exchange
        self._endpoints = tuple(endpoints)
        self._transport = inner if inner is not None else Connections(httpx2)

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def post(self, path: str, body: dict[str, Any]) -> ModelReply:
        """The reply to one call. Raises `CallFailed` for an error of the provider, a reply that is no JSON,
        or no reply; `Refused` when the gate can never admit it."""
        endpoints = self._serving(body.get("model"))
        content = json_text(body).encode()
        request = WireRequest("POST", endpoints[0].url_for(path), path, [], content)
        try:
            reply = await self._exchange.call(request, [self._route(one, path) for one in endpoints])
        except self._http.TransportError as error:
            raise self._no_reply(endpoints, error) from error
        if not reply.ok:
            raise _failure(reply, self._exchange.services.clock.wall())
        answer = read_object(reply.body)
        if answer is not None and answer.get("error"):
            raise _failure(reply, self._exchange.services.clock.wall())
        if answer is None or not is_answer(classify("POST", path), answer):
            what = "no JSON object" if answer is None else "no answer"
            raise CallFailed(
                f"the reply to {path} is {what} ({len(reply.body)} bytes)",
                reason="malformed_reply",
                status=reply.status,
                retryable=True,
            )
        return ModelReply(reply.status, reply.header("x-request-id") or reply.header("request-id"), answer)

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        return self._endpoints

    async def send(
        self, shape: CallShape, content: bytes, visitor: Visitor, headers: Headers | None = None
    ) -> WireReply:
        """The provider's own reply, good or bad, to a call of a visitor with this very body; a stream comes
        in `chunks`. `headers` go along. Raises as `post` does where there is no reply."""
        endpoints = self._serving(shape.model)
        request = WireRequest("POST", endpoints[0].url_for(shape.path), shape.path, headers or [], content)
        routes = [self._route(one, shape.path) for one in endpoints]
        try:
            return await self._exchange.visit(request, shape, routes, visitor)
        except self._http.TransportError as error:
            raise self._no_reply(endpoints, error) from error

    async def get(self, endpoint: Endpoint, path: str) -> dict[str, Any] | None:
        """The JSON object at a path of an endpoint, beside gate and limits; `None` when there is none."""
        wire = WireRequest("GET", endpoint.url_for(path), path, [], b"")
        try:
            reply = await self._route(endpoint, path).send(wire)
            await reply.read()
        except (self._http.HTTPError, CallFailed):
            return None
        return read_object(reply.body) if reply.ok else None

    def _serving(self, model: str | None) -> list[Endpoint]:
        endpoints = [one for one in self._endpoints if one.serves(model)]
        if not endpoints:
            raise ConfigurationError(f"no endpoint serves model {model!r}; add one, or name another model")
        return endpoints

    def _no_reply(self, endpoints: Sequence[Endpoint], error: Exception) -> CallFailed:
        return CallFailed(
            f"no reply from {endpoints[0].base_url}: {type(error).__name__} {error}".strip(),
            reason="unreachable" if isinstance(error, unsent_errors(self._http)) else "no_reply",
            retryable=True,
        )

    def _route(self, endpoint: Endpoint, path: str) -> Route:
        http = self._http
        timeout = http.Timeout(endpoint.timeout, connect=min(30.0, endpoint.timeout)).as_dict()

        async def send(wire: WireRequest) -> WireReply:
            request = http.Request(
                wire.method,
                endpoint.url_for(path),
                headers=[*endpoint.headers_for(), *wire.headers, ("accept-encoding", "identity")],
                content=wire.body,
                extensions={"timeout": timeout, "trace": wire.trace()},
            )
            with capture_as(None):
                response = await self._transport.handle_async_request(request)
            response.request = request
            return WireReply(
                response.status_code,
                list(response.headers.items()),
                chunks=response.aiter_bytes(),
                close=response.aclose,
            )

        return Route(
            endpoint=endpoint.name,
            base_url=endpoint.base_url,
            send=send,
            unsent=unsent_errors(http),
            broken=(http.TransportError,),
        )


def _failure(reply: WireReply, now: float) -> CallFailed:
    """The error that says why this reply is no answer."""
    report = read_refusal(reply.status, dict(reply.headers), reply.body, now)
    what = f"{reply.status} ({report.code or report.kind})"
    return CallFailed(
        f"the provider answered {what}: {report.message or 'no message'}",
        reason=str(report.kind),
        status=reply.status,
        retryable=report.retryable,
        retry_after=report.retry_after,
    )
