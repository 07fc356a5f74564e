"""The lines in front of the gate: calls, and handlers that want their slot back, each in its place."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Sequence
from typing import Any

from penstock.admission import Ask, Wait
from penstock.runtime.permit import Caller

LineKey = tuple[Any, ...]
Afresh = Callable[[], Sequence[Ask] | None]


class Waiter:
    """One that waits: a call with its alternative `asks`, or a handler that only needs a slot (no asks)."""

    __slots__ = ("afresh", "asks", "caller", "future", "order")

    def __init__(
        self,
        asks: Sequence[Ask],
        caller: Caller,
        order: int,
        future: asyncio.Future[Any],
        afresh: Afresh | None,
    ) -> None:
        self.asks = asks
        self.afresh = afresh
        self.caller = caller
        self.order = order
        self.future = future

    def __lt__(self, other: Waiter) -> bool:
        mine, theirs = self.caller, other.caller
        return (mine.stage, mine.rank, self.order) < (theirs.stage, theirs.rank, other.order)


class Line:
    """Those that need the same of the gate and belong to the same flow, best-ranked first.

    `counter` is that of the flow, as of the last look at the lines.
    """

    __slots__ = ("counter", "flow", "verdict", "waiters")

    def __init__(self, flow: str | None) -> None:
        self.flow = flow
        self.counter = 0.0
        self.waiters: list[Waiter] = []
        self.verdict: Wait | None = None

    def push(self, waiter: Waiter) -> None:
        heapq.heappush(self.waiters, waiter)

    def pop(self) -> None:
        heapq.heappop(self.waiters)

    def head(self) -> Waiter | None:
        """The best-ranked that still waits."""
        while self.waiters and self.waiters[0].future.done():
            heapq.heappop(self.waiters)
        return self.waiters[0] if self.waiters else None

    def __lt__(self, other: Line) -> bool:
        mine, theirs = self.waiters[0], other.waiters[0]
        return (mine.caller.stage, self.counter, mine.caller.rank, mine.order) < (
            theirs.caller.stage,
            other.counter,
            theirs.caller.rank,
            theirs.order,
        )


def key_of(asks: Sequence[Ask], caller: Caller) -> LineKey:
    """What tells lines apart: waiters with equal keys stand in one."""
    if not asks:
        return (caller.flow,)
    first = asks[0]
    return caller.flow, first.endpoint, first.model, first.tenant, first.program, first.pools
