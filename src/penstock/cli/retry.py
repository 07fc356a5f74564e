"""`penstock retry`: a failed or cancelled task again, as a new task that has its journal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from penstock.cli.choosing import (
    BatchOption,
    Choice,
    IdsArgument,
    TenantOption,
    TypeOption,
    find_batch,
    find_task,
    in_chunks,
    only,
)
from penstock.cli.retry_lines import refuse_line, retry_lines
from penstock.cli.show_text import number, print_json
from penstock.cli.stores import FAILED, JsonOption, StoreOption, writing
from penstock.errors import ConfigurationError, InvalidTask
from penstock.model.states import TaskStatus
from penstock.model.task import Added, Existing, NewTask, TaskView
from penstock.stores.contract import Store, TaskFilter, Transaction

AGAIN = (TaskStatus.FAILED, TaskStatus.CANCELLED)


@dataclass(frozen=True, slots=True)
class Retried:
    """`new` is the task that tries `old` again; `made` is false when an earlier retry made it."""

    old: str
    new: str
    made: bool


def retry(
    ids: IdsArgument = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="All failed tasks (narrowed by the filters).")
    ] = False,
    cancelled: Annotated[bool, typer.Option("--cancelled", help="All cancelled tasks, likewise.")] = False,
    type: TypeOption = None,
    tenant: TenantOption = None,
    batch: BatchOption = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin with an empty journal: pay for recorded steps again.")
    ] = False,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Try failed or cancelled tasks again; each becomes a new task that has the journal of the old one."""
    statuses = [status.value for status, wanted in zip(AGAIN, (failed, cancelled), strict=True) if wanted]
    choice = Choice.of(None, statuses, type, tenant, batch)
    if bool(ids) == choice.by_filter:
        raise ConfigurationError(
            "retry takes either ids or a filter such as --failed, optionally with --batch"
        )
    if not ids and not statuses:
        raise ConfigurationError("say which tasks to try again: --failed, --cancelled or both")
    if batch is not None and (type or tenant is not None):
        raise ConfigurationError(
            "the failed lines of a batch are tried again together: leave --type and --tenant out"
        )
    with writing(store) as opened:
        if ids:
            retried, refused = opened.run(lambda tx: _named(tx, ids, fresh)), 0
        elif batch is not None:
            lines_of = opened.read(lambda reader: find_batch(reader, batch))
            retried, refused = retry_lines(opened, lines_of, lambda tx, page: _add(tx, page, fresh)), 0
        else:
            where = only(opened.read(choice.where), AGAIN)
            retried, refused = _filtered(opened, where, fresh)
    _tell(retried, refused, json)
    if refused:
        raise typer.Exit(FAILED)


def _filtered(store: Store, where: TaskFilter, fresh: bool) -> tuple[list[Retried], int]:
    retried: list[Retried] = []
    refused = 0
    for some, left in in_chunks(store, where, lambda tx, page: _again_all(tx, page, fresh)):
        retried += some
        refused += left
    return retried, refused


def _tell(retried: Sequence[Retried], refused: int, json: bool) -> None:
    made = [one for one in retried if one.made]
    if json:
        data = [{"id": one.old, "retried_as": one.new, "made": one.made} for one in retried]
        print_json({"retried": data, "refused": refused})
        return
    if len(retried) <= 10:
        for one in retried:
            typer.echo(f"{one.old} is tried again as {one.new}" + ("" if one.made else " already"))
    if len(retried) != 1:
        known = len(retried) - len(made)
        typer.echo(f"{number(len(made))} tried again" + (f", {number(known)} were already" if known else ""))
    if refused:
        typer.echo(
            f"{number(refused)} left out: lines of a file (name its job with --batch), or data not kept",
            err=True,
        )


def _named(transaction: Transaction, ids: Sequence[str], fresh: bool) -> list[Retried]:
    """Retries of tasks by id; raises `InvalidTask`, and changes nothing, when one cannot be tried again."""
    tasks = [find_task(transaction, text) for text in ids]
    for task in tasks:
        job = None if task.batch is None else transaction.batch(task.batch)
        if job is not None:
            raise refuse_line(job, task)
        if _data_lost(task):
            raise InvalidTask(f"the data of task {task.id} were not kept (keep was off); submit it again")
    return [_latest_again(transaction, task, fresh) for task in tasks]


def _latest_again(transaction: Transaction, task: TaskView, fresh: bool) -> Retried:
    """Try the task again, or the last of its retries when that ended badly too: what a person means by it."""
    while True:
        (retried,) = _add(transaction, [task], fresh)
        earlier = None if retried.made else transaction.task(retried.new)
        if earlier is None or earlier.status not in AGAIN:
            return retried
        task = earlier


def _again_all(transaction: Transaction, page: Sequence[TaskView], fresh: bool) -> tuple[list[Retried], int]:
    jobs = {batch.id for batch in transaction.batches()}
    kept = [task for task in page if not _data_lost(task) and task.batch not in jobs]
    return _add(transaction, kept, fresh), len(page) - len(kept)


def _add(transaction: Transaction, tasks: Sequence[TaskView], fresh: bool) -> list[Retried]:
    from penstock.manager import again
    from penstock.runtime.ranking import Ranker
    from penstock.runtime.reranking import told_last

    now = time.time()
    ranker = Ranker(told_last(transaction).policy())
    new: list[NewTask] = []
    for old in tasks:
        task = again(old, old.id, now, fresh)
        # A second retry of the same task is the first one: --failed may be typed again.
        task.idempotency_key, task.fingerprint = f"retry of {old.id}", old.id
        ranker.enter(task, 0.0, 0.0, now)
        new.append(task)
    return [_outcome(old, outcome) for old, outcome in zip(tasks, transaction.add(new), strict=True)]


def _outcome(old: TaskView, outcome: Any) -> Retried:
    if isinstance(outcome, Added | Existing):
        return Retried(old.id, outcome.id, isinstance(outcome, Added))
    raise outcome


def _data_lost(task: TaskView) -> bool:
    return task.payload is None and isinstance(task.options, dict) and task.options.get("keep") is False
