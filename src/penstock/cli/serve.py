"""`penstock serve`: the HTTP face over a store."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from penstock.cli.exit_codes import ExitCode


def serve(
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", envvar="PENSTOCK_CONFIG", help="TOML file with everything.", metavar="FILE"
        ),
    ] = None,
    host: Annotated[
        str | None, typer.Option("--host", help="Address to listen on. [default: 127.0.0.1]")
    ] = None,
    port: Annotated[int | None, typer.Option("--port", "-p", help="Port; 0: any. [default: 8000]")] = None,
    store: Annotated[
        str | None,
        typer.Option("--store", "-s", metavar="PATH", help="The store's file. [default: penstock.db]"),
    ] = None,
    max_concurrent: Annotated[
        int | None, typer.Option("--max-concurrent", help="Handlers that run and calls in flight.")
    ] = None,
    requests_per_minute: Annotated[
        int | None, typer.Option("--requests-per-minute", "--rpm", help="Requests in any minute.")
    ] = None,
    tokens_per_minute: Annotated[
        int | None, typer.Option("--tokens-per-minute", "--tpm", help="Tokens in any minute.")
    ] = None,
    budget: Annotated[float | None, typer.Option("--budget", help="US dollars in all.")] = None,
    log: Annotated[str | None, typer.Option("--log", help="text or json. [default: text]")] = None,
) -> None:
    """Serve tasks over HTTP, and an OpenAI-compatible endpoint whose calls wait their turn.

    The command line goes over the environment (PENSTOCK_...), that over the file. Without API keys
    (`penstock keys add`) it listens on this machine only. SIGTERM or Ctrl-C stops it: calls in flight
    get their time; a second one leaves at once. Nothing that was submitted is lost either way.
    """
    from penstock.cli.run.interruption import interruptible
    from penstock.service.config import read_config
    from penstock.service.server import run_server

    given: dict[str, dict[str, Any]] = {
        "server": {"host": host, "port": port},
        "store": {"path": store},
        "engine": {"max_concurrent": max_concurrent},
        "limits": {"requests_per_minute": requests_per_minute, "tokens_per_minute": tokens_per_minute},
        "budgets": {"total": budget},
        "log": {"format": log},
    }
    cut = run_server(read_config(config, given=given), interruptible, _tell)
    raise typer.Exit(int(ExitCode.INTERRUPTED if cut else ExitCode.OK))


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
