"""A permit: one call that the gate let through, from its durable intent to its settlement."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from penstock.admission import Ask, Grant, most_tokens
from penstock.model.rank import Rank
from penstock.model.reservation import Reservation, ReservationState, Settlement
from penstock.model.usage import Usage
from penstock.runtime.call_reports import CallReport, Origin

if TYPE_CHECKING:
    from penstock.runtime.admitter import Admitter


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the task's place in the store and its rank; `task` is `None` outside any task, `lane` then
    -1.

    `stage` 0 goes before 1 whatever the rank (see `ranking.Place`); `flow` is what shares are measured by.
    `behalf` is the task that a call from outside is booked to, and `again` tells how it stands after the
    policy changed."""

    rank: Rank
    task: int | None = None
    claim_no: int = 0
    step: str = ""
    lane: int = -1
    stage: int = 1
    flow: str | None = None
    begun: bool = False
    behalf: int | None = None
    again: Callable[[], Caller] | None = field(default=None, compare=False)


class Permit:
    """The right to make one call. Exactly one of `settle`, `uncertain`, `release` ends it; the slot stays
    with the caller, who gives it back by itself. `charged` is what its flow was charged for it."""

    __slots__ = ("_admitter", "_ended", "_sent_at", "ask", "caller", "charged", "grant", "id", "origin")

    def __init__(self, admitter: Admitter, grant: Grant, ask: Ask, caller: Caller, charged: float) -> None:
        self._admitter = admitter
        self.charged = charged
        self.grant = grant
        self.ask = ask
        self.caller = caller
        self.id = 0
        self.origin: Origin | None = None
        self._sent_at: float | None = None
        self._ended = False

    def intent(self, node: int, wall: float) -> Reservation:
        """The row that says what is about to be used."""
        ask = self.ask
        return Reservation(
            task=self.caller.behalf if self.caller.task is None else self.caller.task,
            claim_no=self.caller.claim_no,
            step=self.caller.step,
            type=ask.type,
            model=ask.model,
            endpoint=ask.endpoint,
            tenant=ask.tenant,
            node=node,
            at=wall,
            input_held=ask.input_tokens,
            output_held=math.ceil(ask.output_mean + math.sqrt(ask.output_variance)),
            cost_held=ask.cost,
            program=ask.program or None,
            tokens_most=most_tokens(ask) if ask.program else 0,
        )

    def speaks(self, family: str) -> None:
        """What interface the call uses, for whoever is told of it."""
        if self.origin is not None:
            self.origin.family = family

    def sent(self) -> None:
        """The bytes leave now."""
        self._sent_at = self._admitter.clock.monotonic()
        self._admitter.gate.sent(self.grant, self._sent_at)

    def settle(self, usage: Usage, cost: int) -> asyncio.Future[Any]:
        """Book true usage; the future is done when that is durable."""
        self._admitter.gate.settle(self.grant, usage, cost, self._admitter.clock.monotonic())
        shares = self._admitter.shares
        shares.correct(self.caller.flow, shares.charges.true(usage.total, self.seconds) - self.charged)
        if usage.total:
            shares.charges.learn(self.ask, self.seconds)
        return self._end(ReservationState.SETTLED, usage, cost)

    def uncertain(self) -> asyncio.Future[Any]:
        """Nobody knows what was billed: book the hold in full."""
        self._admitter.gate.uncertain(self.grant, self._admitter.clock.monotonic())
        shares = self._admitter.shares
        used = shares.charges.uncertain(self.charged, self.seconds)
        shares.correct(self.caller.flow, used - self.charged)
        return self._end(ReservationState.UNCERTAIN, Usage(), 0)

    def release(self) -> asyncio.Future[Any]:
        """Nothing left this machine: give everything back."""
        self._admitter.gate.release(self.grant, self._admitter.clock.monotonic())
        self._admitter.shares.correct(self.caller.flow, -self.charged)
        return self._end(ReservationState.RELEASED, Usage(), 0)

    def abandon(self) -> None:
        """The caller went away before its call could leave."""
        self.release()
        self._admitter.slots.give()

    @property
    def seconds(self) -> float:
        """How long the call has been under way."""
        return 0.0 if self._sent_at is None else self._admitter.clock.monotonic() - self._sent_at

    @property
    def ended(self) -> bool:
        return self._ended

    def _tell(self, ended_at: float, settlement: Settlement) -> None:
        """Tell who wants to know that this call is over, and durably so."""
        if self.origin is not None:
            durable_at = self._admitter.clock.monotonic()
            report = CallReport(self.ask, self.origin, ended_at, durable_at, settlement)
            for listener in self._admitter.on_call:
                listener(report)

    def _end(self, state: ReservationState, usage: Usage, cost: int) -> asyncio.Future[Any]:
        self._ended = True
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        wall, now = self._admitter.clock.wall(), self._admitter.clock.monotonic()
        settlement = Settlement(
            id=self.id,
            state=state,
            # By its age: the wall clock may have jumped meanwhile, and the store was told of that.
            sent_at=None if self._sent_at is None else wall - (now - self._sent_at),
            done_at=wall,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cost=cost,
        )

        def deliver(outcomes: list[bool]) -> None:
            self._tell(now, settlement)
            if not future.done():
                future.set_result(outcomes)

        def fail(error: BaseException) -> None:
            if not future.done():
                future.set_exception(error)
                future.exception()  # a caller that went away need not be told

        self._admitter.committer.send("settle", [settlement], deliver, fail)
        self._admitter.pump_soon()
        return future
