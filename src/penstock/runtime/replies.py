"""Requests and replies on the wire, independent of any HTTP library, and how a reply is journaled."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from penstock.errors import CallFailed

Headers = list[tuple[str, str]]

LARGEST_BODY = 64 << 20

# Kept with a recorded reply: what SDKs read. Cookies, limits and lengths belong to the moment, not to the
# reply.
_KEPT = (
    "content-type",
    "x-request-id",
    "request-id",
    "openai-version",
    "openai-model",
    "openai-processing-ms",
)


@dataclass(slots=True)
class WireRequest:
    """One HTTP request: `url` is absolute, `body` complete."""

    method: str
    url: str
    path: str
    headers: Headers
    body: bytes
    on_sent: Callable[[], None] | None = None

    def trace(self) -> Callable[[str, Any], Awaitable[None]]:
        """A trace hook of httpcore that tells when the last byte of the request has really left: a new
        connection takes its time, and limits count from there."""

        async def note(event: str, info: Any) -> None:
            if self.on_sent is not None and event.endswith(".send_request_body.complete"):
                self.on_sent()

        return note


@dataclass(slots=True)
class WireReply:
    """One HTTP reply, its body decoded: either whole (`body`) or as it comes (`chunks`)."""

    status: int
    headers: Headers
    body: bytes = b""
    chunks: AsyncIterator[bytes] | None = None
    close: Callable[[], Awaitable[None]] | None = None
    replayed: bool = False

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")

    async def read(self) -> bytes:
        """The whole body; afterwards it is in `body`."""
        if self.chunks is not None:
            parts, size = [], 0
            try:
                async for chunk in self.chunks:
                    parts.append(chunk)
                    size += len(chunk)
                    if size > LARGEST_BODY:
                        raise CallFailed(
                            f"the reply is larger than {LARGEST_BODY:,} bytes",
                            reason="malformed_reply",
                            status=self.status,
                            retryable=True,
                        )
            finally:
                self.chunks = None
                if self.close is not None:
                    await self.close()
            self.body = b"".join(parts)
        return self.body


Send = Callable[[WireRequest], Awaitable[WireReply]]
"""Makes one HTTP request. The reply's body comes in `chunks`; errors of the HTTP library pass through."""


@dataclass(slots=True)
class Route:
    """A way to make a call: the endpoint's name for limits, its address, and how to send. `unsent` are the
    errors that prove that nothing was billed, because no byte of the request reached the provider."""

    endpoint: str
    base_url: str
    send: Send
    unsent: tuple[type[BaseException], ...]
    broken: tuple[type[BaseException], ...]


def encode_reply(reply: WireReply) -> bytes:
    """A reply as it is journaled: one line of JSON, then the body."""
    kept = [(key.lower(), value) for key, value in reply.headers if key.lower() in _KEPT]
    return json.dumps([reply.status, kept], separators=(",", ":")).encode() + b"\n" + reply.body


def decode_reply(value: bytes) -> WireReply:
    """The reply that `encode_reply` wrote."""
    head, _, body = value.partition(b"\n")
    status, headers = json.loads(head)
    return WireReply(status, [(key, text) for key, text in headers], body, replayed=True)
