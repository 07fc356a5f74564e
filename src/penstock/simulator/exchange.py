"""One HTTP exchange on bare ASGI: read the body, wait without losing sight of the client, answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from starlette.types import Receive, Scope, Send

Headers = Iterable[tuple[bytes, bytes]]

NOTICE = (b"x-penstock-simulator", b"for trying and measuring only")
JSON_TYPE = (b"content-type", b"application/json")
EVENT_TYPE = (b"content-type", b"text/event-stream; charset=utf-8")


class ConnectionCut(Exception):
    """Raised inside a started reply, it makes the server drop the connection.

    Nothing went wrong but on purpose.
    """


class Exchange:
    """One request and its reply; every reply carries the simulator's notice and a request id."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        self.scope = scope
        self.request_id = request_id
        self._receive = receive
        self._send = send
        name = request_id.encode("ascii")
        # One name each for those who know OpenAI and those who know Anthropic.
        self._constant = [NOTICE, (b"x-request-id", name), (b"request-id", name)]

    async def read_body(self) -> bytes | None:
        """The whole request body, or `None` when the client went away while sending it."""
        parts: list[bytes] = []
        while True:
            message = await self._receive()
            if message["type"] != "http.request":
                return None
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                return parts[0] if len(parts) == 1 else b"".join(parts)

    def header(self, name: bytes) -> str:
        """The value of a request header (lower-case name), or an empty string."""
        return next((value.decode("latin-1") for key, value in self.scope["headers"] if key == name), "")

    async def gone_within(self, seconds: float | None) -> bool:
        """Wait so long (`None`: for ever) or until the client goes, whichever is first.

        Returns whether it has gone.
        """
        if seconds is not None and seconds <= 0:
            return False
        try:
            # Cancelling a receive loses nothing: the body is read, so all that can come is the disconnect.
            async with asyncio.timeout(seconds):
                while (await self._receive())["type"] != "http.disconnect":
                    continue
        except TimeoutError:
            return False
        return True

    async def start(self, status: int, headers: Headers) -> None:
        """Send the head of the reply."""
        await self._send(
            {"type": "http.response.start", "status": status, "headers": [*self._constant, *headers]}
        )

    async def write(self, chunk: bytes, more: bool = True) -> None:
        """Send a part of the reply's body; `more=False` ends it."""
        await self._send({"type": "http.response.body", "body": chunk, "more_body": more})

    async def reply(self, status: int, body: bytes, headers: Headers = ()) -> None:
        """Send a whole JSON reply."""
        await self.start(status, [JSON_TYPE, length_of(body), *headers])
        await self.write(body, more=False)

    async def reply_half(self, status: int, body: bytes, headers: Headers = ()) -> None:
        """Promise a whole JSON reply, send half of it and drop the connection."""
        await self.start(status, [JSON_TYPE, length_of(body), *headers])
        await self.write(body[: len(body) // 2])
        raise ConnectionCut

    @property
    def path_parameters(self) -> dict[str, Any]:
        """What the route found in the path."""
        found: dict[str, Any] = self.scope.get("path_params", {})
        return found


def length_of(body: bytes) -> tuple[bytes, bytes]:
    """The content-length header of a body."""
    return (b"content-length", b"%d" % len(body))
