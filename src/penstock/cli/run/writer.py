"""Writes finished lines into the output files as they come, each exactly once.

Records are on disk before the transaction that says so: a crash between the two leaves a tail that is cut.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace

from penstock.cli.run.books import Books
from penstock.cli.run.desk import Desk
from penstock.cli.run.outputs import Outputs
from penstock.model.batch import Batch
from penstock.model.states import TaskStatus
from penstock.stores.contract import FinishedLine, Transaction

LARGEST_PAGE = 500
PAGE_BYTES = 8_000_000
GATHER_SECONDS = 0.1
LOOK_SECONDS = 1.0


class Writer:
    """Exports the finished lines of one batch. `wake` it when something ended."""

    def __init__(self, desk: Desk, batch: Batch, outputs: Outputs) -> None:
        self._desk = desk
        self._outputs = outputs
        self._wake = asyncio.Event()
        self._limit = 50
        self._leaving = False
        self.batch = batch
        self.books = Books.of(batch)
        self.tokens_before = self.books.input_tokens + self.books.output_tokens
        self.counts: dict[TaskStatus, int] = {}

    def wake(self) -> None:
        """Something ended, or will not come any more."""
        self._wake.set()

    async def run(self, fed: Callable[[], bool]) -> None:
        """Write until everything is `fed` and every line is written."""
        while True:
            complete = fed() or self._leaving
            if await self.page():
                continue
            if complete and (self._leaving or not self.open):
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._wake.wait()
                # Lines that end close together go into one write.
                await asyncio.sleep(GATHER_SECONDS)
            self._wake.clear()

    def leave(self) -> None:
        """Write what has ended, and no more."""
        self._leaving = True
        self.wake()

    @property
    def open(self) -> int:
        """Lines without an end, at the last look."""
        return sum(count for status, count in self.counts.items() if not status.final)

    async def page(self) -> bool:
        """Write one page; whether there was one."""
        id, after, limit = self.batch.id, self.batch.written_no, self._limit
        lines, self.counts = await self._desk.read(
            lambda reader: (reader.finished_lines(id, after, limit), reader.batch_counts(id))
        )
        if lines:
            await self._write(lines)
        return bool(lines)

    async def _write(self, lines: list[FinishedLine]) -> None:
        wanted = [line for line in lines if not self.books.superseded(line)]
        added = await asyncio.to_thread(self._outputs.append, wanted)
        self.books.enter(wanted)
        good = sum(line.status is TaskStatus.COMPLETED for line in wanted)
        self.batch = replace(
            self.batch,
            written_no=lines[-1].no,
            results_bytes=self.batch.results_bytes + added[0],
            errors_bytes=self.batch.errors_bytes + added[1],
            results_lines=self.batch.results_lines + good,
            errors_lines=self.batch.errors_lines + len(wanted) - good,
        )
        await self._desk.run(self._save)
        loaded = sum(len(line.payload or "") + len(line.result or "") for line in lines)
        self._limit = max(1, min(LARGEST_PAGE, 2 * len(lines), PAGE_BYTES * len(lines) // max(1, loaded)))

    def _save(self, store: Transaction) -> None:
        """Our columns of the row; the feeder changes the others."""
        mine, row = self.batch, store.batch(self.batch.id)
        assert row is not None
        row = replace(
            row,
            written_no=mine.written_no,
            results_bytes=mine.results_bytes,
            errors_bytes=mine.errors_bytes,
            results_lines=mine.results_lines,
            errors_lines=mine.errors_lines,
        )
        store.update_batch(self.books.on(row))
        if not self.books.keep:
            store.drop_written(row.id, mine.written_no)
