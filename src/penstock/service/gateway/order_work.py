"""The life of one batch: checked, fed line by line, waited for, and written into its files."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace
from typing import Any

from penstock.manager.engine import Manager
from penstock.manager.submission import Submission
from penstock.model.batch import Batch
from penstock.model.order import Order
from penstock.model.states import TaskStatus
from penstock.service.gateway.order_files import write_files
from penstock.service.gateway.order_lines import OrderLine, check_file, read_chunk
from penstock.service.gateway.shelf import Shelf
from penstock.stores.contract import AddOutcome, TaskFilter, Transaction
from penstock.task_types import llm_request

log = logging.getLogger("penstock.gateway")

CHUNK = 250
# So many lines of one batch wait or run at a time: its file may be longer than the queue.
AHEAD = 1_000
LOOK_SECONDS = 1.0

Counts = dict[TaskStatus, int]


class OrderWork:
    """Brings one order to its end, step by step; each step is durable, so any process may take the next.

    `wake` tells that something of it ended or changed; `of_batch` is where it says which batch is its own.
    """

    def __init__(
        self, engine: Manager, shelf: Shelf, id: str, wake: asyncio.Event, of_batch: dict[int, str]
    ) -> None:
        self._engine = engine
        self._shelf = shelf
        self._id = id
        self._wake = wake
        self._of_batch = of_batch

    async def run(self) -> None:
        try:
            while (order := await self._row()) is not None and not order.ended:
                await self._step(order)
        except Exception:
            log.exception("work on %s stopped; it goes on when the server starts again", self._id)

    async def _row(self) -> Order | None:
        order: Order | None = await self._engine.node.committer.run(lambda store: store.order(self._id))
        return order

    async def _step(self, order: Order) -> None:
        if order.batch is None:
            if order.status == "cancelling":
                await self._move(order, "cancelled")
            else:
                await self._validate(order)
            return
        self._of_batch[order.batch] = order.id
        if order.status == "finalizing":
            await self._finish(order, order.body["ends_as"])
        elif order.status == "cancelling":
            await self._close(order, "cancelled")
        elif self._engine.clock.wall() >= order.body["expires_at"]:
            await self._close(order, "expired")
        else:
            await self._feed(order)

    async def _validate(self, order: Order) -> None:
        path = self._shelf.path(order.body["input_file_id"])
        try:
            found = await asyncio.to_thread(check_file, path, order.body["endpoint"])
        except OSError:
            errors = [
                {"code": "file_missing", "message": "the input file is gone", "line": None, "param": None}
            ]
            await self._move(order, "failed", errors=errors)
            return
        if found.errors:
            await self._move(order, "failed", errors=found.errors)
            return
        now = self._engine.clock.wall()
        counts = {"total": found.total, "completed": 0, "failed": 0}
        batch = Batch(0, order.id, str(path), "", "", "", "", now)

        def work(store: Transaction) -> None:
            row = store.order(order.id) or order
            if row.status == "validating":
                body = {**row.body, "in_progress_at": now, "counts": counts, "model": found.model}
                store.put_order(
                    replace(row, status="in_progress", batch=store.open_batch(batch).id, body=body)
                )

        await self._engine.node.committer.run(work)

    async def _feed(self, order: Order) -> None:
        """Add the next lines when few are left, and wait for ends."""
        batch, counts = await self._standing(order)
        waiting = sum(count for status, count in counts.items() if not status.final)
        if not batch.read_all and waiting < AHEAD:
            await self._add(order, batch)
        elif batch.read_all and not waiting:
            await self._move(order, "finalizing", ends_as="completed")
        else:
            await self._pause(order)

    async def _add(self, order: Order, batch: Batch) -> None:
        path, endpoint = self._shelf.path(order.body["input_file_id"]), order.body["endpoint"]
        lines = await asyncio.to_thread(read_chunk, path, batch.read_bytes, batch.read_lines, endpoint, CHUNK)
        tasks = [self._engine.prepare(self._submission(order, line)) for line in lines]

        def work(store: Transaction) -> list[AddOutcome]:
            row = store.batch(batch.id)
            if row is None or row.read_bytes != batch.read_bytes:
                return []
            behind = (lines[-1].behind, lines[-1].number) if lines else (row.read_bytes, row.read_lines)
            read_all = len(lines) < CHUNK
            store.update_batch(replace(row, read_bytes=behind[0], read_lines=behind[1], read_all=read_all))
            return store.add(tasks)

        outcomes = await self._engine.node.committer.run(work)
        if outcomes:
            self._engine.notice(outcomes, tasks)

    def _submission(self, order: Order, line: OrderLine) -> Submission:
        now, expires_at = self._engine.clock.wall(), order.body["expires_at"]
        left = max(0.001, expires_at - now)
        return Submission(
            llm_request.NAME,
            {"url": line.url, "body": line.body},
            priority=order.body["priority"],
            tenant=order.tenant,
            metadata={"custom_id": line.custom_id, "batch_id": order.id},
            deadline=now + left,
            expires=left,
            batch=order.batch,
            position=line.number,
        )

    async def _close(self, order: Order, status: str) -> None:
        """Drop what waits, and see what runs to its end."""
        await self._engine.cancel_where(TaskFilter(batch=order.batch))
        while True:
            _, counts = await self._standing(order)
            if not any(count for state, count in counts.items() if not state.final):
                break
            await self._pause(order)
        await self._move(order, "finalizing", ends_as=status)

    async def _finish(self, order: Order, status: str) -> None:
        """Write both files, and end: their rows, and that of the order, are one transaction."""
        batch, counts = await self._standing(order)
        now = self._engine.clock.wall()
        written = await write_files(self._engine, self._shelf, order, batch, status)
        body = {
            **order.body,
            **written.told,
            f"{status}_at": now,
            "counts": counts_of(order, counts, written.unmade),
        }

        def work(store: Transaction) -> None:
            for file in written.files:
                store.put_file(file)
            row = store.batch(batch.id)
            if row is not None:
                store.update_batch(replace(row, written_no=written.last_no, read_all=True))
            store.put_order(replace(order, status=status, body=body))

        await self._engine.node.committer.run(work)

    async def _standing(self, order: Order) -> tuple[Batch, Counts]:
        def look(store: Transaction) -> tuple[Batch | None, Counts]:
            return store.batch(order.batch or 0), store.batch_counts(order.batch or 0)

        batch, counts = await self._engine.node.committer.run(look)
        if batch is None:
            raise LookupError(f"the batch of {order.id} is gone")
        return batch, counts

    async def _pause(self, order: Order) -> None:
        wake = self._wake
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await wake.wait()
            await asyncio.sleep(0.05)  # ends come in groups
        wake.clear()

    async def _move(self, order: Order, status: str, **told: Any) -> None:
        """To another status, unless the client cancelled it meanwhile."""
        now = self._engine.clock.wall()

        def work(store: Transaction) -> None:
            row = store.order(order.id) or order
            if row.status == order.status:
                store.put_order(replace(row, status=status, body={**row.body, f"{status}_at": now, **told}))

        await self._engine.node.committer.run(work)


def counts_of(order: Order, counts: Counts, unmade: int = 0) -> dict[str, int]:
    """How its lines stand, as clients are told; `unmade` ones never became tasks."""
    completed = counts.get(TaskStatus.COMPLETED, 0)
    failed = sum(count for status, count in counts.items() if status.final) - completed
    total = (order.body.get("counts") or {}).get("total", 0)
    return {"total": total, "completed": completed, "failed": failed + unmade}
