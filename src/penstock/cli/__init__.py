"""The command line: `penstock COMMAND ...`. A command's module is imported when the command is used."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

from penstock.cli.exit_codes import ExitCode

COMMANDS: dict[str, str] = {
    "run": "penstock.cli.run.command:app",
}
"""Command name to `module:attribute`: a function with typer parameters, or a `typer.Typer` for a family of commands."""

SUMMARIES: dict[str, str] = {
    "run": "Send every request of a file to a model, durably and at the provider's limit.",
}
"""One line for `penstock --help`, so that it need not import the command."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code. What a user can mend is one line on stderr, never a traceback."""
    from penstock.errors import PenstockError

    try:
        code = _run(sys.argv[1:] if arguments is None else list(arguments))
    except PenstockError as error:
        code = complain(str(error))
    except BrokenPipeError:
        # Whoever read our output has left; keep the interpreter from complaining at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = ExitCode.OK
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


def _run(arguments: list[str]) -> int:
    from penstock.cli.commands import command_line

    command = command_line(COMMANDS, SUMMARIES)
    result: Any = command.main(args=arguments, prog_name="penstock", standalone_mode=False)
    return result if isinstance(result, int) else ExitCode.OK


def load(target: str) -> Any:
    """What `module:attribute` names."""
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)
