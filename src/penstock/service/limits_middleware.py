"""Bounds around the whole application: requests at once, bodies of strangers, bodies that trickle."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from penstock.service.errors import HttpProblem, error_reply

if TYPE_CHECKING:
    from penstock.service.service import Service

access = logging.getLogger("penstock.access")

STRANGER_BODY = 65_536
"""What somebody without a good key may send, in bytes: enough to be told why not."""
MOST_HEADERS = 100


class Bounds:
    """Keeps one client from using up what is there for all: answers at once what goes over a bound.

    Also notes every request for the metrics, and adds nothing else to it.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app = app
        self.service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        requests, started, status = self.service.requests, time.perf_counter(), 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        requests.open += 1
        try:
            problem = self._problem(scope)
            if problem is not None:
                answer = error_reply(problem.status, problem.code, problem.message, headers=problem.headers)
                await answer(scope, receive, noting)
            else:
                await self.app(scope, self._reading(scope, receive), noting)
        finally:
            requests.open -= 1
            route = getattr(scope.get("route"), "path", None)
            seconds = time.perf_counter() - started
            requests.ended(route, scope["method"], status, seconds)
            if self.service.config.log_requests:
                told = {"route": route, "status": status, "seconds": round(seconds, 6)}
                access.info("%s %s %d", scope["method"], route or "no route", status, extra=told)

    def _problem(self, scope: Scope) -> HttpProblem | None:
        """Why this request is not looked at any further."""
        most = self.service.config.most_requests
        if self.service.requests.open > most:
            message = f"{most:,} requests are open; try again soon"
            return HttpProblem(503, "too_many_requests", message, headers={"retry-after": "1"})
        size = sum(len(name) + len(value) for name, value in scope["headers"])
        if len(scope["headers"]) > MOST_HEADERS or size > self.service.config.header_bytes:
            return HttpProblem(431, "headers_too_large", f"at most {MOST_HEADERS} headers, and no large ones")
        keys, headers = self.service.keys, Headers(scope=scope)
        length = headers.get("content-length", "")
        large = "transfer-encoding" in headers or (length.isdecimal() and int(length[:20]) > STRANGER_BODY)
        if large and keys.needed:
            client = scope.get("client")
            try:
                keys.identify(headers, client[0] if client else "")
            except HttpProblem as problem:
                return problem
        return None

    def _reading(self, scope: Scope, receive: Receive) -> Receive:
        config, body = self.service.config, Body()

        async def bounded() -> Message:
            if body.complete:
                return await receive()
            seconds = body.seconds_left(config.body_seconds, config.body_bytes_per_second)
            started = time.monotonic()
            try:
                async with asyncio.timeout(seconds):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, "the body comes too slowly", {"connection": "close"}) from None
            body.came(message, time.monotonic() - started)
            if body.size > config.max_upload:
                raise HTTPException(413, f"the body is larger than {config.max_upload:,} bytes")
            return message

        return bounded


class Body:
    """How much of a body has come, and how long it was waited for."""

    __slots__ = ("complete", "seconds", "size")

    def __init__(self) -> None:
        self.complete = False
        self.seconds = 0.0
        self.size = 0

    def seconds_left(self, grace: float, bytes_per_second: float) -> float:
        """How much longer to wait: time in which we were busy ourselves does not count."""
        return max(0.0, grace + self.size / bytes_per_second - self.seconds)

    def came(self, message: Any, seconds: float) -> None:
        """A part of it is here."""
        self.seconds += seconds
        self.size += len(message.get("body", b""))
        self.complete = message["type"] != "http.request" or not message.get("more_body", False)
