"""One model call of a client: read, made in its turn, answered."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import Request, Response

from penstock.errors import CallFailed, Parked
from penstock.llm.reply_shape import is_answer
from penstock.llm.wire import CallShape, read_call, read_object
from penstock.model.usage import from_pico
from penstock.runtime.replies import Headers, WireReply
from penstock.runtime.visitor import Visitor
from penstock.service.auth import Principal
from penstock.service.errors import HttpProblem
from penstock.service.gateway.bodies import whole_body
from penstock.service.gateway.patience import GaveUp
from penstock.service.gateway.problems import NO_RETRY, CallError, passed_on, presentable, problem_of
from penstock.service.gateway.terms import Terms, read_terms
from penstock.service.gateway.tickets import Holder, digest_of
from penstock.service.service import service_of

if TYPE_CHECKING:
    from penstock.service.gateway.gateway import Gateway

# What clients may say to the provider in headers; their keys and cookies are ours alone.
_PASSED = ("openai-beta", "x-client-request-id")


@dataclass(slots=True)
class Incoming:
    """A call as it came in. `holder` is what its ticket is known by."""

    gateway: Gateway
    request: Request
    shape: CallShape
    content: bytes
    headers: Headers
    terms: Terms
    holder: Holder
    visitor: Visitor
    request_id: str

    @property
    def digest(self) -> str:
        return self.holder[2]

    def told(self, reply: WireReply | None = None) -> dict[str, str]:
        """The headers of an answer: the provider's own, the state of the limits, and what was paid."""
        visitor = self.visitor
        headers = {"x-request-id": self.request_id}
        if reply is not None:
            headers |= passed_on(reply, self.gateway.manager.client.endpoints)
        headers |= self.gateway.limits(visitor, self.shape.model)
        headers["x-penstock-waited-ms"] = str(round(visitor.waited * 1000))
        if reply is not None and reply.replayed:
            headers |= {"x-penstock-replayed": "true", "x-penstock-cost": "0"}
        elif visitor.cost is not None:
            headers["x-penstock-cost"] = f"{from_pico(visitor.cost):f}"
        return headers

    def problem(self, error: BaseException) -> HttpProblem:
        """What to answer for an error; who is told to come back, or went away, gets a ticket."""
        gateway, wait = self.gateway, 0.0
        if isinstance(error, Parked):  # the node stops, and sent everybody out of its lines
            error = GaveUp("stopping")
        if isinstance(error, GaveUp) and error.reason != "deadline" and not self.visitor.under_way:
            wait = gateway.come_back() if error.reason == "hold" else 1.0
            gateway.tickets.give(self.holder, self.visitor.entered_at, gateway.engine.clock.wall())
        problem = problem_of(error, wait)
        problem.headers = {**self.told(), **problem.headers}
        return problem


async def incoming(request: Request, principal: Principal, path: str) -> Incoming:
    """Read a call of this path. Raises `HttpProblem` for what is no request at all."""
    service = service_of(request)
    gateway = service.gateway
    content = await whole_body(request, service.config.max_body)
    shape = read_call("POST", path, content)
    _check(shape)
    terms = read_terms(request.headers, principal, gateway.engine.clock.wall())
    holder = (terms.tenant, principal.name, digest_of(path, content))
    given = [(name, value) for name in _PASSED if (value := request.headers.get(name)) is not None]
    visitor = await gateway.visitor(terms, holder)
    request_id = f"req_{uuid.uuid4().hex}"
    return Incoming(gateway, request, shape, content, given, terms, holder, visitor, request_id)


def _check(shape: CallShape) -> None:
    if shape.body is None:
        raise HttpProblem(400, "invalid_json", "the body is no JSON object", headers=NO_RETRY)
    model = shape.body.get("model")
    if not isinstance(model, str) or not model or len(model) > 300:
        raise HttpProblem(400, "invalid_model", "name a model", param="model", headers=NO_RETRY)


async def send(call: Incoming) -> WireReply:
    """The provider's reply, in the call's turn; a stream in chunks."""
    client = call.gateway.manager.client
    reply = await client.send(call.shape, call.content, call.visitor, call.headers)
    if reply.chunks is None:
        reply = presentable(reply, client.endpoints)
        if reply.ok and not is_answer(call.shape.family, read_object(reply.body)):
            raise CallFailed("the reply is no answer", reason="malformed_reply", retryable=True)
    return reply


async def shared(call: Incoming, make: Callable[[], Awaitable[WireReply]]) -> WireReply:
    """The reply to this call, or to an equal one with the same idempotency key."""
    if call.terms.key is None:
        return await make()
    return await call.gateway.shared.obtain(call.terms.tenant, call.terms.key, call.digest, make)


async def answer_whole(call: Incoming) -> Response:
    """The reply as one body: a call that is held too long is told to come back. Raises `HttpProblem`."""
    gateway, terms = call.gateway, call.terms
    hold = gateway.config.hold_seconds
    if terms.hold is not None:
        hold = min(hold, terms.hold)
    try:
        with gateway.patience(call.visitor, call.request.receive, hold, stream=False):
            reply = await shared(call, lambda: send(call))
    except CallError as error:
        raise call.problem(error) from error
    return Response(reply.body, reply.status, call.told(reply))
