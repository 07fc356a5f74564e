"""HTTP transports that put any SDK on `httpx2` (or `httpx`) behind gate and journal, without change of its
code.

    client = AsyncOpenAI(http_client=httpx2.AsyncClient(transport=transport))

The classes are made per library, because a transport must return the library's own `Response`.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
from collections.abc import AsyncIterator, Iterator, Sequence
from types import ModuleType
from typing import Any

from penstock.errors import MissingExtra, Refused
from penstock.runtime.capture_state import Ready, capture_as
from penstock.runtime.connections import Connections
from penstock.runtime.exchange import Exchange
from penstock.runtime.portal import on_loop, wait_for
from penstock.runtime.refused_reply import refused_reply
from penstock.runtime.replies import Headers, Route, WireReply, WireRequest

_DECODED = ("content-encoding", "content-length", "transfer-encoding")
# The body is at hand as a whole; and without compression chunks stay as the provider cut them.
_OURS = ("accept-encoding", "content-length", "transfer-encoding")


def http_library(name: str) -> ModuleType:
    """The HTTP library of that name: `httpx2`, or `httpx` for SDKs that still stand on it."""
    if name == "httpx2":
        import httpx2

        return httpx2
    try:
        import httpx
    except ImportError:
        raise MissingExtra("httpx", "httpx") from None
    return httpx


def endpoint_name(url: Any, headers: Headers) -> str:
    """What limits of this address and key are kept under: the host, and six digits of the key's hash."""
    key = next(
        (text for name, text in headers if name.lower() in ("authorization", "x-api-key", "api-key")), ""
    )
    place = url.host if url.port is None else f"{url.host}:{url.port}"
    key = key.removeprefix("Bearer ")
    return f"{place}#{hashlib.sha256(key.encode()).hexdigest()[:6]}" if key else str(place)


def make_async_transport(exchange: Exchange, library: str = "httpx2", inner: Any = None) -> Any:
    """An async transport of `library`; `inner` makes the real connections (by default the library's own)."""
    http = http_library(library)
    lower = inner if inner is not None else Connections(http)

    class GatedTransport(http.AsyncBaseTransport):  # type: ignore[name-defined,misc]
        """Every request of the client waits its turn at the gate, is metered, and answers from the
        journal."""

        async def handle_async_request(self, request: Any) -> Any:
            await request.aread()
            reply = await answered(exchange, wire_request(request), [make_route(http, lower, request)])
            return async_response(http, request, reply)

        async def aclose(self) -> None:
            await lower.aclose()

    return GatedTransport()


def make_sync_transport(exchange: Exchange, library: str = "httpx2", inner: Any = None) -> Any:
    """A transport for synchronous clients in worker threads; the exchange itself runs on the manager's
    loop."""
    http = http_library(library)
    lower = inner if inner is not None else Connections(http)
    loop = exchange.services.loop
    closing: list[asyncio.Task[None]] = []

    class GatedSyncTransport(http.BaseTransport):  # type: ignore[name-defined,misc]
        """The same for synchronous clients."""

        def handle_request(self, request: Any) -> Any:
            request.read()
            return handled_in_thread(exchange, http, lower, request)

        def close(self) -> None:
            if on_loop(loop):
                closing.append(loop.create_task(lower.aclose()))
            elif not loop.is_closed():
                wait_for(loop, lower.aclose())

        async def aclose(self) -> None:
            await lower.aclose()

    return GatedSyncTransport()


def handled_in_thread(
    exchange: Exchange, http: ModuleType, lower: Any, request: Any, ready: Ready | None = None
) -> Any:
    """The library's response to its request, whose body was read, for the calling thread, which is not that
    of the exchange's loop; `ready` is awaited before."""
    loop = exchange.services.loop
    routes = [make_route(http, lower, request)]
    reply = wait_for(loop, answered_after(ready, exchange, wire_request(request), routes))
    stream = None if reply.chunks is None else _sync_body(http)(reply.chunks, loop)
    return _response(http, request, reply, stream)


def async_response(http: ModuleType, request: Any, reply: WireReply) -> Any:
    """The reply as the library's response, for asynchronous code."""
    return _response(http, request, reply, None if reply.chunks is None else _async_body(http)(reply.chunks))


def _response(http: ModuleType, request: Any, reply: WireReply, stream: Any) -> Any:
    """`stream` gives the body of a reply that comes in chunks."""
    headers = reply.headers
    if stream is None:
        # A stream, too: only of what it reads itself a client knows `elapsed`.
        stream = http.ByteStream(reply.body)
        if reply.body:
            headers = [*headers, ("content-length", str(len(reply.body)))]
    return http.Response(reply.status, headers=headers, request=request, stream=stream)


async def answered_after(
    ready: Ready | None, exchange: Exchange, request: WireRequest, routes: Sequence[Route]
) -> WireReply:
    """The same as `answered`, once `ready` is over."""
    if ready is not None:
        await ready()
    return await answered(exchange, request, routes)


@functools.cache
def _async_body(http: ModuleType) -> Any:
    class Body(http.AsyncByteStream):  # type: ignore[name-defined,misc]
        def __init__(self, chunks: AsyncIterator[bytes]) -> None:
            self._chunks = chunks

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for chunk in self._chunks:
                yield chunk

        async def aclose(self) -> None:
            await self._chunks.aclose()  # type: ignore[attr-defined]

    return Body


_closing: set[asyncio.Task[None]] = set()


@functools.cache
def _sync_body(http: ModuleType) -> Any:
    class Body(http.SyncByteStream):  # type: ignore[name-defined,misc]
        def __init__(self, chunks: AsyncIterator[bytes], loop: asyncio.AbstractEventLoop) -> None:
            self._chunks = chunks
            self._loop = loop

        def __iter__(self) -> Iterator[bytes]:
            while (chunk := wait_for(self._loop, _next_chunk(self._chunks))) is not None:
                yield chunk

        def close(self) -> None:
            # A stream that its reader forgot is closed by the collector: on any thread, at any time.
            if self._loop.is_closed():
                return
            closing = self._chunks.aclose()  # type: ignore[attr-defined]
            if on_loop(self._loop):
                _closing.add(task := self._loop.create_task(closing))
                task.add_done_callback(_closing.discard)
            else:
                wait_for(self._loop, closing)

    return Body


async def answered(exchange: Exchange, request: WireRequest, routes: Sequence[Route]) -> WireReply:
    """The reply; a refusal of our own comes as an HTTP error that no SDK tries again."""
    try:
        return await exchange.call(request, routes)
    except Refused as refusal:
        return refused_reply(refusal)


async def _next_chunk(chunks: AsyncIterator[bytes]) -> bytes | None:
    return await anext(chunks, None)


def unsent_errors(http: ModuleType) -> tuple[type[BaseException], ...]:
    """The errors that prove that no byte of a request reached the provider."""
    return (
        http.ConnectError,
        http.ConnectTimeout,
        http.PoolTimeout,
        http.UnsupportedProtocol,
        http.ProxyError,
    )


def wire_request(request: Any) -> WireRequest:
    headers = [(key.lower(), value) for key, value in request.headers.items()]
    return WireRequest(
        request.method, str(request.url), request.url.raw_path.decode("ascii"), headers, request.content
    )


def make_route(http: ModuleType, lower: Any, request: Any) -> Route:
    headers = [(key, value) for key, value in request.headers.items()]

    async def send(wire: WireRequest) -> WireReply:
        given = [(key, value) for key, value in wire.headers if key not in _OURS]
        outgoing = http.Request(
            wire.method,
            wire.url,
            headers=[*given, ("accept-encoding", "identity")],
            content=wire.body,
            extensions={**request.extensions, "trace": wire.trace()},
        )
        with capture_as(None):
            response = await lower.handle_async_request(outgoing)
        response.request = outgoing
        kept = [(key, value) for key, value in response.headers.items() if key.lower() not in _DECODED]
        return WireReply(response.status_code, kept, chunks=response.aiter_bytes(), close=response.aclose)

    return Route(
        endpoint=endpoint_name(request.url, headers),
        base_url=f"{request.url.scheme}://{request.url.netloc.decode('ascii')}",
        send=send,
        unsent=unsent_errors(http),
        broken=(http.TransportError,),
    )
