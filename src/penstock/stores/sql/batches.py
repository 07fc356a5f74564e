"""Batches: what was read of an input file and what was written of its results."""

from __future__ import annotations

from dataclasses import astuple, replace

from penstock.model.batch import Batch
from penstock.model.states import TaskStatus
from penstock.stores.contract import FinishedLine
from penstock.stores.sql.ending import Ending
from penstock.stores.sql.session import Row, Session


class BatchReading(Session):
    """Batches as they stand."""

    def batch(self, id: int) -> Batch | None:
        found = self.look("batch", (id,))
        return _batch(found[0]) if found else None

    def batch_named(self, name: str) -> Batch | None:
        """The newest batch of that name."""
        found = self.look("batch_named", (name,))
        return _batch(found[0]) if found else None

    def batches(self) -> list[Batch]:
        return [_batch(row) for row in self.look("batches")]

    def batch_counts(self, id: int) -> dict[TaskStatus, int]:
        return {TaskStatus(status): count for status, count in self.look("batch_counts", (id,))}

    def finished_lines(self, batch: int, after_no: int, limit: int) -> list[FinishedLine]:
        rows = self.look("finished_lines", (batch, after_no, limit))
        large = self.expand(text for row in rows for text in (row[4], row[6]))
        return [
            FinishedLine(
                *(*row[:3], TaskStatus(row[3]), large.get(row[4], row[4]), row[5]),
                *(large.get(row[6], row[6]), *row[7:]),
            )
            for row in rows
        ]


class BatchWriting(Ending):
    """`open_batch`, `update_batch`, `drop_written`."""

    def open_batch(self, batch: Batch) -> Batch:
        return replace(batch, id=int(self.db.rows("open_batch", _row(batch))[0][0]))

    def update_batch(self, batch: Batch) -> None:
        self.db.do("update_batch", (*_row(batch), batch.id))

    def drop_written(self, batch: int, up_to_no: int) -> None:
        self.forget_texts([seq for (seq,) in self.db.rows("written_tasks", (batch, up_to_no))])
        self.db.do("mark_dropped", (batch, up_to_no))


def _batch(row: Row) -> Batch:
    return Batch(*(*row[:10], bool(row[10]), *row[11:]))


def _row(batch: Batch) -> Row:
    return astuple(batch)[1:]
