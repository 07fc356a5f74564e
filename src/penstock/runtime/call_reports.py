"""What is told of a call that is over: for metrics and traces. Costs nothing while nobody listens."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from penstock.model.reservation import ReservationState, Settlement
from penstock.runtime.position import current_position

if TYPE_CHECKING:
    from penstock.admission import Ask


behalf: ContextVar[str] = ContextVar("penstock_behalf", default="")
"""The id of the task that calls from outside any handler are booked to."""


@dataclass(slots=True)
class Origin:
    """Where a call comes from: the task (`""` outside any), and when it asked and was admitted (monotonic
    seconds). `family` is the interface it speaks."""

    task_id: str
    asked_at: float
    admitted_at: float
    family: str = ""


@dataclass(frozen=True, slots=True)
class CallReport:
    """A call from its asking to the instant its settlement was durable (monotonic seconds)."""

    ask: Ask
    origin: Origin
    ended_at: float
    durable_at: float
    settlement: Settlement

    @property
    def left(self) -> bool:
        """Whether bytes went out to the provider."""
        return self.settlement.state is not ReservationState.RELEASED

    @property
    def seconds(self) -> float:
        """How long it was under way."""
        sent = self.settlement.sent_at
        return 0.0 if sent is None else max(0.0, self.settlement.done_at - sent)


def origin_here(asked_at: float, admitted_at: float) -> Origin:
    """The origin of a call of the running code."""
    return Origin(task_here(), asked_at, admitted_at)


def task_here() -> str:
    """The id of the task that the running code works for; "" for none."""
    position = current_position()
    return behalf.get() if position is None else position.context.task.id
