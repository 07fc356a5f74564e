"""Lets calls and returning handlers through, in their order, together with their slots.

The rule is `admission.Gate`; this file only keeps the lines, asks the rule when something may have changed,
writes the intents of all that were admitted in one transaction, and wakes their callers when that is durable.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from penstock.admission import Admit, Ask, Gate, Reject, Wait
from penstock.errors import BudgetExhausted, Parked, PenstockError, PriceUnknown, RequestTooLarge
from penstock.model.clock import Clock
from penstock.runtime.call_reports import CallReport, origin_here
from penstock.runtime.committer import Committer
from penstock.runtime.lines import Afresh, Line, LineKey, Waiter, key_of
from penstock.runtime.permit import Caller, Permit
from penstock.runtime.ranking import Place
from penstock.runtime.shares import Shares
from penstock.runtime.slots import Slots
from penstock.runtime.takeovers import Takeovers

REJECTIONS: dict[str, type[PenstockError]] = {
    "too_large": RequestTooLarge,
    "budget_exhausted": BudgetExhausted,
    "price_unknown": PriceUnknown,
}
FIRST_LOOK = 8
NO_SLOT = Wait("slots", "max_concurrent", None)
# Waits for what everybody shares: nobody worse-ranked may take it meanwhile.
SHARED_REASONS = ("requests", "tokens", "money")
# In the names of limits that are those of a model, a tenant, a workflow or an endpoint (see `scope_suffix`).
OF_SOME = (":", " of ", " at ")


def rejection(verdict: Reject) -> PenstockError:
    """The error that a rejected caller gets."""
    return REJECTIONS.get(verdict.code, BudgetExhausted)(verdict.message)


class Admitter:
    """Keeps the order: stage, then flow, then rank. A task that has not started yet and is better-ranked than
    all who wait (`rival`) gets the next slot; the dispatcher claims it then (`on_rival`)."""

    def __init__(
        self, gate: Gate, slots: Slots, committer: Committer, clock: Clock, node: int, shares: Shares
    ) -> None:
        self.gate = gate
        self.slots = slots
        self.committer = committer
        self.clock = clock
        self.node = node
        self.shares = shares
        self.rival: Callable[[], Place | None] = lambda: None
        self.on_rival: Callable[[], None] = lambda: None
        self.takeovers = Takeovers()
        self._lines: dict[LineKey, Line] = {}
        self._order = 0
        self._pumping = False
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self.waiting_by_lane: dict[int, int] = {}
        self.typical: dict[str, Ask] = {}
        self.on_admitted: list[Any] = []
        self.on_call: list[Callable[[CallReport], None]] = []
        slots.on_free.append(self.pump_soon)

    async def admit(self, asks: Sequence[Ask], caller: Caller, afresh: Afresh | None = None) -> Permit:
        """Wait until the gate admits one of `asks` (the same call by alternative endpoints); its intent is
        durable.

        `afresh` gives better asks for the same call once there are some: who came before anything was known
        must not be held to its cap, or be refused for it, for as long as it waits.

        Raises `RequestTooLarge`, `BudgetExhausted` or `PriceUnknown` for what waiting cannot help, and
        `Parked` when the node is stopping or the task has to make place.
        """
        asked_at = self.clock.monotonic()
        never = [self.gate.never_fits(ask) for ask in asks]
        if not self._closed and all(verdict is not None for verdict in never):
            raise rejection(never[0])  # type: ignore[arg-type]
        self.typical[asks[0].model] = _of_nobody(asks[0])
        future: asyncio.Future[Permit] = asyncio.get_running_loop().create_future()
        self.waiting_by_lane[caller.lane] = self.waiting_by_lane.get(caller.lane, 0) + 1
        try:
            self._join(asks, caller, future, afresh)
            permit = await future
            if self.on_call:
                permit.origin = origin_here(asked_at, self.clock.monotonic())
            return permit
        except asyncio.CancelledError:
            if (permit := _outcome(future)) is not None:
                permit.abandon()
            raise
        finally:
            self.waiting_by_lane[caller.lane] -= 1

    async def regain_slot(self, caller: Caller) -> None:
        """Wait for a slot for a handler that comes back from a wait, or that lets others pass at a step."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._join((), caller, future)
        try:
            await future
        except asyncio.CancelledError:
            if _outcome(future):
                self.slots.give()
            raise

    @property
    def contended(self) -> bool:
        """Whether anybody waits, here or for a start."""
        return bool(self._lines) or self.rival() is not None

    def room(self, model: str, most: int) -> int:
        """About how many more calls of this model the gate could let through now."""
        ask = self.typical.get(model)
        if ask is None:
            return min(most, FIRST_LOOK)  # nothing is known of such calls yet
        return self.gate.headroom(ask, self.clock.monotonic(), most)

    def pump_soon(self) -> None:
        """Look at the lines again in the next turn of the loop."""
        if not self._pumping and self._lines:
            self._pumping = True
            asyncio.get_running_loop().call_soon(self._pump)

    def close(self) -> None:
        """Let nobody through any more; those who wait get `Parked`."""
        self._closed = True
        for waiter in self.waiters():
            waiter.future.set_exception(Parked())
        self._lines.clear()

    def waiters(self) -> list[Waiter]:
        """Everybody who waits, in no order."""
        return [
            waiter for line in self._lines.values() for waiter in line.waiters if not waiter.future.done()
        ]

    def worst(self, may_leave: Callable[[int], bool]) -> tuple[Waiter, Place] | None:
        """The worst-placed task that waits and may be put back; one that has begun no step first."""
        found: tuple[bool, Place, Waiter] | None = None
        for line in self._lines.values():
            counter = self.shares.counter(line.flow)
            for waiter in line.waiters:
                caller = waiter.caller
                if waiter.future.done() or caller.task is None or not may_leave(caller.task):
                    continue
                place = Place(caller.stage, counter, caller.rank, waiter.order)
                if found is None or (caller.begun, place) > (found[0], found[1]):
                    found = caller.begun, place, waiter
        return None if found is None else (found[2], found[1])

    def worst_of(self, lane: int) -> Place | None:
        """The worst place of this lane's tasks that wait here."""
        places = [
            Place(waiter.caller.stage, self.shares.counter(line.flow), waiter.caller.rank, waiter.order)
            for line in self._lines.values()
            for waiter in line.waiters
            if waiter.caller.lane == lane and not waiter.future.done()
        ]
        return max(places, default=None)

    def rearrange(self, caller_of: Callable[[int, str], Caller | None]) -> None:
        """Ranks changed: put everybody who waits in place anew. `caller_of(task, step)` says how it stands
        now."""
        lines: dict[LineKey, Line] = {}
        for waiter in self.waiters():
            if waiter.caller.again is not None:
                waiter.caller = waiter.caller.again()
            elif waiter.caller.task is not None:
                waiter.caller = caller_of(waiter.caller.task, waiter.caller.step) or waiter.caller
            key = key_of(waiter.asks, waiter.caller)
            lines.setdefault(key, Line(waiter.caller.flow)).push(waiter)
        self._lines = lines
        self.pump_soon()

    def park(self, waiter: Waiter) -> None:
        """Send a task that waits back to the store."""
        if not waiter.future.done():
            waiter.future.set_exception(Parked())

    def waits(self) -> list[tuple[Waiter, Wait]]:
        """Everybody who waits, with the reason of the head of the line."""
        return [
            (waiter, line.verdict)
            for line in self._lines.values()
            if line.verdict is not None
            for waiter in line.waiters
            if not waiter.future.done()
        ]

    def _join(
        self,
        asks: Sequence[Ask],
        caller: Caller,
        future: asyncio.Future[Any],
        afresh: Afresh | None = None,
    ) -> None:
        if self._closed:
            raise Parked
        self._order += 1
        key = key_of(asks, caller)
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = Line(caller.flow)
        line.push(Waiter(asks, caller, self._order, future, afresh))
        self.pump_soon()

    def _pump(self) -> None:
        self._pumping = False
        now = self.clock.monotonic()
        granted: list[tuple[Waiter, Permit]] = []
        next_look: float | None = None
        lines = self._standing_lines()
        while lines:
            line = lines[0]
            if not self._slot_for(line):
                for other in lines:
                    other.verdict = NO_SLOT
                break
            verdict = line.verdict = self._try(line.waiters[0], now, granted)
            if verdict is None:
                line.pop()
                line.counter = self.shares.counter(line.flow)
                heapq.heapreplace(lines, line) if line.head() is not None else heapq.heappop(lines)
                continue
            if verdict.until is not None:
                next_look = verdict.until if next_look is None else min(next_look, verdict.until)
            heapq.heappop(lines)
            if verdict.reason in SHARED_REASONS and not any(mark in verdict.key for mark in OF_SOME):
                lines = _left_to_handlers(lines, verdict)
        if granted:
            self._commit(granted)
        self._look_again(next_look, now)

    def _standing_lines(self) -> list[Line]:
        self._lines = {key: line for key, line in self._lines.items() if line.head() is not None}
        lines = list(self._lines.values())
        for line in lines:
            line.counter = self.shares.counter(line.flow)
        heapq.heapify(lines)
        return lines

    def _slot_for(self, line: Line) -> bool:
        if self.slots.free <= 0:
            return False
        rival = self.rival()
        if rival is None:
            return True
        head = line.waiters[0]
        if rival < Place(head.caller.stage, line.counter, head.caller.rank, head.order):
            self.takeovers.leave(self.slots.free)
            self.on_rival()
            return False
        return True

    def _try(self, waiter: Waiter, now: float, granted: list[tuple[Waiter, Permit]]) -> Wait | None:
        """Admit the call by the first endpoint that has room; `None` when it is out of the line."""
        if not waiter.asks:
            self.slots.take()
            waiter.future.set_result(True)
            return None
        if waiter.afresh is not None and (asks := waiter.afresh()) is not None:
            waiter.asks, waiter.afresh = asks, None
            self.typical[asks[0].model] = _of_nobody(asks[0])
        waits: list[Wait] = []
        for ask in waiter.asks:
            verdict = self.gate.consider(ask, now)
            if isinstance(verdict, Admit):
                grant = self.gate.admit(ask, now)
                self.slots.take()
                charged = self.shares.charges.expected(ask)
                self.shares.charge(waiter.caller.flow, charged)
                granted.append((waiter, Permit(self, grant, ask, waiter.caller, charged)))
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
                self.shares.correct(waiter.caller.flow, -permit.charged)
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


def _of_nobody(ask: Ask) -> Ask:
    """The same without its program: whatever is left of one's budget, others go on."""
    return replace(ask, program="") if ask.program else ask


def _outcome(future: asyncio.Future[Any]) -> Any:
    """What a future was given before its waiter was cancelled; `None` when nothing was."""
    if future.done() and not future.cancelled() and future.exception() is None:
        return future.result()
    return None


def _left_to_handlers(lines: list[Line], verdict: Wait) -> list[Line]:
    """The lines that may still move when the first waits for what all calls share: returning handlers."""
    for line in lines:
        if line.waiters[0].asks:
            line.verdict = verdict
    left = [line for line in lines if not line.waiters[0].asks]
    heapq.heapify(left)
    return left
