"""A permit: one call that the gate let through, from its durable intent to its settlement."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from penstock.admission import Ask, Grant
from penstock.model.rank import Rank
from penstock.model.reservation import Reservation, ReservationState, Settlement
from penstock.model.usage import Usage
from penstock.runtime.shares import weight_of

if TYPE_CHECKING:
    from penstock.runtime.admitter import Admitter


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the task's place in the store and its rank; `task` is `None` outside any task, `lane` then
    -1.

    `stage` 0 goes before 1 whatever the rank (see `ranking.Place`); `flow` is what shares are measured by."""

    rank: Rank
    task: int | None = None
    claim_no: int = 0
    step: str = ""
    lane: int = -1
    stage: int = 1
    flow: str | None = None
    begun: bool = False


class Permit:
    """The right to make one call. Exactly one of `settle`, `uncertain`, `release` ends it; the slot stays
    with the caller, who gives it back by itself."""

    __slots__ = ("_admitter", "_ended", "_sent_at", "ask", "caller", "grant", "id")

    def __init__(self, admitter: Admitter, grant: Grant, ask: Ask, caller: Caller) -> None:
        self._admitter = admitter
        self.grant = grant
        self.ask = ask
        self.caller = caller
        self.id = 0
        self._sent_at: float | None = None
        self._ended = False

    def intent(self, node: int, wall: float) -> Reservation:
        """The row that says what is about to be used."""
        ask = self.ask
        return Reservation(
            task=self.caller.task,
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
        )

    def sent(self) -> None:
        """The bytes leave now."""
        self._sent_at = self._admitter.clock.monotonic()
        self._admitter.gate.sent(self.grant, self._sent_at)

    def settle(self, usage: Usage, cost: int) -> asyncio.Future[Any]:
        """Book true usage; the future is done when that is durable."""
        self._admitter.gate.settle(self.grant, usage, cost, self._admitter.clock.monotonic())
        self._admitter.shares.correct(self.caller.flow, usage.total - weight_of(self.ask))
        return self._end(ReservationState.SETTLED, usage, cost)

    def uncertain(self) -> asyncio.Future[Any]:
        """Nobody knows what was billed: book the hold in full."""
        self._admitter.gate.uncertain(self.grant, self._admitter.clock.monotonic())
        return self._end(ReservationState.UNCERTAIN, Usage(), 0)

    def release(self) -> asyncio.Future[Any]:
        """Nothing left this machine: give everything back."""
        self._admitter.gate.release(self.grant, self._admitter.clock.monotonic())
        self._admitter.shares.correct(self.caller.flow, -weight_of(self.ask))
        return self._end(ReservationState.RELEASED, Usage(), 0)

    def abandon(self) -> None:
        """The caller went away before its call could leave."""
        self.release()
        self._admitter.slots.give()

    @property
    def ended(self) -> bool:
        return self._ended

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
            if not future.done():
                future.set_result(outcomes)

        def fail(error: BaseException) -> None:
            if not future.done():
                future.set_exception(error)
                future.exception()  # a caller that went away need not be told

        self._admitter.committer.send("settle", [settlement], deliver, fail)
        self._admitter.pump_soon()
        return future
