"""The table of commands as one command line that imports a command when it is used."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from penstock.cli.exit_codes import EXPLANATION


def command_line(targets: Mapping[str, str], summaries: Mapping[str, str]) -> Any:
    """A command over `targets` (name to `module:attribute`); `summaries` are their lines in the help."""

    class Commands(TyperGroup):
        """Knows the names; imports on use."""

        def list_commands(self, ctx: Any) -> list[str]:
            return list(targets)

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            if cmd_name not in targets:
                return None
            # Only the help of the whole command line asks for commands that are not about to run.
            if _asked_for_help(ctx) and cmd_name in summaries:
                return _placeholder(cmd_name, summaries[cmd_name])
            return _loaded(cmd_name, targets[cmd_name])

    app = typer.Typer(
        cls=Commands,
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        help="Durable, token- and cost-aware scheduling of LLM work.",
        epilog=EXPLANATION,
    )
    app.callback()(_top)
    return get_command(app)


def _top(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    if version:
        from penstock import __version__

        print(__version__)
        raise typer.Exit()


def _asked_for_help(ctx: Any) -> bool:
    return not getattr(ctx, "_protected_args", None) and not ctx.args


def _placeholder(name: str, summary: str) -> Any:
    app = typer.Typer(add_completion=False)
    app.command(name, help=summary)(lambda: None)
    return get_command(app)


def _loaded(name: str, target: str) -> Any:
    module, _, attribute = target.partition(":")
    found = getattr(importlib.import_module(module), attribute)
    if isinstance(found, typer.Typer):
        command = get_command(found)
    else:
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command(name)(found)
        command = get_command(app)
    command.name = name
    return command
