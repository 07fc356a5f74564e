"""The command line: `penstock COMMAND ...`. A command's module is imported when the command is used."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from penstock.cli.exit_codes import ExitCode

COMMANDS: dict[str, str] = {
    "run": "penstock.cli.run.command:app",
    "demo": "penstock.cli.demo.command:demo",
    "serve": "penstock.cli.serve:serve",
    "keys": "penstock.cli.keys:app",
    "submit": "penstock.cli.submit:submit",
    "plan": "penstock.cli.plan:plan",
    "tasks": "penstock.cli.inspect:tasks",
    "show": "penstock.cli.inspect:show",
    "why": "penstock.cli.why:why",
    "stats": "penstock.cli.stats:stats",
    "cancel": "penstock.cli.control:cancel",
    "retry": "penstock.cli.retry:retry",
    "fork": "penstock.cli.fork:fork",
    "event": "penstock.cli.waiting:event",
    "approvals": "penstock.cli.waiting:approvals",
    "approve": "penstock.cli.waiting:approve",
    "workflow": "penstock.cli.workflow:app",
    "pause": "penstock.cli.control:pause",
    "resume": "penstock.cli.control:resume",
    "strategy": "penstock.cli.strategy:strategy",
    "schedule": "penstock.cli.schedule:app",
    "db": "penstock.cli.database:app",
    "simulator": "penstock.cli.simulate:simulator",
    "lab": "penstock.cli.lab:lab",
    "bench": "penstock.cli.bench.command:bench",
}
"""Command name to `module:attribute`: a function with typer parameters, or a `typer.Typer` of commands."""

SUMMARIES: dict[str, str] = {
    "run": "Send every request of a file to a model, durably and at the provider's limit.",
    "demo": "Show the main job on texts of this machine, without a key, with one planned crash.",
    "serve": "Serve tasks over HTTP, and an OpenAI-compatible endpoint whose calls wait their turn.",
    "keys": "API keys of a server: add, list, rotate, revoke, remove; what tenants are granted.",
    "submit": "Add one task to a store, or to a server.",
    "plan": "Plan a goal in plain words, show what it takes, and run it when you say so.",
    "tasks": "List tasks, the newest first.",
    "show": "Show everything about one task.",
    "why": "Say why a task waits, for what, and about how long.",
    "stats": "Count tasks, money, limits and processes of a store.",
    "cancel": "Cancel tasks.",
    "retry": "Try failed or cancelled tasks again.",
    "fork": "Add a copy of a task that goes on from before one of its steps.",
    "event": "Send an event to a task.",
    "approvals": "List what tasks ask people.",
    "approve": "Approve what a task asks, or refuse it.",
    "workflow": "Workflows given as data: run, check, show.",
    "pause": "Start no more tasks, of all or of some.",
    "resume": "Undo a pause.",
    "strategy": "Tell what orders the waiting tasks of a store, or switch it.",
    "schedule": "Make tasks again and again: add, list, show, pause, resume, remove.",
    "db": "Look after a store: show, prune, backup, verify, uncertain, release.",
    "simulator": "Serve a simulated provider, to try and measure without a key.",
    "lab": "Replay a trace in virtual time: what each strategy would have done with it.",
    "bench": "Measure this machine beside what SQLite alone does.",
}
"""One line for `penstock --help`, so that it need not import the command."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code. What a user can mend is one line on stderr, no traceback."""
    from penstock.cli.commands import command_line
    from penstock.errors import PenstockError

    try:
        command_line(COMMANDS, SUMMARIES).main(args=arguments, prog_name="penstock")
        code = ExitCode.OK
    except PenstockError as error:
        code = complain(str(error))
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        code = complain(f"{place}{error.strerror or error}")
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    sys.exit(int(code))


def complain(message: str) -> ExitCode:
    """Tell the user what to mend; the exit code of that."""
    print(f"penstock: {message}", file=sys.stderr)
    return ExitCode.USAGE
