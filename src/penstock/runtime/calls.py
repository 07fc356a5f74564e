"""One request on its way to a provider, and which refusals it survives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from penstock.admission import ProgramBudgets
from penstock.admission.ask import RefusalKind
from penstock.llm.refusals import Refusal
from penstock.llm.wire import CallShape
from penstock.model.step import StepKey
from penstock.runtime.context import TaskContext
from penstock.runtime.replies import Route, WireRequest
from penstock.runtime.visitor import Visitor
from penstock.runtime.weigher import Weighed, Weigher

# Refusals that say "later" about the limit, not about the request: the call goes back to the line by itself.
WAITED_OUT: dict[Refusal, RefusalKind] = {
    Refusal.RATE_LIMITED: "limited",
    Refusal.SLOW_DOWN: "slow_down",
    Refusal.OVERLOADED: "overloaded",
    Refusal.CAPACITY: "overloaded",
}
MOST_REFUSALS = 10
# Refusals that say nothing of the request: another key or endpoint may well take it.
OF_THE_ROUTE = frozenset((Refusal.AUTH, Refusal.NOT_FOUND, Refusal.QUOTA_EXHAUSTED))


@dataclass(slots=True)
class Call:
    """One request on its way, with where it comes from."""

    request: WireRequest
    shape: CallShape
    routes: Sequence[Route]
    context: TaskContext | None
    key: StepKey
    hide_usage: bool = False
    visitor: Visitor | None = None

    @property
    def tenant(self) -> str:
        if self.context is not None:
            return self.context.tenant
        return "" if self.visitor is None else self.visitor.tenant

    @property
    def type(self) -> str:
        if self.context is not None:
            return self.context.task.type
        return "" if self.visitor is None else self.visitor.type

    def weighed(self, weigher: Weigher, route: Route, budgets: ProgramBudgets) -> Weighed:
        """What it would use by this route, and whose budgets bind it."""
        return weigher.weigh(
            self.shape,
            route.base_url,
            endpoint=route.endpoint,
            tenant=self.tenant,
            type=self.type,
            program="" if self.context is None else budgets.bound(self.context.task.program),
        )
