"""The line in front of the gate: calls wait here in rank order and go through together with their slot.

The rule is `admission.Gate`; this file only keeps the lines, asks the rule when something may have changed,
writes the intents of all that were admitted in one transaction, and wakes their callers when that is durable.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Sequence
from typing import Any, TypeVar

from penstock.admission import Admit, Ask, Gate, Reject, Wait
from penstock.errors import BudgetExhausted, Parked, PenstockError, PriceUnknown, RequestTooLarge
from penstock.model.clock import Clock
from penstock.model.rank import Rank
from penstock.runtime.committer import Committer
from penstock.runtime.permit import Caller, Permit
from penstock.runtime.slots import Slots

REJECTIONS: dict[str, type[PenstockError]] = {
    "too_large": RequestTooLarge,
    "budget_exhausted": BudgetExhausted,
    "price_unknown": PriceUnknown,
}

LineKey = tuple[Any, ...]
T = TypeVar("T")


def rejection(verdict: Reject) -> PenstockError:
    """The error that a rejected caller gets."""
    return REJECTIONS.get(verdict.code, BudgetExhausted)(verdict.message)


def _outcome(future: asyncio.Future[T]) -> T | None:
    """What a waiter was given in the very moment in which it went away."""
    if not future.done() or future.cancelled() or future.exception() is not None:
        return None
    return future.result()


class Waiter:
    """One call in a line."""

    __slots__ = ("asks", "caller", "future", "order", "rank", "since")

    def __init__(
        self, asks: Sequence[Ask], caller: Caller, order: int, since: float, future: asyncio.Future[Permit]
    ) -> None:
        self.asks = asks
        self.caller = caller
        self.rank: Rank = caller.rank
        self.order = order
        self.since = since
        self.future = future

    def __lt__(self, other: Waiter) -> bool:
        return (self.rank, self.order) < (other.rank, other.order)


class Line:
    """The waiting calls that need the same of the gate, best-ranked first."""

    __slots__ = ("verdict", "waiters")

    def __init__(self) -> None:
        self.waiters: list[Waiter] = []
        self.verdict: Wait | None = None

    def head(self) -> Waiter | None:
        while self.waiters and self.waiters[0].future.done():
            heapq.heappop(self.waiters)
        return self.waiters[0] if self.waiters else None

    def __lt__(self, other: Line) -> bool:
        return self.waiters[0] < other.waiters[0]


class Admitter:
    """Lets calls through the gate, in rank order within a line and across lines that share a limit."""

    def __init__(self, gate: Gate, slots: Slots, committer: Committer, clock: Clock, node: int) -> None:
        self.gate = gate
        self.slots = slots
        self.committer = committer
        self.clock = clock
        self.node = node
        self._lines: dict[LineKey, Line] = {}
        self._returning: list[tuple[Rank, int, asyncio.Future[bool]]] = []
        self._order = 0
        self._pumping = False
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self.waiting_by_lane: dict[int, int] = {}
        self.typical: dict[str, Ask] = {}
        self.on_admitted: list[Any] = []
        slots.on_free.append(self.pump_soon)

    async def admit(self, asks: Sequence[Ask], caller: Caller) -> Permit:
        """Wait until the gate admits one of `asks` (the same call by alternative endpoints); its intent is
        durable.

        Raises `RequestTooLarge`, `BudgetExhausted` or `PriceUnknown` for what waiting cannot help, and
        `Parked` when the node is stopping.
        """
        if self._closed:
            raise Parked
        never = [self.gate.never_fits(ask) for ask in asks]
        if all(verdict is not None for verdict in never):
            raise rejection(never[0])  # type: ignore[arg-type]
        self._order += 1
        future: asyncio.Future[Permit] = asyncio.get_running_loop().create_future()
        waiter = Waiter(asks, caller, self._order, self.clock.monotonic(), future)
        first = asks[0]
        self.typical[first.model] = first
        key = (first.endpoint, first.model, first.tenant, first.pools)
        heapq.heappush(self._lines.setdefault(key, Line()).waiters, waiter)
        self.waiting_by_lane[caller.lane] = self.waiting_by_lane.get(caller.lane, 0) + 1
        self.pump_soon()
        try:
            return await future
        except asyncio.CancelledError:
            if (permit := _outcome(future)) is not None:
                permit.abandon()
            raise
        finally:
            self.waiting_by_lane[caller.lane] -= 1

    async def regain_slot(self, caller: Caller) -> None:
        """Wait for a slot for a handler that comes back from a wait; it goes before calls, which are new
        work."""
        if self._closed:
            raise Parked
        self._order += 1
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._returning, (caller.rank, self._order, future))
        self.pump_soon()
        try:
            await future
        except asyncio.CancelledError:
            if _outcome(future):
                self.slots.give()
            raise

    def room(self, model: str, most: int) -> int:
        """About how many more calls of this model the gate could let through now."""
        ask = self.typical.get(model)
        if ask is None:
            return most
        return self.gate.headroom(ask, self.clock.monotonic(), most)

    def pump_soon(self) -> None:
        """Look at the lines again in the next turn of the loop."""
        if not self._pumping and (self._lines or self._returning):
            self._pumping = True
            asyncio.get_running_loop().call_soon(self._pump)

    def close(self) -> None:
        """Let nobody through any more; those who wait get `Parked`."""
        self._closed = True
        for line in self._lines.values():
            for waiter in line.waiters:
                if not waiter.future.done():
                    waiter.future.set_exception(Parked())
        self._lines.clear()
        for _, _, returning in self._returning:
            if not returning.done():
                returning.set_exception(Parked())
        self._returning.clear()

    def waits(self) -> list[tuple[Waiter, Wait]]:
        """Everybody who waits, with the reason of the head of the line."""
        return [
            (waiter, line.verdict)
            for line in self._lines.values()
            if line.verdict is not None
            for waiter in line.waiters
            if not waiter.future.done()
        ]

    def _pump(self) -> None:
        self._pumping = False
        self._let_return()
        now = self.clock.monotonic()
        granted: list[tuple[Waiter, Permit]] = []
        next_look: float | None = None
        self._lines = {key: line for key, line in self._lines.items() if line.head() is not None}
        lines = list(self._lines.values())
        heapq.heapify(lines)
        while lines:
            line = lines[0]
            waiter = line.waiters[0]
            if self.slots.free <= 0:
                for other in lines:
                    other.verdict = Wait("slots", "max_concurrent", None)
                break
            verdict = self._try(waiter, now, granted)
            line.verdict = verdict
            if verdict is None:
                heapq.heappop(line.waiters)
                heapq.heapreplace(lines, line) if line.head() is not None else heapq.heappop(lines)
                continue
            if verdict.until is not None:
                next_look = verdict.until if next_look is None else min(next_look, verdict.until)
            heapq.heappop(lines)
            if ":" not in verdict.key and verdict.reason in ("requests", "tokens", "money"):
                # A global limit: nobody worse-ranked may take what this one waits for.
                for other in lines:
                    other.verdict = verdict
                break
        if granted:
            self._commit(granted)
        self._look_again(next_look, now)

    def _let_return(self) -> None:
        while self._returning and self.slots.free > 0:
            future = heapq.heappop(self._returning)[2]
            if not future.done():
                self.slots.take()
                future.set_result(True)

    def _try(self, waiter: Waiter, now: float, granted: list[tuple[Waiter, Permit]]) -> Wait | None:
        """Admit the call by the first endpoint that has room; `None` when it is out of the line."""
        waits: list[Wait] = []
        for ask in waiter.asks:
            verdict = self.gate.consider(ask, now)
            if isinstance(verdict, Admit):
                grant = self.gate.admit(ask, now)
                self.slots.take()
                granted.append((waiter, Permit(self, grant, ask, waiter.caller)))
                return None
            if isinstance(verdict, Wait):
                waits.append(verdict)
            elif len(waiter.asks) == 1:
                waiter.future.set_exception(rejection(verdict))
                return None
        if not waits:
            waiter.future.set_exception(rejection(verdict))  # type: ignore[arg-type]
            return None
        return min(waits, key=lambda wait: wait.until if wait.until is not None else float("inf"))

    def _commit(self, granted: list[tuple[Waiter, Permit]]) -> None:
        wall = self.clock.wall()
        intents = [permit.intent(self.node, wall) for _, permit in granted]

        def deliver(ids: list[int]) -> None:
            for (waiter, permit), id in zip(granted, ids, strict=True):
                permit.id = id
                if waiter.future.done():
                    permit.abandon()
                else:
                    waiter.future.set_result(permit)

        def fail(error: BaseException) -> None:
            for waiter, permit in granted:
                self.gate.release(permit.grant, self.clock.monotonic())
                self.slots.give()
                if not waiter.future.done():
                    waiter.future.set_exception(error)

        self.committer.send("reserve", intents, deliver, fail)
        for notify in self.on_admitted:
            notify()

    def _look_again(self, at: float | None, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if at is not None:
            delay = max(0.0005, at - now)
            self._timer = asyncio.get_running_loop().call_later(delay, self.pump_soon)
