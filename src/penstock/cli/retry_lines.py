"""Another try for the failed lines of a `penstock run`: all of them, for its books know one mark."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from penstock.cli.nodes import living, node_name
from penstock.cli.run.books import Books, can_be_retried
from penstock.errors import ConfigurationError, InvalidTask
from penstock.model.batch import Batch
from penstock.model.task import TaskView
from penstock.stores.contract import Store, Transaction

T = TypeVar("T")

_PAGE = 200


def retry_lines(
    store: Store, batch: Batch, add: Callable[[Transaction, Sequence[TaskView]], list[T]]
) -> list[T]:
    """Put every line of the batch that has no result in the queue again, with `add`; what that gave.

    `penstock run` mends the files of the job when it goes on. Raises `ConfigurationError` while a process
    runs the job, for the files and their books are that one's.
    """
    alive = store.read(lambda reader: living(reader.nodes(), time.time()))
    if alive:
        raise ConfigurationError(
            f"{node_name(alive[0])} runs this store; when it has ended, {retry_command(batch)}"
        )
    added: list[T] = []
    while (page := store.run(lambda transaction: _retry_page(transaction, batch, add))) is not None:
        added += page
    return added


def refuse_line(batch: Batch, task: TaskView) -> InvalidTask:
    """What to say about a single line: the files of its job would show it twice."""
    return InvalidTask(
        f"task {task.id} is line {task.position} of {batch.input_path}; "
        f"its job tries all failed lines again: {retry_command(batch)}"
    )


def retry_command(batch: Batch) -> str:
    """What to type so that a file job tries its failed lines again."""
    return f"penstock run {batch.input_path} -o {batch.output_path} --retry-failed"


def _retry_page(
    transaction: Transaction, batch: Batch, add: Callable[[Transaction, Sequence[TaskView]], list[T]]
) -> list[T] | None:
    row = transaction.batch(batch.id) or batch
    books = Books.of(row)
    page = transaction.finished_lines(batch.id, books.retried_no, _PAGE)
    if not page:
        return None
    found = [transaction.task(line.id) for line in page if can_be_retried(line)]
    tasks = [task for task in found if task is not None]
    for task in tasks:
        if task.payload is None:
            raise InvalidTask(f"line {task.position} cannot be tried again: its request was not kept")
    books.retried_no, books.stale = page[-1].no, books.stale or bool(tasks)
    transaction.update_batch(books.on(row))
    return add(transaction, tasks) if tasks else []
