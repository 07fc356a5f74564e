"""Connections to providers: a stack of transports of one connection each, the last used on top.

One pool for all would look at every idle connection at every request; with a thousand calls in flight that
costs more than the calls themselves.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import ModuleType
from typing import Any

MOST_IDLE = 500

Origin = tuple[str, str, int | None]


class Connections:
    """Stands in for an async transport of the library `http`: opens connections as they are needed and uses
    the warmest first."""

    def __init__(self, http: ModuleType) -> None:
        self._http = http
        self._context = http.create_ssl_context()  # once: reading certificates takes tens of milliseconds
        self._limits = http.Limits(max_connections=1, max_keepalive_connections=1)
        self._body = _body_class(http)
        self._idle: dict[Origin, list[Any]] = {}
        self._busy: dict[int, tuple[Any, Origin]] = {}
        self._closed = False

    async def handle_async_request(self, request: Any) -> Any:
        """The library's response; its connection comes back when its body was read to the end."""
        url = request.url
        origin = (url.scheme, url.host, url.port)
        idle = self._idle.setdefault(origin, [])
        transport = (
            idle.pop() if idle else self._http.AsyncHTTPTransport(verify=self._context, limits=self._limits)
        )
        self._busy[id(transport)] = transport, origin
        try:
            response = await transport.handle_async_request(request)
        except BaseException:
            await self.give_back(transport, whole=False)
            raise
        response.stream = self._body(response.stream, self, transport)
        return response

    async def give_back(self, transport: Any, whole: bool) -> None:
        """Keep a connection whose reply was read to its end; close any other."""
        _, origin = self._busy.pop(id(transport), (None, None))
        if origin is not None and whole and not self._closed and len(self._idle[origin]) < MOST_IDLE:
            self._idle[origin].append(transport)
        else:
            await transport.aclose()

    async def aclose(self) -> None:
        self._closed = True
        known = [transport for stack in self._idle.values() for transport in stack]
        known += [transport for transport, _ in self._busy.values()]
        self._idle.clear()
        self._busy.clear()
        for transport in known:
            await transport.aclose()


def _body_class(http: ModuleType) -> Any:
    class Body(http.AsyncByteStream):  # type: ignore[name-defined,misc]
        """A reply's body that gives its connection back when it is closed."""

        _transport: Any

        def __init__(self, stream: Any, connections: Connections, transport: Any) -> None:
            self._stream = stream
            self._connections = connections
            self._transport = transport
            self._whole = False

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for chunk in self._stream:
                yield chunk
            self._whole = True

        async def aclose(self) -> None:
            transport = self._transport
            if transport is not None:
                self._transport = None
                await self._stream.aclose()
                await self._connections.give_back(transport, self._whole)

    return Body
