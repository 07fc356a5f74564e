"""Requests that the manager's loop admits and another place sends: a loop of the user's own, or a thread.

A transport belongs to where it was made: its connections are those of one loop, or block a thread. Each of
these stands in for an async transport on the manager's loop.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any, TypeVar

T = TypeVar("T")

MOST_SENDING = 256
"""Synchronous calls on their way at once, of all managers of the process; further ones wait for a thread."""

SendAsync = Callable[[Any], Coroutine[Any, Any, Any]]
SendSync = Callable[[Any], Any]


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(MOST_SENDING, thread_name_prefix="penstock-send")


async def there(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns, run on another loop."""
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))


class Here:
    """The transport is the loop's own."""

    def __init__(self, send: SendAsync) -> None:
        self.handle_async_request = send


class OnOtherLoop:
    """The transport lives on a loop in another thread."""

    def __init__(self, http: ModuleType, send: SendAsync, loop: asyncio.AbstractEventLoop) -> None:
        self._http = http
        self._send = send
        self._loop = loop

    async def handle_async_request(self, request: Any) -> Any:
        """The response; its body is read where it comes from."""
        home = asyncio.get_running_loop()
        note = _noted_at(home, request)

        async def trace(event: str, info: Any) -> None:
            note(event, info)

        request.extensions = {**request.extensions, "trace": trace}
        response = await there(self._loop, self._send(request))
        stream = response.stream
        reading = aiter(stream)

        async def chunks() -> AsyncIterator[bytes]:
            while (chunk := await there(self._loop, _next(reading))) is not None:
                yield chunk

        response.stream = _stream(self._http)(chunks, lambda: there(self._loop, stream.aclose()))
        return response


class InThreads:
    """The transport is synchronous: it sends and reads in threads."""

    def __init__(self, http: ModuleType, send: SendSync) -> None:
        self._http = http
        self._send = send

    async def handle_async_request(self, request: Any) -> Any:
        """The response; its body is read in threads too."""
        loop = asyncio.get_running_loop()
        request.extensions = {**request.extensions, "trace": _noted_at(loop, request)}
        response = await loop.run_in_executor(_threads(), self._send, request)
        stream = response.stream
        reading = iter(stream)

        async def chunks() -> AsyncIterator[bytes]:
            while (chunk := await loop.run_in_executor(_threads(), next, reading, None)) is not None:
                yield chunk

        async def close() -> None:
            await loop.run_in_executor(_threads(), stream.close)

        response.stream = _stream(self._http)(chunks, close)
        return response


def _noted_at(loop: asyncio.AbstractEventLoop, request: Any) -> Callable[[str, Any], None]:
    """The request's trace hook, for code that runs elsewhere; only the end of the body is of interest."""
    trace = request.extensions["trace"]

    def note(event: str, info: Any) -> None:
        if event.endswith(".send_request_body.complete"):
            asyncio.run_coroutine_threadsafe(trace(event, info), loop)

    return note


async def _next(chunks: AsyncIterator[bytes]) -> bytes | None:
    return await anext(chunks, None)


@functools.cache
def _stream(http: ModuleType) -> Any:
    class Stream(http.AsyncByteStream):  # type: ignore[name-defined,misc]
        def __init__(
            self, chunks: Callable[[], AsyncIterator[bytes]], close: Callable[[], Awaitable[None]]
        ) -> None:
            self._chunks = chunks
            self._close = close

        def __aiter__(self) -> AsyncIterator[bytes]:
            return self._chunks()

        async def aclose(self) -> None:
            await self._close()

    return Stream
