"""`penstock submit`: one task into a store, or to a server."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from penstock.cli.show_text import print_json
from penstock.cli.stores import FAILED, JsonOption, StoreOption, writing
from penstock.errors import ConfigurationError, TaskNotFound
from penstock.model.states import TaskStatus
from penstock.model.task import Added, Existing, NewTask
from penstock.stores.contract import Store

KEY_VARIABLE = "PENSTOCK_API_KEY"
LOOK_SECONDS = 0.2


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
    server: Annotated[
        str | None,
        typer.Option(
            "--server",
            envvar="PENSTOCK_SERVER",
            metavar="URL",
            help=f"A server instead of a store; its key in {KEY_VARIABLE}.",
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", "-w", help="Wait for its end and print its result.")
    ] = False,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Add one task and print its id, once it is durable. Whatever process dispatches the store runs it."""
    task = {
        "task_type": type,
        "payload": _data(data),
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
        assert self._store is not None
        new = _prepared(self._store, task)
        outcome = self._store.run(lambda tx: tx.add([new]))[0]
        if isinstance(outcome, Added | Existing):
            return outcome.id
        raise outcome

    def look(self, id: str) -> dict[str, Any]:
        assert self._store is not None
        view = self._store.read(lambda reader: reader.task(id))
        if view is None:
            raise TaskNotFound(f"task {id} was removed", id)
        return {"status": str(view.status), "result": view.result, "error": view.error}


class _Server:
    """A server, spoken to over HTTP."""

    def __init__(self, url: str) -> None:
        import httpx2

        key = os.environ.get(KEY_VARIABLE)
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._http = httpx2.Client(base_url=url.rstrip("/"), headers=headers, timeout=30.0)

    def __enter__(self) -> _Server:
        return self

    def __exit__(self, *_: Any) -> None:
        self._http.close()

    def add(self, task: dict[str, Any]) -> str:
        return str(self._ask("POST", "/tasks", task)["task_id"])

    def look(self, id: str) -> dict[str, Any]:
        return self._ask("GET", f"/tasks/{id}")

    def _ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        import httpx2

        try:
            reply = self._http.request(method, path, json=body)
            told = reply.json()
        except httpx2.HTTPError as error:
            raise ConfigurationError(f"{self._http.base_url} cannot be asked: {error}") from None
        except ValueError:
            raise ConfigurationError(f"{self._http.base_url} is no server of penstock") from None
        if reply.status_code >= 400:
            message = told.get("error", {}).get("message") if isinstance(told, dict) else None
            raise ConfigurationError(f"the server answered {reply.status_code}: {message or 'no message'}")
        return dict(told)


def _prepared(store: Store, task: dict[str, Any]) -> NewTask:
    """Check and rank a task as the dispatching process would; data of types made elsewhere is taken as is."""
    from penstock.manager.ai_task_manager import AITaskManager
    from penstock.manager.client import APIConfig, OpenAICompatibleClient
    from penstock.manager.submission import Submission
    from penstock.manager.task_config import TaskConfig
    from penstock.model.task_type import TaskType
    from penstock.runtime.reranking import policy_for

    engine = AITaskManager(OpenAICompatibleClient(APIConfig("")), store="memory").engine
    engine.ranker.use(policy_for(store, engine.settings))
    named = TaskType.__members__.get(task["task_type"])
    type = task["task_type"] if named is None else named.value
    if type not in engine.handlers:
        engine.register(type, lambda context: None)
    details = {name: task[name] for name in ("priority", "tags", "idempotency_key", "tenant") if name in task}
    return engine.prepare(Submission(type, task.get("payload"), options=TaskConfig().options, **details))


def _data(text: str) -> Any:
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
