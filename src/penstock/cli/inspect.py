"""`penstock tasks` and `penstock show`: what is in a store."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from penstock.cli.choosing import (
    BatchOption,
    Choice,
    IdArgument,
    IdsArgument,
    StatusOption,
    TenantOption,
    TypeOption,
    find_task,
)
from penstock.cli.describe import (
    TASK_FIGURES,
    TASK_TITLES,
    coloured_row,
    deadline_text,
    event_data,
    event_text,
    kind,
    reservation_data,
    reservation_row,
    task_data,
    task_row,
)
from penstock.cli.kin import Kin, read_kin
from penstock.cli.show_text import (
    clock_time,
    coloured,
    heading,
    indented,
    iso,
    money,
    number,
    print_json,
    shorten,
    span,
    table,
    usd,
)
from penstock.cli.stores import JsonOption, StoreOption, reading
from penstock.model.reservation import ReservationView
from penstock.model.task import TaskView
from penstock.stores.contract import Event, Reader, TaskFilter

_SHORT, _STEPS, _EVENTS = 1_000, 40, 40
_MOST_EVENTS = 1_000
_MOST_RESERVATIONS = 10_000


def tasks(
    ids: IdsArgument = None,
    status: StatusOption = None,
    type: TypeOption = None,
    tenant: TenantOption = None,
    batch: BatchOption = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many at most.")] = 20,
    newest: Annotated[bool, typer.Option("--newest/--oldest", help="Which come first.")] = True,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """List tasks, the newest first."""
    choice = Choice.of(None, status, type, tenant, batch)
    with reading(store) as opened:
        page = opened.read(lambda reader: _page(reader, choice, ids, limit, newest))
    found, more = page[:limit], len(page) > limit
    if json:
        print_json({"tasks": [task_data(task) for task in found], "more": more})
        return
    if not found:
        typer.echo("no tasks" + (" match" if ids or choice.by_filter else " in this store"))
        return
    now = time.time()
    titles, rows = list(TASK_TITLES), [task_row(task, now) for task in found]
    if any(task.deadline is not None for task in found):
        titles.insert(-1, "DEADLINE")
        rows = [[*row[:-1], deadline_text(task, now), row[-1]] for task, row in zip(found, rows, strict=True)]
    title, *lines = table(titles, rows, TASK_FIGURES)
    typer.echo(heading(title))
    for task, line in zip(found, lines, strict=True):
        typer.echo(coloured_row(task, line))
    if more:
        typer.echo(f"... and more; --limit {limit * 5} shows them")


def _page(reader: Reader, choice: Choice, ids: list[str] | None, limit: int, newest: bool) -> list[TaskView]:
    where = choice.where(reader)
    if ids:
        chosen = tuple(find_task(reader, text).id for text in ids)
        where = TaskFilter(chosen, where.statuses, where.types, where.tenant, where.batch)
    return reader.tasks(where, limit=limit + 1, newest=newest)


def show(
    id: IdArgument,
    full: Annotated[bool, typer.Option("--full", help="Do not shorten data, steps and events.")] = False,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Show everything about one task: data, options, steps, money held, events, error and result."""
    with reading(store) as opened:
        task, kin, held, events = opened.read(lambda reader: _about(reader, id))
    if json:
        print_json({**_whole(task, held, events), **kin.data()})
        return
    most = 10**9 if full else _SHORT
    for line in (*_facts(task), *kin.facts()):
        typer.echo(line)
    if kin.waits:
        typer.echo(heading("waits"))
        typer.echo(indented("\n".join(kin.lines(time.time()))))
    _section("data", task.payload, most)
    _section("metadata", task.metadata, most)
    _section("options", task.options, most)
    _steps(task, full)
    _reservations(held)
    _events(events, full)
    _section("error", task.error, most)
    _section("result", task.result, most)


def _about(reader: Reader, id: str) -> tuple[TaskView, Kin, list[ReservationView], list[Event]]:
    task = find_task(reader, id)
    return task, read_kin(reader, task), held_by(reader, task), reader.events(0, _MOST_EVENTS, task.seq)


def held_by(reader: Reader, task: TaskView) -> list[ReservationView]:
    """The task's reservations that are held or uncertain."""
    return [
        one for one in reader.reservations(("held", "uncertain"), _MOST_RESERVATIONS) if one.task == task.seq
    ]


def _whole(task: TaskView, held: list[ReservationView], events: list[Event]) -> dict[str, Any]:
    steps = [
        {"number": place, **step, "at": iso(step["at"]), "cost_usd": usd(step["cost"])}
        for place, step in enumerate(map(dict, task.steps), 1)
    ]
    for step in steps:
        del step["cost"]
    return {
        **task_data(task),
        "payload": task.payload,
        "metadata": task.metadata,
        "options": task.options,
        "steps": steps,
        "reservations": [reservation_data(one) for one in held],
        "events": [event_data(event) for event in events],
        "result": task.result,
    }


def _facts(task: TaskView) -> list[str]:
    retry = f", tries again {task.retry_of}" if task.retry_of else ""
    batch = "" if task.batch is None else f", batch {task.batch} line {task.position}"
    tenant = f", tenant {task.tenant}" if task.tenant else ""
    lines = [
        heading(f"task {task.id}") + f"  {coloured(task.status, task.status.value)}",
        f"  what      {kind(task)}, priority {task.priority}{tenant}{batch}{retry}",
        f"  entered   {clock_time(task.created_at)}",
    ]
    if task.due_at is not None and not task.status.final:
        lines.append(f"  due       {clock_time(task.due_at)}")
    if task.started_at is not None:
        waited = span(task.started_at - task.created_at)
        lines.append(f"  started   {clock_time(task.started_at)}, {waited} later")
    if task.finished_at is not None:
        took = "" if task.started_at is None else f", {span(task.finished_at - task.started_at)} later"
        lines.append(f"  finished  {clock_time(task.finished_at)}{took}")
    if task.deadline is not None:
        lines.append(f"  deadline  {clock_time(task.deadline)}, {deadline_text(task, time.time())}")
    crashes = f", {task.crashes} of them ended with their process" if task.crashes else ""
    lines.append(f"  attempt   {task.attempt}{crashes}")
    tokens = f"{number(task.input_tokens)} in, {number(task.output_tokens)} out"
    lines.append(f"  used      {tokens}; {money(task.cost)}")
    return lines


def _section(name: str, value: Any, most: int) -> None:
    if value is not None:
        typer.echo(heading(name))
        typer.echo(indented(shorten(value, most)))


def _steps(task: TaskView, full: bool) -> None:
    if not task.steps:
        return
    shown = task.steps if full else task.steps[-_STEPS:]
    left = len(task.steps) - len(shown)
    typer.echo(heading("steps") + (f" (the last {_STEPS} of {len(task.steps)})" if left else ""))
    rows = [
        [
            number(place),
            step["name"],
            step["scope"],
            str(step["occurrence"]),
            clock_time(step["at"]),
            number(step["input_tokens"] + step["output_tokens"]),
            money(step["cost"]),
        ]
        for place, step in enumerate(shown, left + 1)
    ]
    titles = ("NO", "NAME", "SCOPE", "AGAIN", "RECORDED", "TOKENS", "COST")
    typer.echo(indented("\n".join(table(titles, rows, (0, 3, 5, 6)))))


def _reservations(held: list[ReservationView]) -> None:
    if held:
        typer.echo(heading("reservations"))
        titles = ("NO", "STATE", "MODEL", "SINCE", "TOKENS", "MONEY")
        typer.echo(indented("\n".join(table(titles, map(reservation_row, held), (0, 4, 5)))))


def _events(events: list[Event], full: bool) -> None:
    if events:
        shown = events if full else events[-_EVENTS:]
        typer.echo(heading("events"))
        rows = [[clock_time(event.at), event.kind, event_text(event)] for event in shown]
        typer.echo(indented("\n".join(line for line in table(("", "", ""), rows) if line)))
