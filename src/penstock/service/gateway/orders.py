"""Batches: every line of a file a durable task; the whole life of the batch is kept in the store."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from penstock.manager.ai_task_manager import AITaskManager
from penstock.model.order import Order
from penstock.model.task import Finish
from penstock.service.gateway.order_work import Counts, OrderWork, counts_of
from penstock.service.gateway.shelf import Shelf
from penstock.stores.contract import Transaction
from penstock.task_types import llm_request


class Orders:
    """Works on every order that has not ended, each in a task of its own."""

    def __init__(self, manager: AITaskManager, shelf: Shelf) -> None:
        self._engine = manager.engine
        self._shelf = shelf
        self._working: dict[str, asyncio.Task[None]] = {}
        self._wakes: dict[str, asyncio.Event] = {}
        self._of_batch: dict[int, str] = {}
        if llm_request.NAME not in self._engine.handlers:
            self._engine.register(
                llm_request.NAME,
                llm_request.handler(lambda: manager.client),
                check=llm_request.check,
                model=llm_request.model,
            )
        self._engine.on_end.append(self._heard)

    async def start(self) -> None:
        """Go on with what an earlier life left."""
        for order in await self._engine.read(lambda reader: reader.open_orders()):
            self.work_on(order)

    async def stop(self) -> None:
        """Work on nothing more; the tasks of batches go on or wait as all others do."""
        working = list(self._working.values())
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)

    async def place(self, order: Order) -> None:
        """Take a new order; it is durable then."""
        await self._engine.node.committer.run(lambda store: store.put_order(order))
        self.work_on(order)

    async def cancel(self, order: Order) -> Order:
        """Begin to cancel: lines that wait are dropped, those under way end."""
        now = self._engine.clock.wall()

        def work(store: Transaction) -> Order:
            row = store.order(order.id) or order
            if not row.ended and row.status != "finalizing":
                row = replace(row, status="cancelling", body={**row.body, "cancelling_at": now})
                store.put_order(row)
            return row

        changed = await self._engine.node.committer.run(work)
        self._wake(order.id)
        return changed

    async def counted(self, order: Order) -> Order:
        """The order with how its lines stand now."""
        if order.batch is None or order.ended:
            return order
        batch = order.batch
        counts: Counts = await self._engine.read(lambda reader: reader.batch_counts(batch))
        return replace(order, body={**order.body, "counts": counts_of(order, counts)})

    def work_on(self, order: Order) -> None:
        if order.id not in self._working:
            wake = self._wakes[order.id] = asyncio.Event()
            work = OrderWork(self._engine, self._shelf, order.id, wake, self._of_batch)
            task = asyncio.create_task(work.run(), name=f"penstock-{order.id}")
            self._working[order.id] = task
            task.add_done_callback(lambda _: self._done(order.id))

    def _done(self, id: str) -> None:
        self._working.pop(id, None)
        self._wakes.pop(id, None)
        for batch in [batch for batch, order in self._of_batch.items() if order == id]:
            del self._of_batch[batch]

    def _wake(self, id: str) -> None:
        if id in self._wakes:
            self._wakes[id].set()

    def _heard(self, end: Finish) -> None:
        if end.task.batch is not None and (id := self._of_batch.get(end.task.batch)) is not None:
            self._wake(id)
