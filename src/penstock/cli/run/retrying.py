"""`--retry-failed`: failed lines get another try, and leave the file of errors."""

from __future__ import annotations

import json
from dataclasses import replace

from penstock.cli.run.books import Books, can_be_retried
from penstock.cli.run.terms import Terms
from penstock.errors import ConfigurationError
from penstock.manager import Manager
from penstock.model.batch import Batch
from penstock.model.task import NewTask
from penstock.stores.contract import FinishedLine, Store, Transaction

PAGE = 200


def retry_failed(store: Store, manager: Manager, batch: Batch, terms: Terms) -> int:
    """Put every failed line of the batch in the queue again, with its journal; how many.

    Page by page: each transaction moves the mark that says which failed lines were given another try. The
    file of errors is stale then, and is written anew by `mend`.
    """
    books, count = Books.of(batch), 0
    while True:
        after = books.retried_no
        page = store.read(lambda reader: reader.finished_lines(batch.id, after, PAGE))  # noqa: B023
        if not page:
            return count
        tasks = [_again(manager, batch, line, terms) for line in page if can_be_retried(line)]
        books.retried_no = page[-1].no
        books.stale = books.stale or bool(tasks)
        store.run(lambda transaction: _add(transaction, batch.id, books, tasks))  # noqa: B023
        count += len(tasks)


def _add(store: Transaction, id: int, books: Books, tasks: list[NewTask]) -> None:
    store.add(tasks)
    row = store.batch(id)
    assert row is not None
    kept = Books.of(row)
    kept.retried_no, kept.stale = books.retried_no, books.stale
    store.update_batch(kept.on(row))


def _again(manager: Manager, batch: Batch, line: FinishedLine, terms: Terms) -> NewTask:
    if line.payload is None:
        raise ConfigurationError(
            f"line {line.position} cannot be tried again: its request is no longer in the store (--keep "
            "none); put the "
            "failed lines into a new file"
        )
    task = manager.prepare(
        terms.submission(
            json.loads(line.payload),
            metadata=None if line.metadata is None else json.loads(line.metadata),
            batch=batch.id,
            position=line.position,
        )
    )
    return replace(task, retry_of=line.id, inherit_journal=True)
