"""Which tasks a command line means: ids or their beginnings, statuses, types, a tenant, a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from penstock.errors import ConfigurationError, TaskNotFound
from penstock.model.batch import Batch
from penstock.model.states import TaskStatus
from penstock.model.task import TaskView
from penstock.stores.contract import Reader, Store, TaskFilter, Transaction

T = TypeVar("T")

ID_LENGTH = 32
CHUNK = 500
"""Tasks that one transaction of a command changes: the dispatching process never waits long for us."""

_SHOWN = 5

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="A task's id, or a unique beginning of it.")]
IdsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="ID...", help="Ids, or unique beginnings of ids.")
]
StatusOption = Annotated[
    list[str] | None,
    typer.Option("--status", metavar="STATUS", help="Only tasks in this status; may be repeated."),
]
TypeOption = Annotated[
    list[str] | None, typer.Option("--type", metavar="TYPE", help="Only tasks of this type; may be repeated.")
]
TenantOption = Annotated[
    str | None, typer.Option("--tenant", metavar="NAME", help="Only tasks of this tenant.")
]
BatchOption = Annotated[
    str | None,
    typer.Option(
        "--batch", metavar="BATCH", help="Only tasks of this batch: its number, its name or its input file."
    ),
]


@dataclass(frozen=True, slots=True)
class Choice:
    """What was typed, before the store was asked. An empty choice means every task."""

    ids: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    tenant: str | None = None
    batch: str | None = None

    @classmethod
    def of(
        cls,
        ids: Sequence[str] | None = None,
        statuses: Sequence[str] | None = None,
        types: Sequence[str] | None = None,
        tenant: str | None = None,
        batch: str | None = None,
    ) -> Choice:
        return cls(tuple(ids or ()), tuple(statuses or ()), tuple(types or ()), tenant, batch)

    @property
    def by_filter(self) -> bool:
        return bool(self.statuses or self.types or self.tenant is not None or self.batch is not None)

    def where(self, reader: Reader) -> TaskFilter:
        """The filter; raises `ConfigurationError` for a status or a batch that there is not."""
        return TaskFilter(
            statuses=tuple(read_status(text) for text in self.statuses),
            types=self.types,
            tenant=self.tenant,
            batch=None if self.batch is None else find_batch(reader, self.batch).id,
        )


def read_status(text: str) -> TaskStatus:
    try:
        return TaskStatus(text.strip().lower())
    except ValueError:
        names = ", ".join(TaskStatus)
        raise ConfigurationError(f"status {text!r} is unknown; it can be {names}") from None


def find_batch(reader: Reader, text: str) -> Batch:
    """The batch of that number, name, input file or output file; of several, the newest."""
    if text.isdecimal() and (found := reader.batch(int(text))) is not None:
        return found
    named = reader.batch_named(text)
    if named is not None:
        return named
    batches = reader.batches()
    path = str(Path(text).expanduser().resolve())
    for batch in reversed(batches):
        files = (batch.input_path, batch.output_path)
        if path in files or text in files or text in (Path(file).name for file in files):
            return batch
    known = "; ".join(f"{batch.id} ({batch.input_path})" for batch in batches[-_SHOWN:])
    raise ConfigurationError(f"there is no batch {text!r}; this store has " + (known or "none"))


def find_task(reader: Reader, text: str) -> TaskView:
    """The task of that id or unique beginning of one; raises `TaskNotFound` that says what else there is."""
    text = text.strip()
    found = reader.task(text)
    if found is not None:
        return found
    alike = ids_beginning(reader, text) if text and len(text) < ID_LENGTH else []
    if len(alike) > 1:
        more = ", ..." if len(alike) > _SHOWN else ""
        raise TaskNotFound(
            f"several ids begin with {text}: {', '.join(alike[:_SHOWN])}{more}; give more of it", text
        )
    raise TaskNotFound(f"there is no task {text}; `penstock tasks` lists them", text)


def ids_beginning(reader: Reader, text: str, most: int = 6) -> list[str]:
    """Some ids that begin with `text`; found by halving, for ids rise as the store's own numbers do."""
    low, high = 0, _last_seq(reader)
    while low < high:
        middle = (low + high) // 2
        next_one = reader.tasks(TaskFilter(), after=middle, limit=1, newest=False)
        if next_one and next_one[0].id < text:
            low = next_one[0].seq
        else:
            high = middle
    # A little before too: tasks that several processes added in one millisecond may be in another order.
    near = reader.tasks(TaskFilter(), after=max(0, low - 20), limit=40 + most, newest=False)
    return [task.id for task in near if task.id.startswith(text)][:most]


def _last_seq(reader: Reader) -> int:
    newest = reader.tasks(TaskFilter(), limit=1)
    return newest[0].seq if newest else 0


def count_matching(reader: Reader, where: TaskFilter, most: int) -> int:
    """How many tasks match, counted up to about `most`."""
    count = after = 0
    while count < most:
        page = reader.tasks(where, after, CHUNK, newest=False)
        count += len(page)
        if len(page) < CHUNK:
            break
        after = page[-1].seq
    return count


def in_chunks(
    store: Store, where: TaskFilter, change: Callable[[Transaction, list[TaskView]], T]
) -> Iterator[T]:
    """Change every task that matches, oldest first, each chunk in a transaction of its own."""
    after = 0

    def work(transaction: Transaction) -> tuple[int, int, T | None]:
        page = transaction.tasks(where, after, CHUNK, newest=False)
        return (page[-1].seq, len(page), change(transaction, page)) if page else (0, 0, None)

    while True:
        after, count, outcome = store.run(work)
        if outcome is not None:
            yield outcome
        if count < CHUNK:
            return


def ids_of(tasks: Sequence[TaskView]) -> TaskFilter:
    return TaskFilter(ids=tuple(task.id for task in tasks))


def only(where: TaskFilter, statuses: Sequence[TaskStatus]) -> TaskFilter:
    """The filter narrowed to some statuses; raises `ConfigurationError` when that leaves none."""
    kept = tuple(status for status in where.statuses or tuple(statuses) if status in statuses)
    if not kept:
        raise ConfigurationError(
            f"tasks that are {', '.join(where.statuses)} are left alone; this works on {', '.join(statuses)}"
        )
    return replace(where, statuses=kept)
