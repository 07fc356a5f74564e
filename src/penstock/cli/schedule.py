"""`penstock schedule`: tasks that are made again and again."""

from __future__ import annotations

import json as jsonlib
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Annotated, Any, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from penstock.cli.amounts import read_span
from penstock.cli.nodes import living
from penstock.cli.show_text import counted, heading, print_json, shorten, span, table
from penstock.cli.stores import FAILED, JsonOption, StoreOption, find_store, reading, writing
from penstock.errors import ConfigurationError
from penstock.model.clock import iso_time
from penstock.model.schedule import Missed, Schedule

app = typer.Typer(
    help="Make tasks again and again: daily at 9:00, every 15 minutes, by a cron expression.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

SHOWN = 5

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The schedule's name.")]
TenantOption = Annotated[str, typer.Option("--tenant", metavar="NAME", help="The tenant it belongs to.")]


@app.command()
def add(
    name: NameArgument,
    when: Annotated[
        str,
        typer.Argument(
            metavar="WHEN",
            help='Such as "daily at 9:00", "mondays at 8:30", "every 15 minutes", "0 9 * * MON-FRI".',
        ),
    ],
    type: Annotated[str, typer.Option("--type", metavar="TYPE", help="The type of its tasks.")],
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="JSON", help="Their data; @FILE reads a file, - standard input."),
    ] = None,
    zone: Annotated[str, typer.Option("--zone", metavar="ZONE", help="Time zone of WHEN.")] = "UTC",
    jitter: Annotated[
        str, typer.Option("--jitter", metavar="SPAN", help="Fire up to so much later: 30s, 5min.")
    ] = "0s",
    missed: Annotated[
        str,
        typer.Option("--missed", metavar="RULE", help="Missed firings: skip, make up by one (once), or all."),
    ] = "once",
    priority: Annotated[
        str | None, typer.Option("--priority", metavar="LEVEL", help="A name or a number from 0 to 100.")
    ] = None,
    tenant: TenantOption = "",
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Add a schedule, or change the one of that name. The process that dispatches the store fires it."""
    from penstock.manager.scheduling import Timing, keep
    from penstock.model.priority import read_priority

    path = find_store(store)
    timing = Timing(when, zone, 0.0 if jitter == "0s" else read_span(jitter, "--jitter"), _rule(missed))
    level = None if priority is None else read_priority(priority)
    new, is_known = _template(path, name, timing, type, _read_data(data), level, tenant)
    with writing(path) as opened:
        kept = opened.run(lambda tx: keep(tx, new, time.time()))
        alive = bool(opened.read(lambda reader: living(reader.nodes(), time.time())))
    if json:
        print_json({**kept.as_dict(), "dispatched": alive})
        return
    typer.echo(f"schedule {name} fires {_first(kept)}")
    if not is_known:
        typer.echo(f"{type} is no built-in type: its data are checked when it fires")
    if not alive:
        typer.echo("no process dispatches this store now; the first that does will fire it")


@app.command(name="list")
def list_(
    tenant: Annotated[
        str | None, typer.Option("--tenant", metavar="NAME", help="Only those of this tenant.")
    ] = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """List schedules with their next and their last firing."""
    with reading(store) as opened:
        found = opened.read(lambda reader: reader.schedules(tenant))
    if json:
        print_json([one.as_dict() for one in found])
        return
    if not found:
        typer.echo("no schedule")
        return
    rows = [
        [
            one.name,
            one.when,
            one.zone,
            one.type,
            _local(one, one.next_at) if one.enabled else "paused",
            "-" if one.last_at is None else _local(one, one.last_at),
            one.last_error or "",
        ]
        for one in found
    ]
    titles = ("name", "when", "zone", "type", "next", "last", "refused")
    for line in table(titles, rows):
        typer.echo(line)


@app.command()
def show(
    name: NameArgument, tenant: TenantOption = "", store: StoreOption = None, json: JsonOption = False
) -> None:
    """Show one schedule and its next firings."""
    from penstock.manager.scheduling import found

    with reading(store) as opened:
        one = opened.read(lambda reader: found(reader, name, tenant))
    following = one.upcoming(SHOWN) if one.enabled else []
    if json:
        print_json({**one.as_dict(), "upcoming": [iso_time(tick) for tick in following]})
        return
    typer.echo(heading(one.name) + f": {one.when} ({one.zone})" + ("" if one.enabled else ", paused"))
    for title, text in _facts(one):
        typer.echo(f"  {title:9}{text}")
    for place, tick in enumerate(following):
        typer.echo(f"  {'next' if place == 0 else '':9}{_local(one, tick)}  {iso_time(tick)}")


@app.command()
def pause(
    name: NameArgument, tenant: TenantOption = "", store: StoreOption = None, json: JsonOption = False
) -> None:
    """Fire a schedule no more; the tasks that it made go on."""
    _switch(name, tenant, store, json, on=False)


@app.command()
def resume(
    name: NameArgument, tenant: TenantOption = "", store: StoreOption = None, json: JsonOption = False
) -> None:
    """Undo a pause: go on with the next firing from now."""
    _switch(name, tenant, store, json, on=True)


@app.command()
def remove(
    name: NameArgument, tenant: TenantOption = "", store: StoreOption = None, json: JsonOption = False
) -> None:
    """Remove a schedule; the tasks that it made stay."""
    with writing(store) as opened:
        gone = opened.run(lambda tx: tx.drop_schedule(name, tenant))
    if json:
        print_json({"name": name, "removed": gone})
    else:
        typer.echo(f"schedule {name} is removed" if gone else f"there is no schedule {name}")
    if not gone:
        raise typer.Exit(FAILED)


def _switch(name: str, tenant: str, store: str | None, json: bool, on: bool) -> None:
    from penstock.manager.scheduling import switch

    with writing(store) as opened:
        kept = opened.run(lambda tx: switch(tx, name, tenant, time.time() if on else None))
    if json:
        print_json(kept.as_dict())
    else:
        typer.echo(f"schedule {name} fires {_first(kept)}" if on else f"schedule {name} is paused")


def _template(
    path: str, name: str, timing: Any, type: str, data: Any, priority: int | None, tenant: str
) -> tuple[Schedule, bool]:
    """The schedule, and whether its type is built in, so that its data were checked."""
    from penstock.manager.ai_task_manager import AITaskManager
    from penstock.manager.scheduling import schedule_of
    from penstock.manager.submission import Submission
    from penstock.model.task_type import TaskType

    member = TaskType.__members__.get(type)
    one = Submission(type if member is None else member.value, data, priority=priority, tenant=tenant)
    engine = AITaskManager(store=path).engine  # not started: it only knows the built-in types
    is_known = one.type in engine.handlers
    prepared = engine.prepare(one) if is_known else None
    schedule = schedule_of(name, timing, one, time.time(), prepared)
    return schedule, is_known


def _rule(missed: str) -> Missed:
    rules: tuple[Missed, ...] = get_args(Missed)
    for rule in rules:
        if missed == rule:
            return rule
    raise ConfigurationError(f"--missed {missed!r} is no rule; it can be {', '.join(rules)}")


def _read_data(given: str | None) -> Any:
    if given is None:
        return None
    if given == "-":
        text = sys.stdin.read()
    else:
        text = Path(given[1:]).read_text(encoding="utf-8") if given.startswith("@") else given
    try:
        return jsonlib.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"--data is no JSON: {error}") from None


def _first(schedule: Schedule) -> str:
    if not schedule.enabled:
        return "no more: it is paused; `penstock schedule resume` undoes that"
    wait = span(schedule.next_at - time.time())
    return f"{schedule.when} ({schedule.zone}), next in {wait}: {_local(schedule, schedule.next_at)}"


def _local(schedule: Schedule, at: float) -> str:
    """An instant as the clock of the schedule's zone shows it; in UTC where this machine has no such zone."""
    try:
        zone: tzinfo = ZoneInfo(schedule.zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        zone = UTC
    return datetime.fromtimestamp(at, zone).strftime("%a %Y-%m-%d %H:%M:%S %Z")


def _facts(one: Schedule) -> Sequence[tuple[str, str]]:
    facts = [
        ("type", one.type),
        ("data", "-" if one.data is None else shorten(jsonlib.loads(one.data), 300).replace("\n", "\n  ")),
        ("priority", str(one.priority)),
        ("missed", one.missed),
        ("jitter", span(one.jitter_seconds) if one.jitter_seconds else "none"),
        ("fired", counted(one.fired, "time")),
    ]
    if one.details != "{}":
        facts.append(("further", one.details))
    if one.last_at is not None:
        facts.append(("last", f"{_local(one, one.last_at)}, task {one.last_task}"))
    if one.last_error is not None:
        facts.append(("refused", one.last_error))
    return facts
