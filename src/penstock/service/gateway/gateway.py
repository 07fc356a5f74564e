"""The gateway of one server: who waits here, who was told to come back, and what is shared."""

from __future__ import annotations

import asyncio
import random
from types import TracebackType
from typing import TYPE_CHECKING, Self

from penstock.admission import Ask
from penstock.manager.ai_task_manager import AITaskManager
from penstock.model.task import TaskView
from penstock.runtime.call_reports import behalf
from penstock.runtime.visitor import Visitor
from penstock.service.errors import HttpProblem
from penstock.service.gateway.catalogue import Catalogue
from penstock.service.gateway.limit_headers import limit_headers
from penstock.service.gateway.orders import Orders
from penstock.service.gateway.patience import Patience, Receive
from penstock.service.gateway.problems import again
from penstock.service.gateway.shared import SharedCalls
from penstock.service.gateway.shelf import Shelf
from penstock.service.gateway.terms import Terms, priority_or
from penstock.service.gateway.tickets import Holder, Tickets
from penstock.stores.contract import Transaction

if TYPE_CHECKING:
    from penstock.service.service import ServiceConfig

TICKETS = "gateway.tickets"
SHORTEST, LONGEST = 0.5, 30.0


class Gateway:
    """Calls of visitors on a running manager; to be entered after that. A server that stops waits for all its
    requests first, so who waits here is turned away as soon as it is told to."""

    def __init__(self, manager: AITaskManager, config: ServiceConfig, closing: asyncio.Event) -> None:
        """`closing` is set when the server is told to stop."""
        self.manager = manager
        self.config = config
        self.engine = manager.engine
        self.tickets = Tickets(config.ticket_seconds, config.most_parked)
        self.shared = SharedCalls(self.engine, config.idempotency_seconds)
        self.shelf = Shelf(self.engine, config)
        self.orders = Orders(manager, self.shelf)
        self.catalogue = Catalogue(manager)
        self._waiting: set[Patience] = set()
        self._stopping = False
        self._told_to_close = closing
        self._closing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._stopping = False
        now = self.engine.clock.wall()
        self.tickets.restore(await self.engine.node.committer.run(_take_tickets), now)
        await self.shelf.open()
        await self.orders.start()
        self._closing = asyncio.create_task(self._until_closing())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.turn_away()
        if self._closing is not None:
            self._closing.cancel()
        await self.orders.stop()
        await self.shelf.close()
        text = self.tickets.as_text() if len(self.tickets) else None
        await self.engine.node.committer.run(lambda store: store.set_setting(TICKETS, text))

    def turn_away(self) -> None:
        """Tell everybody who waits to come back: the server is about to stop."""
        self._stopping = True
        for patience in list(self._waiting):
            patience.give_up("stopping")

    @property
    def parked(self) -> int:
        """How many calls are here."""
        return len(self._waiting)

    async def visitor(self, terms: Terms, holder: Holder) -> Visitor:
        """Who makes this call; one that comes back has its old place. Raises `HttpProblem` 503 when too many
        are here, 404 for a task that is not there."""
        if self._stopping:
            raise HttpProblem(503, "stopping", "the server is restarting; try again", headers=again(1.0))
        if self.parked >= self.config.most_parked:
            raise HttpProblem(
                503, "too_many_waiting", "too many calls wait here; try later", headers=again(LONGEST)
            )
        now = self.engine.clock.wall()
        task = None if terms.task is None else await self._task(terms.task, terms.tenant)
        entered_at = self.tickets.take(holder, now)
        if task is not None:
            behalf.set(task.id)
        return Visitor(
            tenant=terms.tenant,
            priority=priority_or(terms) if task is None else priority_or(terms, task.priority),
            deadline=task.deadline if task is not None and terms.deadline is None else terms.deadline,
            entered_at=now if entered_at is None else entered_at,
            most_cost=terms.most_cost,
            behalf=None if task is None else task.seq,
        )

    def patience(self, visitor: Visitor, receive: Receive, hold: float | None, stream: bool) -> Patience:
        """How long this call is waited for."""
        now = self.engine.clock.wall()
        left = None if visitor.deadline is None else visitor.deadline - now
        return Patience(visitor, receive, hold, left, stream, self._waiting)

    def come_back(self) -> float:
        """Seconds after which who waits is to ask again: not before its turn may have come, as far as the
        calls of the last minute tell, and not all at once."""
        now = self.engine.clock.monotonic()
        a_minute = self.engine.node.gate.traffic.requests_per_minute.sum(now)
        wait = 0.5 * self.parked * 60.0 / max(1, a_minute)
        return min(LONGEST, max(SHORTEST, wait)) * random.uniform(0.8, 1.2)

    def limits(self, visitor: Visitor, model: str | None) -> dict[str, str]:
        """How full the limits of this call are."""
        node = self.engine.node
        if visitor.weighed is not None:
            ask = visitor.weighed.ask
        else:
            served = [one for one in self.manager.client.endpoints if one.serves(model)]
            ask = Ask(model or "", visitor.tenant, served[0].name if served else "")
        return limit_headers(node.gate, ask, self.engine.clock.monotonic())

    async def _until_closing(self) -> None:
        await self._told_to_close.wait()
        self.turn_away()

    async def _task(self, id: str, tenant: str) -> TaskView:
        view = await self.engine.get(id)
        if view is None or view.id != id or view.tenant != tenant:
            raise HttpProblem(404, "task_not_found", f"there is no task {id}", param="x-penstock-task-id")
        return view


def _take_tickets(store: Transaction) -> str | None:
    text = store.setting(TICKETS)
    if text is not None:
        store.set_setting(TICKETS, None)
    return text
