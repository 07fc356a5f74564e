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
        """Knows the names; imports a command that is about to run, or has no summary."""

        def list_commands(self, ctx: Any) -> list[str]:
            return list(targets)

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            if cmd_name in summaries:
                return _placeholder(cmd_name, summaries[cmd_name])
            return _loaded(cmd_name, targets[cmd_name]) if cmd_name in targets else None

        def resolve_command(self, ctx: Any, args: list[str]) -> Any:
            if args[0] in targets:
                return args[0], _loaded(args[0], targets[args[0]]), args[1:]
            return super().resolve_command(ctx, args)

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


def _show_version(wanted: bool) -> None:
    if wanted:
        from penstock import __version__

        print(__version__)
        raise typer.Exit


def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Durable, token- and cost-aware scheduling of LLM work."""


def _placeholder(name: str, summary: str) -> Any:
    app = typer.Typer(add_completion=False)
    app.command(name, help=summary)(_nothing)
    return get_command(app)


def _nothing() -> None:
    """Stands for a command in the help."""


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
