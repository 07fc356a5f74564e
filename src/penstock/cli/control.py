"""`penstock cancel`, `pause` and `resume`: control requests that a dispatching process notices at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import typer

from penstock.cli.choosing import (
    BatchOption,
    Choice,
    IdsArgument,
    StatusOption,
    TenantOption,
    TypeOption,
    count_matching,
    find_task,
    ids_of,
    in_chunks,
    only,
)
from penstock.cli.nodes import living
from penstock.cli.show_text import counted, number, print_json
from penstock.cli.stores import FAILED, JsonOption, StoreOption, YesOption, writing
from penstock.errors import ConfigurationError
from penstock.model.states import PAUSABLE, TaskStatus
from penstock.model.task import TaskView
from penstock.stores.contract import Reader, Store, TaskFilter, Transaction

OPEN = tuple(status for status in TaskStatus if not status.final)
_COUNTED = 10_000


def cancel(
    ids: IdsArgument = None,
    status: StatusOption = None,
    type: TypeOption = None,
    tenant: TenantOption = None,
    batch: BatchOption = None,
    yes: YesOption = False,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Cancel tasks: those that wait at once, those that run at their next wait."""
    choice = Choice.of(None, status, type, tenant, batch)
    if bool(ids) == choice.by_filter:
        raise ConfigurationError("cancel takes either ids or a filter: --status, --type, --tenant, --batch")
    with writing(store) as opened:
        if ids:
            named = opened.read(lambda reader: [find_task(reader, text) for text in ids])
            found = opened.run(lambda tx: _cancel(tx, named))
        else:
            where = only(opened.read(choice.where), OPEN)
            _confirm(opened, where, yes)
            found = [one for some in in_chunks(opened, where, _cancel) for one in some]
        alive = bool(opened.read(lambda reader: living(reader.nodes(), time.time())))
    _tell_cancelled(found, alive, json)
    if ids and any(before.final for _, before in found):
        raise typer.Exit(FAILED)


def _cancel(transaction: Transaction, tasks: Sequence[TaskView]) -> list[tuple[str, TaskStatus]]:
    """Ids and what they were before."""
    fresh = [transaction.task(task.id) or task for task in tasks]
    transaction.cancel(ids_of(fresh), time.time())
    return [(task.id, task.status) for task in fresh]


def _confirm(store: Store, where: TaskFilter, yes: bool) -> None:
    """Ask before more than one task is cancelled by a filter."""
    if yes:
        return
    count = store.read(lambda reader: count_matching(reader, where, _COUNTED))
    if count > 1:
        more = " or more" if count >= _COUNTED else ""
        typer.confirm(f"Cancel {number(count)}{more} tasks?", abort=True, err=True)


def _tell_cancelled(found: Sequence[tuple[str, TaskStatus]], alive: bool, json: bool) -> None:
    groups: dict[str, list[str]] = {"cancelled": [], "asked": [], "too_late": []}
    for id, before in found:
        running = before is TaskStatus.RUNNING
        groups["too_late" if before.final else "asked" if running else "cancelled"].append(id)
    if json:
        print_json({**groups, "dispatched": alive})
        return
    if not found:
        typer.echo("no task to cancel")
    elif len(found) <= 10:
        for id, before in found:
            typer.echo(f"{id} {_cancelled_text(before, alive)}")
    else:
        typer.echo(f"{number(len(groups['cancelled']))} cancelled")
        if groups["asked"]:
            typer.echo(
                f"{number(len(groups['asked']))} that run {_cancelled_text(TaskStatus.RUNNING, alive)}"
            )


def _cancelled_text(before: TaskStatus, alive: bool) -> str:
    if before.final:
        return f"is {before.value} already"
    if before is not TaskStatus.RUNNING:
        return "is cancelled"
    return "is told to stop" if alive else "is told to stop, but no process dispatches this store now"


def pause(
    ids: IdsArgument = None,
    type: TypeOption = None,
    tenant: TenantOption = None,
    batch: BatchOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Start no more tasks: none at all, of a type or tenant, or of those named. What runs goes on."""
    _steer(Choice.of(ids, None, type, tenant, batch), store, json, paused=True)


def resume(
    ids: IdsArgument = None,
    type: TypeOption = None,
    tenant: TenantOption = None,
    batch: BatchOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Undo a pause of everything, of a type or tenant, or of tasks; wake a suspended task by its id."""
    _steer(Choice.of(ids, None, type, tenant, batch), store, json, paused=False)


def _steer(choice: Choice, store: str | None, json: bool, paused: bool) -> None:
    if bool(choice.ids) + bool(choice.types or choice.tenant is not None) + (choice.batch is not None) > 1:
        raise ConfigurationError("give ids, or --type and --tenant, or --batch: one kind of choice at a time")
    with writing(store) as opened:
        if choice.ids or choice.batch is not None:
            count = _steer_tasks(opened, choice, paused)
            lines = [f"{counted(count, 'task')} {'paused' if paused else 'resumed'}"]
        else:
            scopes = [f"type:{type}" for type in choice.types]
            scopes += [] if choice.tenant is None else [f"tenant:{choice.tenant}"]
            count, lines = 0, opened.run(lambda tx: _set_scopes(tx, scopes or ["all"], paused))
        pauses = opened.read(lambda reader: reader.pauses())
    if json:
        print_json({"tasks": count, "pauses": pauses})
        return
    for line in lines:
        typer.echo(line)
    if not paused and pauses:
        typer.echo("still paused: " + ", ".join(pauses))


def _set_scopes(transaction: Transaction, scopes: Sequence[str], paused: bool) -> list[str]:
    before = set(transaction.pauses())
    lines = []
    for scope in scopes:
        transaction.set_pause(scope, paused)
        kind, _, name = scope.partition(":")
        words = _SCOPE_WORDS[paused, (scope in before) == paused]
        lines.append(words.format(what=_SCOPES[kind].format(name=name)))
    return lines


_SCOPES = {"all": "the whole store", "type": "type {name}", "tenant": "tenant {name}"}
_SCOPE_WORDS = {  # (paused, and was so before)
    (True, False): "{what} is paused; what runs goes on",
    (True, True): "{what} was paused already",
    (False, False): "{what} goes on",
    (False, True): "{what} was not paused",
}


def _steer_tasks(store: Store, choice: Choice, paused: bool) -> int:
    """Pause or resume the tasks named, or those of a batch; how many changed."""
    now = time.time()

    def change(transaction: Transaction, tasks: Sequence[TaskView]) -> int:
        verb: Callable[[TaskFilter, float], int] = transaction.pause if paused else transaction.resume
        return verb(ids_of(tasks), now) if tasks else 0

    if not choice.ids:
        statuses = tuple(sorted(PAUSABLE)) if paused else (TaskStatus.PAUSED,)
        where = only(store.read(choice.where), statuses)
        return sum(in_chunks(store, where, change))

    def named(transaction: Transaction) -> int:
        return change(transaction, _steerable(transaction, choice.ids, paused))

    return store.run(named)


def _steerable(reader: Reader, ids: Sequence[str], paused: bool) -> list[TaskView]:
    """The tasks named; raises `ConfigurationError` naming one that cannot be paused or resumed."""
    tasks = [find_task(reader, text) for text in ids]
    legal = PAUSABLE if paused else {TaskStatus.PAUSED, TaskStatus.SUSPENDED}
    for task in tasks:
        if task.status not in legal:
            words = (
                "only tasks that wait can be paused"
                if paused
                else "only paused and suspended tasks can be resumed"
            )
            raise ConfigurationError(f"task {task.id} is {task.status}; {words}")
    return tasks
