"""Providers that are served in this process: no port, no thread, no wait.

Every call that leaves through a gate leaves through `Connections`, or, where it was captured, through the
client's own transport; here their place is taken by connections that know the addresses of this process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any

from penstock.runtime import capture, client, transport
from penstock.runtime.connections import Connections
from penstock.simulator.exchange import ConnectionCut
from penstock.testing.replacing import replaced

_applications: dict[str, Any] = {}


class InProcessConnections:
    """Stands in for `Connections`: requests to hosts of this process go to their ASGI application, others
    leave as ever."""

    def __init__(self, http: ModuleType) -> None:
        self._http = http
        self._outside: Connections | None = None

    async def handle_async_request(self, request: Any) -> Any:
        """The library's response; it comes whole."""
        application = _applications.get(request.url.host)
        if application is not None:
            return await _answered(self._http, application, request)
        if self._outside is None:
            self._outside = Connections(self._http)
        return await self._outside.handle_async_request(request)

    async def aclose(self) -> None:
        if self._outside is not None:
            await self._outside.aclose()


@contextmanager
def served(host: str, application: Any) -> Iterator[None]:
    """Inside, managers and transports that start find the ASGI application at `host`."""
    with ExitStack() as stack:
        for module in (client, transport):
            stack.enter_context(replaced(module, "Connections", InProcessConnections))
        stack.enter_context(replaced(capture, "aside", _aside))
        _applications[host] = application
        stack.callback(_applications.pop, host)
        yield


def _aside(http: ModuleType, host: str) -> InProcessConnections | None:
    """What captured calls to a host of this process leave by."""
    return InProcessConnections(http) if host in _applications else None


async def _answered(http: ModuleType, application: Any, request: Any) -> Any:
    if (trace := request.extensions.get("trace")) is not None:
        await trace("http11.send_request_body.complete", {})
    patience = (request.extensions.get("timeout") or {}).get("read")
    try:
        async with asyncio.timeout(patience):
            return await http.ASGITransport(app=application).handle_async_request(request)
    except TimeoutError:
        raise http.ReadTimeout("the simulated provider said nothing", request=request) from None
    except ConnectionCut:
        raise http.RemoteProtocolError("the simulated provider cut the connection", request=request) from None
