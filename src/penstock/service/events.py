"""Events as streams: one look at the store for all followers, each of which resumes where it was.

Every event has a number that rises with the commits, so a follower that says which it saw last gets all later
ones, each once. One that lags behind what is kept here reads the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from bisect import bisect_right
from collections.abc import AsyncIterator, Iterator
from functools import partial

from penstock.manager.engine import Manager
from penstock.model.clock import iso_time
from penstock.service.errors import HttpProblem
from penstock.stores.contract import Event, Reader

_KEPT = 5_000
PAGE = 1_000


class Hub:
    """The newest events, and those who follow them."""

    def __init__(self, engine: Manager, most_followers: int, closing: asyncio.Event) -> None:
        self._engine = engine
        self._closing = closing
        self._most = most_followers
        self._newest: list[Event] = []
        self._before = self._head = 0
        self._followers: set[asyncio.Event] = set()
        self._pump: asyncio.Task[None] | None = None
        self._closer: asyncio.Task[None] | None = None

    def check_room(self) -> None:
        """Raise `HttpProblem` when every place is taken."""
        if len(self._followers) >= self._most:
            message = f"{self._most} followers are connected already"
            raise HttpProblem(503, "too_many_followers", message, headers={"retry-after": "10"})

    @contextlib.contextmanager
    def place(self) -> Iterator[asyncio.Event]:
        """A place for one follower: set whenever there is news. Raises `HttpProblem` when all are taken."""
        self.check_room()
        news = asyncio.Event()
        self._followers.add(news)
        try:
            yield news
        finally:
            self._followers.discard(news)
            if not self._followers:
                self._rest()

    async def head(self) -> int:
        """The number of the newest event that is known here; all up to it are in the store or removed."""
        if self._pump is None or self._pump.done():
            head = await self._engine.read(lambda reader: reader.last_event())
            if self._pump is None or self._pump.done():  # nobody else began meanwhile
                self._head = self._before = head
                self._newest.clear()
                self._pump = asyncio.create_task(self._follow(head), name="penstock-events")
                self._closer = self._closer or asyncio.create_task(self._wake_at_close())
        return self._head

    async def pages(
        self, after: int, news: asyncio.Event, keep_alive_seconds: float
    ) -> AsyncIterator[list[Event]]:
        """Events behind `after`, in order; an empty page when there was none for so long. Ends with the
        manager."""
        await self.head()
        while True:
            news.clear()
            ended = self._closing.is_set() or self._pump is None or self._pump.done()
            page = await self._page(after)
            if page:
                after = page[-1].no
                yield page
            elif ended:
                return
            else:
                try:
                    async with asyncio.timeout(keep_alive_seconds):
                        await news.wait()
                except TimeoutError:
                    yield []

    async def _page(self, after: int) -> list[Event]:
        if after < self._before:
            return await self._engine.read(partial(next_page, after))
        place = bisect_right(self._newest, after, key=lambda event: event.no)
        return self._newest[place : place + PAGE]

    async def _follow(self, after: int) -> None:
        try:
            async for page in self._engine.feed.pages(None, after):
                self._newest += page
                self._head = page[-1].no
                if len(self._newest) > 2 * _KEPT:
                    self._before = self._newest[-_KEPT - 1].no
                    del self._newest[:-_KEPT]
                self._wake()
        finally:
            self._wake()

    async def _wake_at_close(self) -> None:
        await self._closing.wait()
        self._wake()

    def _rest(self) -> None:
        for task in (self._pump, self._closer):
            if task is not None:
                task.cancel()
        self._pump = self._closer = None

    def _wake(self) -> None:
        for follower in self._followers:
            follower.set()


def sse_text(event: Event) -> str:
    """One event as a server-sent one; its id is what `Last-Event-ID` takes."""
    data = {
        "no": event.no,
        "task_id": event.task_id or None,
        "at": iso_time(event.at),
        "kind": event.kind,
        "data": event.data,
    }
    return f"id: {event.no}\nevent: {event.kind}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"


def next_page(after: int, reader: Reader) -> list[Event]:
    """Events of all tasks behind this one, as many as go at once."""
    return reader.events(after, PAGE)
