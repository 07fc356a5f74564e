"""Visitors: calls made for somebody outside any task, that stand in line like the calls of tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from penstock.errors import BudgetExhausted, PriceUnknown
from penstock.model.standing import Standing
from penstock.model.usage import Usage, from_pico
from penstock.runtime.permit import Caller
from penstock.runtime.services import Services
from penstock.runtime.weigher import Weighed


def _nothing() -> None: ...


@dataclass(slots=True)
class Visitor:
    """Who asks for one call, and how it went. Instants are seconds since the epoch.

    `entered_at` is when it first asked: a call that comes back keeps its place. `most_cost` (pico-dollars)
    refuses a call that may cost more; `behalf` is the task (`seq`) that its use is booked to.
    """

    tenant: str = ""
    type: str = "gateway"
    priority: int = 20
    deadline: float | None = None
    entered_at: float = 0.0
    most_cost: int | None = None
    behalf: int | None = None
    on_admitted: Callable[[], None] = _nothing
    under_way: bool = False
    """admitted: from here on it may cost something"""
    waited: float = 0.0
    """seconds in line"""
    weighed: Weighed | None = None
    """as it was admitted last"""
    usage: Usage | None = None
    cost: int | None = None
    """pico-dollars, once it is settled; `None`: nobody knows the price"""

    def check(self, weighed: Weighed) -> None:
        """Raise `Refused` for what may cost more than its caller allows."""
        if self.most_cost is None:
            return
        if not weighed.ask.cost_known:
            raise PriceUnknown(f"no price is known for {weighed.ask.model}, and this call has a budget")
        if weighed.ask.cost > self.most_cost:
            raise BudgetExhausted(
                f"this call may cost {from_pico(weighed.ask.cost):.6f} USD, over its budget of "
                f"{from_pico(self.most_cost):.6f}; raise it, or ask for less"
            )

    def settled(self, weighed: Weighed, usage: Usage, cost: int) -> None:
        """The call was booked."""
        self.usage = usage
        self.cost = None if weighed.price is None else cost


class Visit:
    """One wait in line: its flow counts as waiting until it ends."""

    def __init__(self, visitor: Visitor, weighed: Weighed, services: Services) -> None:
        self._visitor = visitor
        self._weighed = weighed
        self._services = services
        self._flow: str | None = None
        self._began = services.clock.monotonic()

    def __enter__(self) -> Self:
        self._visitor.under_way = False
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._services.shares.went(self._flow)
        self._visitor.waited += self._services.clock.monotonic() - self._began

    def caller(self) -> Caller:
        """Where it stands under the policy in force; asked again when that changes."""
        visitor, ask, ranker = self._visitor, self._weighed.ask, self._services.ranker
        now = self._services.clock.wall()
        kind = (visitor.type, ask.model, visitor.tenant)
        size, seconds = ranker.expected(kind, ask.input_tokens + ask.output_mean)
        standing = Standing(
            visitor.entered_at,
            visitor.priority,
            visitor.deadline,
            visitor.tenant,
            size=size,
            seconds_left=seconds,
        )
        flow = ranker.policy.flow(standing)
        if flow != self._flow:
            self._services.shares.went(self._flow)
            self._services.shares.visit(flow, now)
            self._flow = flow
        return Caller(
            ranker.policy.rank(standing, now),
            stage=0 if ranker.preemptive else 1,
            flow=flow,
            behalf=visitor.behalf,
            again=self.caller,
        )

    def admitted(self, weighed: Weighed) -> None:
        """Its turn has come."""
        self._visitor.weighed = weighed
        self._visitor.under_way = True
        self._visitor.on_admitted()
