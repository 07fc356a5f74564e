"""Taking turns: tasks that must not do something at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager


class Turns:
    """A lock for each name, kept while somebody holds it or waits for it."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def turn(
        self, name: str, off_slot: Callable[[], AbstractAsyncContextManager[None]]
    ) -> AsyncIterator[None]:
        """Inside, nobody else is in a turn of this name; who waits for one waits in `off_slot`."""
        lock, users = self._locks.get(name, (asyncio.Lock(), 0))
        self._locks[name] = lock, users + 1
        held = False
        try:
            if lock.locked():
                async with off_slot():
                    held = await lock.acquire()
            else:
                held = await lock.acquire()
            yield
        finally:
            if held:
                lock.release()
            lock, users = self._locks.pop(name)
            if users > 1:
                self._locks[name] = lock, users - 1
