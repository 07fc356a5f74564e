"""`penstock submit`: one task into a store, or to a server."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from penstock.cli.remote import Remote, ServerOption
from penstock.cli.show_text import print_json
from penstock.cli.stores import FAILED, JsonOption, StoreOption, writing
from penstock.errors import ConfigurationError, TaskNotFound
from penstock.model.states import TaskStatus
from penstock.stores.contract import Store

LOOK_SECONDS = 0.2
_DETAILS = ("priority", "tags", "idempotency_key", "tenant")


def submit(
    type: Annotated[str, typer.Argument(help="The task's type, such as llm_call.")],
    data: Annotated[
        str, typer.Option("--data", "-d", help="Its data: JSON, @FILE, or - for standard input.")
    ] = "null",
    priority: Annotated[
        str | None, typer.Option("--priority", help="low, medium, high, urgent or a number from 0 to 100.")
    ] = None,
    tenant: Annotated[str, typer.Option("--tenant", "-t", help="Whose task it is.")] = "",
    tag: Annotated[list[str] | None, typer.Option("--tag", help="A tag; may be given again.")] = None,
    idempotency_key: Annotated[
        str | None, typer.Option("--idempotency-key", help="The same key gives the same task.")
    ] = None,
    server: ServerOption = None,
    wait: Annotated[
        bool, typer.Option("--wait", "-w", help="Wait for its end and print its result.")
    ] = False,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Add one task and print its id, once it is durable. Whatever process dispatches the store runs it."""
    task = {
        "task_type": type,
        "payload": read_data(data),
        "priority": _priority(priority),
        "tags": tag or [],
        "idempotency_key": idempotency_key,
        "tenant": tenant or None,
    }
    given = {name: value for name, value in task.items() if value not in (None, [])}
    place = _Server(server) if server and store is None else _Store(store)
    with place:
        id = place.add(given)
        if not wait:
            print_json({"task_id": id}) if json else typer.echo(id)
            return
        _tell_end(id, _end(place, id), json)


class _Store:
    """A store that some process dispatches, or will."""

    def __init__(self, path: str | None) -> None:
        self._context = writing(path)
        self._store: Store | None = None

    def __enter__(self) -> _Store:
        self._store = self._context.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._context.__exit__(*error)

    def add(self, task: dict[str, Any]) -> str:
        from penstock.manager.given import type_name
        from penstock.manager.store_client import submit_outside
        from penstock.manager.submission import Submission

        assert self._store is not None
        details = {name: task[name] for name in _DETAILS if name in task}
        one = Submission(type_name(task["task_type"]), task.get("payload"), **details)
        return submit_outside(self._store, one)

    def look(self, id: str) -> dict[str, Any]:
        assert self._store is not None
        view = self._store.read(lambda reader: reader.task(id))
        if view is None:
            raise TaskNotFound(f"task {id} was removed", id)
        return {"status": str(view.status), "result": view.result, "error": view.error}


class _Server(Remote):
    """A server, spoken to over HTTP."""

    def __enter__(self) -> _Server:
        return self

    def add(self, task: dict[str, Any]) -> str:
        return str(self.ask("POST", "/tasks", task)["task_id"])

    def look(self, id: str) -> dict[str, Any]:
        return dict(self.ask("GET", f"/tasks/{id}"))


def read_data(text: str) -> Any:
    """What `--data` says: JSON, the JSON of a file, or of standard input."""
    try:
        if text == "-":
            text = sys.stdin.read()
        elif text.startswith("@"):
            text = Path(text[1:]).expanduser().read_text(encoding="utf-8")
        return json.loads(text)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--data is no JSON: {error}") from None


def _priority(text: str | None) -> int | str | None:
    return int(text) if text is not None and text.isdecimal() else text


def _end(place: _Store | _Server, id: str) -> dict[str, Any]:
    while not TaskStatus((told := place.look(id))["status"].lower()).final:
        time.sleep(LOOK_SECONDS)
    return told


def _tell_end(id: str, told: dict[str, Any], as_json: bool) -> None:
    failed = told["status"].lower() != TaskStatus.COMPLETED
    if as_json:
        print_json({"task_id": id, **{name: told.get(name) for name in ("status", "result", "error")}})
    elif failed:
        typer.echo(f"{id} {told['status']}: {json.dumps(told.get('error'))}", err=True)
    else:
        result = told.get("result")
        typer.echo(result if isinstance(result, str) else json.dumps(result, ensure_ascii=False))
    if failed:
        raise typer.Exit(FAILED)
