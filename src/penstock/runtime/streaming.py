"""Relays a streamed reply: chunks pass at once, the end is held until the record is durable."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from penstock.llm.sse import SseEvent, StreamReader
from penstock.runtime.permit import Permit
from penstock.runtime.replies import WireReply
from penstock.runtime.weigher import Weighed

if TYPE_CHECKING:
    from penstock.runtime.calls import Call
    from penstock.runtime.exchange import Exchange


async def relay(
    exchange: Exchange, call: Call, weighed: Weighed, permit: Permit, reply: WireReply, started: float
) -> AsyncGenerator[bytes, None]:
    """The reply's bytes, event by event, without the usage chunk that only we asked for.

    A stream that is cut, or whose reader goes away, is not recorded and is booked at its hold. The first item
    is empty and to be dropped: from then on closing the stream, or forgetting it, ends the call.
    """
    assert reply.chunks is not None
    incoming, close = reply.chunks, reply.close
    reader = StreamReader(call.shape.family)
    shown: list[bytes] = []
    held: list[bytes] = []

    def sort(events: list[SseEvent]) -> list[bytes]:
        """What may pass now; from the end mark on, everything is held."""
        passing: list[bytes] = []
        for event in events:
            if call.hide_usage and event.usage_only:
                continue
            shown.append(event.raw)
            (held if held or event.end else passing).append(event.raw)
        return passing

    try:
        yield b""
        async for chunk in incoming:
            for raw in sort(reader.feed(chunk)):
                yield raw
        for raw in sort(reader.close()):
            yield raw
        if reader.complete:
            whole = WireReply(reply.status, reply.headers, b"".join(shown))
            await exchange.settler.settle_and_record(call, weighed, permit, reader.facts, whole, started)
        for raw in held:
            yield raw
    finally:
        if not permit.ended:
            permit.uncertain()
        exchange.over(call)
        if close is not None:
            await close()
