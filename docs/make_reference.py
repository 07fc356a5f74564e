"""Writes the pages of docs/reference that follow from the code: states.md, cli.md and configuration.md.

Run it with the project's Python after a change; a test says when that was forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from penstock.model.states import CLAIMABLE, ENTRIES, MOVES, TaskStatus

REFERENCE = Path(__file__).resolve().parent / "reference"

MEANINGS = {
    TaskStatus.QUEUED: "waits in the line; a delayed task until it is due",
    TaskStatus.RUNNING: "claimed by a node; its handler runs, or one of its steps waits at the gate",
    TaskStatus.PAUSED: "kept from starting by `pause`, whether or not it waits for other tasks",
    TaskStatus.RETRYING: "waits for its next attempt",
    TaskStatus.BLOCKED: "waits for other tasks",
    TaskStatus.SUSPENDED: "waits for a time, an event or a person, and holds nothing",
    TaskStatus.COMPLETED: "has a result",
    TaskStatus.FAILED: "has an error",
    TaskStatus.CANCELLED: "was cancelled",
}


def states_page() -> str:
    """The states of a task and every legal move between them, as a page with a diagram."""
    lines = [
        "# States of a task",
        "",
        "Written by `docs/make_reference.py` from `penstock.model.states`.",
        "",
    ]
    lines += ["| status | the task |", "|---|---|"]
    for status in TaskStatus:
        ends = " (final)" if status.final else ""
        lines.append(f"| `{status}` | {MEANINGS[status]}{ends} |")
    claimable = " or ".join(f"`{status}`" for status in TaskStatus if status in CLAIMABLE)
    lines += ["", f"A claim takes tasks that are {claimable}. A final status never changes.", ""]
    lines += ["```mermaid", "stateDiagram-v2"]
    lines += [f"    [*] --> {status}" for status in TaskStatus if status in ENTRIES]
    for old in TaskStatus:
        lines += [f"    {old} --> {new}" for new in TaskStatus if new in MOVES[old]]
    lines += [f"    {status} --> [*]" for status in TaskStatus if status.final]
    return "\n".join([*lines, "```", ""])


def cli_page() -> str:
    """Every command with its options, from the command line itself."""
    from penstock.cli import COMMANDS, SUMMARIES
    from penstock.cli.commands import command_line
    from penstock.cli.exit_codes import EXPLANATION

    root = command_line(COMMANDS, SUMMARIES)
    context = root.context_class(root, info_name="penstock")
    lines = ["# Command line", "", "Written by `docs/make_reference.py` from the commands.", ""]
    lines += ["| command | does |", "|---|---|"]
    lines += [f"| [`{name}`](#penstock-{name}) | {_cell(SUMMARIES.get(name, ''))} |" for name in COMMANDS]
    lines += ["", EXPLANATION, ""]
    for name in COMMANDS:
        _, command, _ = root.resolve_command(context, [name])
        lines += _command(f"penstock {name}", command)
    return "\n".join(lines).rstrip() + "\n"


def _command(title: str, command: Any) -> Iterator[str]:
    members = getattr(command, "commands", None)
    yield f"## {title}"
    yield ""
    yield (command.help or "").split("\f")[0].strip()
    yield ""
    if members:
        for name, member in members.items():
            yield from _section(f"{title} {name}", member)
    else:
        yield from _usage(title, command)


def _section(title: str, command: Any) -> Iterator[str]:
    yield f"### {title}"
    yield ""
    yield (command.help or "").strip()
    yield ""
    yield from _usage(title, command)


def _usage(title: str, command: Any) -> Iterator[str]:
    context = command.context_class(command, info_name=title)
    with context:
        yield "```text"
        yield " ".join([title, *command.collect_usage_pieces(context)])
        yield "```"
        yield ""
        rows = [_row(parameter, context) for parameter in command.params]
    rows = [row for row in rows if row]
    if rows:
        yield "| option | is |"
        yield "|---|---|"
        yield from rows
        yield ""


def _row(parameter: Any, context: Any) -> str:
    if parameter.param_type_name != "option" or parameter.hidden:
        return ""
    names, explanation = parameter.get_help_record(context)
    return f"| `{_cell(names)}` | {_cell(explanation)} |"


CONFIGURATION_HEAD = """# Configuration of a server

Written by `docs/make_reference.py` from `penstock.service.config`; this is the whole list.

`penstock serve --config penstock.toml` reads one TOML file. What is also in the environment goes over the
file, and the options of the [command line](cli.md#penstock-serve) over both. Lists are given with commas in
the environment. Secrets are never written into the file: it names the environment variables or files that
have them.

```toml
[server]
port = 8000

[store]
path = "penstock.db"

[limits]
requests_per_minute = 500

[budgets]
daily = 20.0

[[upstreams]]
base_url = "https://api.openai.com/v1"
key_env = "OPENAI_API_KEY"
models = ["gpt-4o-mini", "text-embedding-3-small"]

[tenants.acme]
requests_per_minute = 60
budget = 5.0
```

Without `[[upstreams]]` the one of `OPENAI_BASE_URL` and `OPENAI_API_KEY` is used."""

CONFIGURATION_TAIL = """## Other tables

| table | is |
|---|---|
| `[pools]` | units by name, such as `gpu = 1`; a task holds its units while it runs |
| `[strategy_settings]` | settings of `engine.strategy`, see [scheduling](../guide/scheduling.md) |

## Other variables

| variable | is |
|---|---|
| `PENSTOCK_CONFIG` | the file, instead of `--config` |
| `PENSTOCK_SERVER` | the server that `penstock submit` talks to |
| `PENSTOCK_API_KEY` | its key for that |
| `OPENAI_BASE_URL`, `OPENAI_API_KEY` | the upstream where the file has none |
| `OTEL_...` | OpenTelemetry's own, where its SDK is installed and set up |
"""


def configuration_page() -> str:
    """Every setting of a server with its environment variable."""
    from penstock.service.config import PLAIN, ServerConfig, variable_of

    lines = [CONFIGURATION_HEAD, ""]
    for name, field in ServerConfig.model_fields.items():
        part, title = _part(name, field.annotation)
        if part is None:
            continue
        lines += [f"## `{title}`", "", (part.__doc__ or "").split("\n\n")[0].strip(), ""]
        in_environment = name in PLAIN
        lines += ["| field | default | variable | is |" if in_environment else "| field | default | is |"]
        lines += ["|---|---|---|---|" if in_environment else "|---|---|---|"]
        for key, one in part.model_fields.items():
            variable = f" `{variable_of(name, key)}` |" if in_environment else ""
            lines.append(f"| `{key}` | {_default(one)} |{variable} {_cell(one.description or '')} |")
        lines.append("")
    return "\n".join([*lines, CONFIGURATION_TAIL])


def _part(name: str, annotation: Any) -> tuple[Any, str]:
    """The model of a table, and how the table is written."""
    from pydantic import BaseModel

    kinds = [annotation, *getattr(annotation, "__args__", ())]
    part = next((one for one in kinds if isinstance(one, type) and issubclass(one, BaseModel)), None)
    origin = getattr(annotation, "__origin__", None)
    return part, {list: f"[[{name}]]", dict: f"[{name}.NAME]"}.get(origin, f"[{name}]")


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if value is None or value in ([], {}):
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|") if text.strip() else ""


PAGES = {"states.md": states_page, "cli.md": cli_page, "configuration.md": configuration_page}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), encoding="utf-8")
        print(f"wrote docs/reference/{name}")
