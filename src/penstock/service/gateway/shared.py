"""Idempotency keys: callers of one tenant with the same key and request share one paid call."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace

from penstock.manager.engine import Manager
from penstock.runtime.replies import WireReply, decode_reply, encode_reply
from penstock.service.errors import HttpProblem

Make = Callable[[], Awaitable[WireReply]]


class SharedCalls:
    """Replies by (tenant, key): those under way here, and good ones kept in the store for `seconds`.

    The first caller makes the call; when it fails or goes away, the next one makes it anew.
    """

    def __init__(self, engine: Manager, seconds: float) -> None:
        self._engine = engine
        self._seconds = seconds
        self._flying: dict[tuple[str, str], tuple[str, asyncio.Future[WireReply]]] = {}

    async def obtain(self, tenant: str, key: str, digest: str, make: Make) -> WireReply:
        """The whole reply to this request. Raises `HttpProblem` 409 when the key was used for another."""
        place = (tenant, hashlib.sha256(key.encode()).hexdigest()[:32])
        while (flying := self._flying.get(place)) is not None:
            _same(flying[0], digest)
            await asyncio.wait([flying[1]])
            if not flying[1].cancelled() and flying[1].result().ok:
                return replace(flying[1].result(), replayed=True)
        landing: asyncio.Future[WireReply] = asyncio.get_running_loop().create_future()
        self._flying[place] = digest, landing
        try:
            reply = await self._kept(place, digest)
            if reply is None:
                reply = await make()
                await self._keep(place, digest, reply)
            landing.set_result(reply)
            return reply
        finally:
            del self._flying[place]
            landing.cancel()

    async def _kept(self, place: tuple[str, str], digest: str) -> WireReply | None:
        now = self._engine.clock.wall()
        value = await self._engine.read(lambda reader: reader.cached(place[0], "key:" + place[1], now))
        if value is None:
            return None
        request, _, reply = value.partition(b"\n")
        _same(request.decode(), digest)
        return decode_reply(reply)

    async def _keep(self, place: tuple[str, str], digest: str, reply: WireReply) -> None:
        if not reply.ok:
            return
        value = digest.encode() + b"\n" + encode_reply(reply)
        until = self._engine.clock.wall() + self._seconds
        await self._engine.node.committer.run(
            lambda store: store.cache(place[0], "key:" + place[1], value, until)
        )


def _same(first: str, digest: str) -> None:
    if first != digest:
        raise HttpProblem(
            409,
            "idempotency_conflict",
            "this idempotency key was used with another request; choose a new one",
            param="idempotency-key",
            headers={"x-should-retry": "false"},
        )
