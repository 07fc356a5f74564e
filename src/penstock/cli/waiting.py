"""`penstock event`, `approvals` and `approve`: what tasks wait for from outside."""

from __future__ import annotations

import getpass
import time
from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import quote

import typer

from penstock.cli.choosing import IdArgument, TenantOption, find_task
from penstock.cli.remote import Remote, ServerOption
from penstock.cli.show_text import clock_time, heading, iso, print_json, span, table
from penstock.cli.stores import JsonOption, StoreOption, reading, writing
from penstock.cli.submit import read_data
from penstock.errors import ConfigurationError
from penstock.model.decision import Approval
from penstock.model.states import TaskStatus
from penstock.model.task import TaskView
from penstock.model.waits import APPROVAL, EVENT, INTERRUPT
from penstock.stores.contract import Transaction

_MOST = 10_000
_QUESTION = 80

DataOption = Annotated[
    str | None,
    typer.Option("--data", "-d", help="Data with it: JSON, @FILE, or - for standard input."),
]


def event(
    id: IdArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The event's name.")],
    data: DataOption = None,
    server: ServerOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Send an event to a task; it is kept until the task waits for it."""
    from penstock.manager.letters import Outgoing

    given = None if data is None else read_data(data)
    if server and store is None:
        with Remote(server) as there:
            told = there.ask("POST", f"/tasks/{quote(id, safe='')}/events", {"name": name, "data": given})
        _tell({"id": told["task_id"], "event": name}, f"{told['task_id']} gets the event {name!r}", json)
        return

    letter = Outgoing(name, given, _me())

    def send(tx: Transaction) -> tuple[TaskView, list[str]]:
        task = find_task(tx, id)
        letter.deliver(tx, task.id, time.time())
        return task, [one.what for one in tx.awaits(task.seq)]

    with writing(store) as opened:
        task, awaited = opened.run(send)
    told = f"{task.id} gets the event {name!r}{_when(task)}{_kept(name, awaited)}"
    _tell({"id": task.id, "event": name}, told, json)


def approvals(
    tenant: TenantOption = None,
    server: ServerOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """List what tasks ask people, and nobody has answered yet, the oldest first."""
    found = _asked_there(server, tenant) if server and store is None else _asked_here(store, tenant)
    if json:
        print_json({"approvals": [{**one, "asked_at": iso(one["asked_at"]), "until": iso(one["until"])}
                                  for one in found]})  # fmt: skip
        return
    if not found:
        typer.echo("nobody is asked anything")
        return
    _table(found)


def approve(
    id: IdArgument,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Which, where the task asks for several.")
    ] = None,
    no: Annotated[bool, typer.Option("--no", help="Refuse it.")] = False,
    comment: Annotated[str, typer.Option("--comment", "-m", help="What the task is told with it.")] = "",
    data: DataOption = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Answer a graph's interrupt with true and nothing more.")
    ] = False,
    server: ServerOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Approve what a task asks, or refuse it with --no; the first answer counts."""
    from penstock.manager.letters import Answer, approval_of

    if no and yes:
        raise ConfigurationError("either --yes or --no")
    given = None if data is None else read_data(data)
    plain = given is None and not yes
    if server and store is None:
        if plain:
            _check_plain([one for one in _asked_there(server, None) if one["id"].startswith(id)], name, no)
        body = {"approved": not no, "name": name, "comment": comment, "data": given}
        with Remote(server) as there:
            full = str(there.ask("POST", f"/tasks/{quote(id, safe='')}/decision", body)["task_id"])
        when = ""
    else:
        answer = Answer(not no, _me(), comment, given)

        def decide(tx: Transaction) -> TaskView:
            task = find_task(tx, id)
            if plain:
                asked = [one for one in tx.awaits(task.seq) if one.question is not None and not one.answered]
                _check_plain([_row(approval_of(one)) for one in asked], name, no)
            answer.deliver(tx, task.id, name, time.time())
            return task

        with writing(store) as opened:
            task = opened.run(decide)
        full, when = task.id, _when(task)
    told = f"{full} is told that it is {'not ' if no else ''}approved{when}"
    _tell({"id": full, "name": name, "approved": not no}, told, json)


def _check_plain(asked: Sequence[dict[str, Any]], name: str | None, no: bool) -> None:
    """Raises `ConfigurationError` where a bare yes or no is not what a graph's interrupt wants."""
    meant = [one for one in asked if name in (None, one["name"])]
    if len(meant) != 1 or not meant[0]["name"].startswith(INTERRUPT):
        return
    [one] = meant
    details = one["details"]
    stopped = isinstance(details, dict) and bool(details.get("breakpoint"))
    if stopped and no:
        raise ConfigurationError(
            f"a graph at a breakpoint only goes on; `penstock cancel {one['id']}` ends its task"
        )
    if not stopped and not no:
        raise ConfigurationError(
            f"this interrupt is resumed with a value; it asks: {_line(one['question'])}\n"
            "give the value with --data JSON, or --yes for true (--no is false)"
        )


def _asked_here(store: str | None, tenant: str | None) -> list[dict[str, Any]]:
    from penstock.manager.letters import approval_of

    with reading(store) as opened:
        rows = opened.read(lambda reader: reader.approvals(tenant, limit=_MOST))
    return [_row(approval_of(one)) for one in rows]


def _row(one: Approval) -> dict[str, Any]:
    return {
        "id": one.task_id, "name": one.name, "question": one.question, "details": one.details,
        "type": one.type, "tenant": one.tenant, "asked_at": one.asked_at, "until": one.until,
    }  # fmt: skip


def _asked_there(server: str, tenant: str | None) -> list[dict[str, Any]]:
    from datetime import datetime

    def instant(text: str | None) -> float | None:
        return None if text is None else datetime.fromisoformat(text).timestamp()

    whose = "" if tenant is None else f"&tenant={quote(tenant, safe='')}"
    with Remote(server) as there:
        rows = there.pages(f"/approvals?limit=500{whose}")
    return [
        {
            "id": one["task_id"], "name": one["name"], "question": one["question"],
            "details": one["details"], "type": one["task_type"], "tenant": one["tenant"],
            "asked_at": instant(one["asked_at"]), "until": instant(one["until"]),
        }
        for one in rows
    ]  # fmt: skip


def _table(found: Sequence[dict[str, Any]]) -> None:
    now = time.time()
    rows = [
        [
            one["id"],
            one["name"],
            one["type"],
            span(now - one["asked_at"]),
            "-" if one["until"] is None else clock_time(one["until"]),
            _line(one["question"]),
        ]
        for one in found
    ]
    title, *lines = table(("ID", "NAME", "TYPE", "SINCE", "UNTIL", "QUESTION"), rows, (3,))
    typer.echo(heading(title))
    for line in lines:
        typer.echo(line)
    typer.echo("answer with: penstock approve ID [NAME] [--no] [--comment TEXT]; details: penstock show ID")
    if any(one["name"].startswith(INTERRUPT) for one in found):
        typer.echo("a graph's interrupt with a value: penstock approve ID [NAME] --data JSON")


def _line(question: str) -> str:
    text = " ".join(question.split())
    return text if len(text) <= _QUESTION else text[: _QUESTION - 1] + "…"


def _when(task: TaskView) -> str:
    """What is to be known of a task that may not read it soon."""
    return "" if task.status in (TaskStatus.RUNNING, TaskStatus.SUSPENDED) else f"; it is {task.status} now"


def _kept(name: str, awaited: Sequence[str]) -> str:
    """What is to be known of an event while its task waits for others."""
    events = [what.removeprefix(EVENT) for what in awaited if what.startswith(EVENT)]
    if not events or name in events:
        return ""
    names = [f"the approval {one.removeprefix(APPROVAL)!r}" if one.startswith(APPROVAL) else repr(one)
             for one in events]  # fmt: skip
    return f"; it waits for {' and '.join(names)}: this one is kept until it is waited for"


def _me() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # nobody of that number is known here
        return ""


def _tell(data: dict[str, Any], line: str, json: bool) -> None:
    print_json(data) if json else typer.echo(line)
