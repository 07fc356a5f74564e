"""`penstock workflow`: run, check and look at workflows given as data."""

from __future__ import annotations

import json as jsonlib
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from penstock.cli.choosing import IdArgument
from penstock.cli.remote import ServerOption
from penstock.cli.show_text import counted, print_json
from penstock.cli.stores import FAILED, JsonOption, StoreOption
from penstock.cli.workflow_places import Here, Place, There, checked
from penstock.cli.workflow_text import budget_lines, progress_line, shown_lines
from penstock.errors import ConfigurationError
from penstock.model.states import TaskStatus

app = typer.Typer(
    help="Workflows given as data: tasks with dependencies between them. Run, check, show, budget.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

LOOK_SECONDS = 0.2

FileArgument = Annotated[
    str, typer.Argument(metavar="FILE", help="The workflow as JSON; - reads standard input.")
]


@app.command()
def run(
    file: FileArgument,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Follow it to its end and print its result.")
    ] = False,
    idempotency_key: Annotated[
        str | None, typer.Option("--idempotency-key", help="The same key gives the same run.")
    ] = None,
    server: ServerOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Start a workflow and print its id, once it is durable. Whoever dispatches the store runs it."""
    form = read_form(file)
    with _place(server, store) as place:
        id = place.run(form, idempotency_key)
        if not watch:
            print_json({"workflow": id}) if json else typer.echo(id)
            return
        typer.echo(f"workflow {id}", err=True)
        told = _watch(place, id)
    if json:
        print_json(told)
    elif told["status"] == TaskStatus.COMPLETED:
        result = told["result"]
        typer.echo(result if isinstance(result, str) else jsonlib.dumps(result, ensure_ascii=False))
    else:
        typer.echo(f"{id} {told['status']}: {told['error']}", err=True)
    if told["status"] != TaskStatus.COMPLETED:
        raise typer.Exit(FAILED)


@app.command()
def check(file: FileArgument, json: JsonOption = False) -> None:
    """Say what is wrong with a workflow, all at once, or how large it is. Needs neither store nor server."""
    definition, foreign = checked(read_form(file))
    edges = sum(len(needed) for needed in definition.needs.values())
    if json:
        sizes = {"nodes": len(definition.needs), "edges": edges, "deepest": definition.deepest}
        print_json({"name": definition.name, **sizes, "types_not_built_in": foreign})
        return
    name = f" {definition.name!r}" if definition.name else ""
    typer.echo(
        f"workflow{name} is sound: {counted(len(definition.needs), 'node')}, "
        f"{counted(edges, 'edge')}, at most {counted(definition.deepest, 'node')} one after another"
    )
    if foreign:
        typer.echo(f"not built in, so their data were not checked: {', '.join(foreign)}")


@app.command()
def show(
    id: IdArgument,
    analysis: Annotated[
        bool, typer.Option("--analysis", help="What took the time, what waited for what, what it cost.")
    ] = False,
    svg: Annotated[
        str | None, typer.Option("--svg", metavar="PATH", help="Write that as a picture; - to the output.")
    ] = None,
    server: ServerOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Show how far a workflow is, with every node; or what took its time."""
    if svg is not None and (json or analysis):
        raise ConfigurationError("--svg stands alone: neither --json nor --analysis goes with it")
    with _place(server, store) as place:
        if svg is not None:
            _write(svg, place.analysis(id, "svg"))
        elif analysis:
            typer.echo(place.analysis(id, "json" if json else "text"))
        else:
            told = place.look(id)
            nodes = place.nodes(id)
            if json:
                print_json({**told, "nodes": nodes})
            else:
                for line in shown_lines(told, nodes, time.time()):
                    typer.echo(line)


@app.command()
def budget(
    id: IdArgument,
    budget: Annotated[
        str | None,
        typer.Option("--budget", metavar="USD", help="In all, from now on; none takes the limit away."),
    ] = None,
    max_tokens: Annotated[
        str | None,
        typer.Option("--max-tokens", metavar="N", help="Prompts and replies in all; none likewise."),
    ] = None,
    server: ServerOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Show what a workflow may use and has used, or change it while it runs: what waits for it goes on.

    Of a workflow that failed it is what a retry has.
    """
    changes = _budget_changes(budget, max_tokens)
    with _place(server, store) as place:
        told = place.adjust_budget(id, changes) if changes else place.budget(id)
    if json:
        print_json(told)
        return
    for line in budget_lines(told):
        typer.echo(line)


def _budget_changes(budget: str | None, max_tokens: str | None) -> dict[str, Any]:
    """What the options say; raises `ConfigurationError` for what is no number."""
    changes: dict[str, Any] = {}
    for name, text, read in (("budget", budget, float), ("max_tokens", max_tokens, int)):
        if text is None:
            continue
        try:
            changes[name] = None if text == "none" else read(text)
        except ValueError:
            option = "--" + name.replace("_", "-")
            raise ConfigurationError(f"{option} {text!r} is neither a number nor none") from None
    return changes


def read_form(file: str) -> Any:
    """The JSON of a file, or of standard input."""
    try:
        text = sys.stdin.read() if file == "-" else Path(file).expanduser().read_text(encoding="utf-8")
        return jsonlib.loads(text)
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{file} is no JSON: {error}") from None
    except jsonlib.JSONDecodeError as error:
        raise ConfigurationError(
            f"{file} is no JSON: line {error.lineno} column {error.colno}: {error.msg}"
        ) from None


def _place(server: str | None, store: str | None) -> Place:
    return There(server) if server and store is None else Here(store)


def _watch(place: Place, id: str) -> dict[str, Any]:
    """Tell every change on standard error, until the end."""
    last = ""
    while True:
        told = place.look(id)
        line = progress_line(told)
        if line != last:
            typer.echo(line, err=True)
            last = line
        if TaskStatus(told["status"]).final:
            return told
        time.sleep(LOOK_SECONDS)


def _write(path: str, text: str) -> None:
    if path == "-":
        typer.echo(text)
        return
    Path(path).expanduser().write_text(text, encoding="utf-8")
    typer.echo(f"written to {path}", err=True)
