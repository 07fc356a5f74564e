"""Streamed answers: kept alive while their call waits, then passed on event by event as they come."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from typing import cast

from fastapi import Response
from starlette.types import Receive, Scope, Send

from penstock.errors import CallFailed
from penstock.llm.wire import read_object
from penstock.model.usage import from_pico
from penstock.runtime.replies import LARGEST_BODY, WireReply
from penstock.service.errors import HttpProblem, error_reply
from penstock.service.gateway.calls import Incoming, send, shared
from penstock.service.gateway.patience import GaveUp
from penstock.service.gateway.problems import CallError, sse_data, sse_error

log = logging.getLogger("penstock.gateway")

# So long a stream without a word yet may still end as an ordinary error with its own status.
GRACE_SECONDS = 1.0
PIECES_AHEAD = 16
STREAM_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}

Piece = WireReply | bytes | BaseException | None
"""The head of a reply, a part of its body, why there is none, or the end"""


class StreamedAnswer(Response):
    """Answers a call that asked for a stream."""

    def __init__(self, call: Incoming) -> None:
        super().__init__()
        self._call = call
        self._pieces: asyncio.Queue[Piece] = asyncio.Queue(PIECES_AHEAD)
        self._alone = True
        self._started = False
        self._told_cost = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = self._call
        making = asyncio.create_task(self._make())
        try:
            with call.gateway.patience(call.visitor, receive, call.terms.hold, stream=True):
                await self._relay(scope, receive, send)
        except GaveUp as error:
            problem = call.problem(error)
            if error.reason != "gone":
                await self._fail(problem, scope, receive, send)
        finally:
            making.cancel()
            await asyncio.wait([making])

    # The call

    async def _make(self) -> None:
        """Make the call, piece by piece."""
        end: Piece = None
        try:
            reply = await shared(self._call, self._made)
            if self._alone:
                await self._pieces.put(reply)
                await self._pieces.put(reply.body)
        except (*CallError, HttpProblem) as error:
            end = error
        except Exception as error:
            log.warning("a stream was cut: %s", type(error).__name__)
            end = CallFailed("the stream was cut", reason="no_reply", retryable=True)
        await self._pieces.put(end)

    async def _made(self) -> WireReply:
        """The whole reply, whose parts were passed on as they came."""
        self._alone = False
        reply = await send(self._call)
        await self._pieces.put(reply)
        if reply.chunks is None:
            await self._pieces.put(reply.body)
            return reply
        chunks = cast(AsyncGenerator[bytes, None], reply.chunks)
        parts: list[bytes] = []
        size = 0
        try:
            async for chunk in chunks:
                await self._pieces.put(chunk)
                size += len(chunk)
                if self._call.terms.key is not None and size <= LARGEST_BODY:
                    parts.append(chunk)
        finally:
            await chunks.aclose()
        if self._call.visitor.usage is None:
            raise CallFailed("the stream ended too soon", reason="no_reply", retryable=True)
        return WireReply(reply.status, reply.headers, b"".join(parts))

    # The client

    async def _relay(self, scope: Scope, receive: Receive, send: Send) -> None:
        keep_alive = self._call.gateway.config.keep_alive_seconds
        piece = await self._next(min(GRACE_SECONDS, keep_alive))
        while True:
            if isinstance(piece, TimeoutError):
                await self._start(None, send)
                await _part(send, b": waiting\n\n" if not self._call.visitor.under_way else b": working\n\n")
            elif isinstance(piece, WireReply):
                if not self._started and not _streams(piece):
                    await Response(piece.body, piece.status, self._call.told(piece))(scope, receive, send)
                    return
                await self._begin(piece, send)
                if not _streams(piece):
                    break
            elif isinstance(piece, BaseException):
                error = piece if isinstance(piece, HttpProblem) else self._call.problem(piece)
                await self._fail(error, scope, receive, send)
                return
            elif piece is None:
                break
            elif piece:
                await self._tell_cost(send)
                await _part(send, piece)
            piece = await self._next(keep_alive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _next(self, seconds: float) -> Piece:
        if not self._pieces.empty():
            return self._pieces.get_nowait()
        try:
            async with asyncio.timeout(seconds):
                return await self._pieces.get()
        except TimeoutError as error:
            return error

    async def _begin(self, reply: WireReply, send: Send) -> None:
        """The reply has come; one that is no stream, behind headers that said so, becomes an event."""
        await self._start(reply, send)
        if not reply.ok:
            problem = HttpProblem(reply.status, "upstream_error", "the provider refused the call")
            told = read_object(reply.body)
            await _part(send, sse_error(problem) if told is None else sse_data(told))
        elif not _streams(reply):
            await _part(send, b"data: " + b" ".join(reply.body.split()) + b"\n\n")

    async def _start(self, reply: WireReply | None, send: Send) -> None:
        if self._started:
            return
        self._started = True
        headers = {**self._call.told(reply), **STREAM_HEADERS}
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": raw})

    async def _tell_cost(self, send: Send) -> None:
        """Once it is known, just before the end of the stream."""
        cost = self._call.visitor.cost
        if cost is not None and not self._told_cost:
            self._told_cost = True
            await _part(send, f": cost {from_pico(cost):f}\n\n".encode())

    async def _fail(self, problem: HttpProblem, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._started:
            reply = error_reply(
                problem.status, problem.code, problem.message, param=problem.param, headers=problem.headers
            )
            await reply(scope, receive, send)
            return
        await _part(send, sse_error(problem))
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _part(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


def _streams(reply: WireReply) -> bool:
    return reply.ok and "event-stream" in reply.header("content-type")
