"""Model calls of any `httpx2` or `httpx` client, made inside a task, pass gate and journal without change of
its code.

    with context.capturing():
        await agent.run("...")

Every client of these libraries sends through their `AsyncHTTPTransport` or `HTTPTransport`, whenever and
wherever it was made; these two classes get a hook, which does nothing but where a context variable says so.
Clients on other transports (`aiohttp`, say) are not captured.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import importlib.util
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from types import ModuleType
from typing import Any

from penstock.llm.wire import Family, classify, read_call
from penstock.runtime.capture_state import Capture, Ready, capture_as, current_capture
from penstock.runtime.exchange import Exchange
from penstock.runtime.other_places import Here, InThreads, OnOtherLoop, there
from penstock.runtime.position import current_position
from penstock.runtime.transport import (
    answered_after,
    async_response,
    handled_in_thread,
    make_route,
    wire_request,
)

LIBRARIES = ("httpx2", "httpx")


def aside(http: ModuleType, host: str) -> Any:
    """An async transport for the manager's loop that serves this host in the place of the client's own; tests
    put theirs here."""
    return None


_lock = threading.Lock()
_hooked: dict[tuple[type, str], list[Any]] = {}


@contextlib.contextmanager
def capturing(ready: Ready | None = None) -> Iterator[None]:
    """Model calls that the task makes inside pass gate and journal, once `ready` is over."""
    install()
    with capture_as(Capture(ready)):
        yield


def install() -> None:
    """Hook the classes of those libraries that are installed, where they are not.

    Looked at anew each time: what somebody puts in the place of a method for a while (a test's mock of these
    libraries, say) puts back what stood there before, and that may be from before our hook.
    """
    if _hooked and all(_is_hooked(*place) for place in _hooked):
        return
    with _lock:
        for name in LIBRARIES:
            if importlib.util.find_spec(name) is not None:
                http = importlib.import_module(name)
                _hook(http.AsyncHTTPTransport, "handle_async_request", _async_hook, http)
                _hook(http.HTTPTransport, "handle_request", _sync_hook, http)


def uninstall() -> None:
    """Take the hooks away, but for those that somebody else has wrapped meanwhile."""
    with _lock:
        for (kind, method), hooks in _hooked.items():
            while (hook := kind.__dict__[method]) in hooks:
                setattr(kind, method, hook.__wrapped__)
        _hooked.clear()


def _hook(kind: type, method: str, make: Callable[[ModuleType, Any], Any], http: ModuleType) -> None:
    hooks = _hooked.setdefault((kind, method), [])
    if not _is_hooked(kind, method):
        hook = make(http, kind.__dict__[method])
        hook.penstock_hook = True
        hooks.append(hook)
        setattr(kind, method, hook)


def _is_hooked(kind: type, method: str) -> bool:
    # Those who wrap ours as `functools.wraps` does bear the mark too.
    return getattr(kind.__dict__[method], "penstock_hook", False)


def _async_hook(http: ModuleType, original: Any) -> Any:
    @functools.wraps(original)
    async def handle_async_request(self: Any, request: Any) -> Any:
        capture = current_capture()
        if capture is None or not _concerns(request):
            return await original(self, request)
        await request.aread()
        exchange = _exchange_for(request)
        if exchange is None:
            return await original(self, request)
        send = functools.partial(original, self)
        home, here = exchange.services.loop, asyncio.get_running_loop()
        own = Here(send) if here is home else OnOtherLoop(http, send, here)
        lower = aside(http, request.url.host) or own
        routes = [make_route(http, lower, request)]
        work = answered_after(capture.ready, exchange, wire_request(request), routes)
        if here is home:
            return async_response(http, request, await work)
        reply = await there(home, work)
        if reply.chunks is not None:
            reply.chunks = _fetched(reply.chunks, home)
        return async_response(http, request, reply)

    return handle_async_request


def _sync_hook(http: ModuleType, original: Any) -> Any:
    @functools.wraps(original)
    def handle_request(self: Any, request: Any) -> Any:
        capture = current_capture()
        if capture is None or not _concerns(request):
            return original(self, request)
        request.read()
        exchange = _exchange_for(request)
        if exchange is None:
            return original(self, request)
        lower = aside(http, request.url.host) or InThreads(http, functools.partial(original, self))
        return handled_in_thread(exchange, http, lower, request, capture.ready)

    return handle_request


def _concerns(request: Any) -> bool:
    """Whether this may be a model call, as far as can be told before its body is read."""
    if "json" not in request.headers.get("content-type", ""):
        return False
    return classify(request.method, request.url.path) is not Family.UNKNOWN


def _exchange_for(request: Any) -> Exchange | None:
    """Where this call is made; `None` when no task makes it, or it is none: other services have addresses
    that end in `/messages` too, but it takes a model to answer a model call."""
    position = current_position()
    path = request.url.raw_path.decode("ascii")
    if position is None or read_call(request.method, path, request.content).model is None:
        return None
    return position.context.services.exchange


async def _fetched(chunks: AsyncIterator[bytes], home: asyncio.AbstractEventLoop) -> AsyncIterator[bytes]:
    """A reply's chunks, fetched from the manager's loop."""

    async def fetch() -> bytes | None:
        return await anext(chunks, None)

    try:
        while (chunk := await there(home, fetch())) is not None:
            yield chunk
    finally:
        await there(home, chunks.aclose())  # type: ignore[attr-defined]
