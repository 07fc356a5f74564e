"""Events as they become durable, for those who follow them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial

from penstock.manager.waiting import Read
from penstock.stores.contract import Event, Reader

_PAGE = 1000
# Commits come in bursts; one look for several of them.
_GATHER_SECONDS = 0.005
# How often a closing feed looks whether its followers have come to their end.
_LAST_LOOKS = 200


class Feed:
    """Follows the events of the store, woken by every commit."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._followers: set[asyncio.Event] = set()
        self._closed = False

    def open(self) -> None:
        """Let events come, after a start."""
        self._closed = False

    async def close(self) -> None:
        """No more events will come: iterations end after what is there."""
        self._closed = True
        self.wake()
        for _ in range(_LAST_LOOKS):
            if not self._followers:
                return
            await asyncio.sleep(_GATHER_SECONDS)

    def wake(self) -> None:
        """Something was committed."""
        for follower in self._followers:
            follower.set()

    async def follow(self, task: int | None, after: int, kinds: Sequence[str] = ()) -> AsyncIterator[Event]:
        """Events with a higher number than `after`, in order, of one task (by `seq`) or of all."""
        async for page in self.pages(task, after):
            for event in page:
                if not kinds or event.kind in kinds:
                    yield event
                if task is not None and event.kind == "finished":
                    return

    async def pages(self, task: int | None, after: int) -> AsyncIterator[list[Event]]:
        """The same in pages as they are found, whatever their kinds and without an end."""
        news = asyncio.Event()
        self._followers.add(news)
        try:
            while True:
                closed = self._closed
                news.clear()
                events = await self._read(partial(_page, after, task))
                if events:
                    after = events[-1].no
                    yield events
                if closed and len(events) < _PAGE:
                    return
                if len(events) < _PAGE:
                    await news.wait()
                    if not self._closed:
                        await asyncio.sleep(_GATHER_SECONDS)
        finally:
            self._followers.discard(news)


def _page(after: int, task: int | None, reader: Reader) -> list[Event]:
    return reader.events(after, _PAGE, task)
