"""Identical calls share one: those under way join the first, and answers are kept for a while when asked to.

Both stay within a tenant. A shared answer takes no limit and no money.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from penstock.model.clock import Clock
from penstock.model.options import TaskOptions
from penstock.runtime.committer import Committer
from penstock.runtime.replies import WireReply, decode_reply, encode_reply

Make = Callable[[], Awaitable[WireReply]]


class Flights:
    """Calls under way by (tenant, request), and the exact-match cache."""

    def __init__(self, committer: Committer, clock: Clock) -> None:
        self._committer = committer
        self._clock = clock
        self._flying: dict[tuple[str, str], asyncio.Future[WireReply]] = {}
        self.hits = 0

    async def share(
        self,
        tenant: str,
        digest: str,
        options: TaskOptions,
        make: Make,
        off_slot: Callable[[], AbstractAsyncContextManager[None]],
    ) -> WireReply:
        """An unexpired answer, the answer of an equal call under way, or a new one.

        The first caller makes the call; when it fails or goes away, the next one makes it anew.
        """
        ttl = options.cache_ttl
        if ttl is not None:
            now = self._clock.wall()
            kept = await self._committer.read(lambda reader: reader.cached(tenant, digest, now))
            if kept is not None:
                self.hits += 1
                return decode_reply(kept)
        if not options.merge:
            return await self._make(tenant, digest, ttl, make)
        place = (tenant, digest)
        while (flying := self._flying.get(place)) is not None:
            async with off_slot():
                await asyncio.wait([flying])
            if not flying.cancelled() and flying.exception() is None and flying.result().ok:
                self.hits += 1
                return replace(flying.result(), replayed=True)
        landing: asyncio.Future[WireReply] = asyncio.get_running_loop().create_future()
        self._flying[place] = landing
        try:
            reply = await self._make(tenant, digest, ttl, make)
            landing.set_result(reply)
            return reply
        finally:
            del self._flying[place]
            landing.cancel()

    async def _make(self, tenant: str, digest: str, ttl: float | None, make: Make) -> WireReply:
        reply = await make()
        if ttl is not None and reply.ok:
            value, until = encode_reply(reply), self._clock.wall() + ttl
            await self._committer.run(lambda store: store.cache(tenant, digest, value, until))
        return reply
