"""`penstock plan`: a goal in plain words, planned by a model, shown, and run when that is wanted."""

from __future__ import annotations

import asyncio
import json as json_module
import sys
from pathlib import Path
from typing import Any

import typer

from penstock.cli import plan_flags as flags
from penstock.cli.amounts import read_span
from penstock.cli.exit_codes import ExitCode
from penstock.cli.plan_text import plan_as_json, plan_text
from penstock.cli.plan_work import Desk, Wanted
from penstock.cli.run.flags import Budget
from penstock.cli.show_text import print_json
from penstock.cli.stores import DEFAULT_NAME, FAILED
from penstock.errors import ConfigurationError, TaskFailed
from penstock.workflows.plans import Plan


def plan(
    goal: flags.Goal,
    model: flags.Model = "gpt-4o-mini",
    max_subtasks: flags.MaxSubtasks = 12,
    instructions: flags.Instructions = None,
    given: flags.Given = None,
    again: flags.Again = False,
    replans: flags.Replans = 1,
    budget: Budget = None,
    deadline: flags.Deadline = None,
    concurrency: flags.Concurrency = 10,
    rpm: flags.Rpm = None,
    base_url: flags.BaseUrl = None,
    api_key_env: flags.KeyEnv = "OPENAI_API_KEY",
    store: flags.StorePath = None,
    yes: flags.Yes = False,
    dry_run: flags.DryRun = False,
    output: flags.Output = None,
    json: flags.Json = False,
) -> None:
    """Plan a goal, show the plan with what it will cost, and run it when you say so.

    Making the plan is itself one model call, or up to three where the first answer cannot be used. The
    subtasks are run side by side wherever they can be, and their results compiled into a report.
    """
    wanted = Wanted(
        goal=goal,
        model=model,
        max_subtasks=max_subtasks,
        instructions=_words(instructions),
        plan=None if given is None else _plan_file(given),
        again=again,
        replans=replans,
        deadline_seconds=None if deadline is None else read_span(deadline, "--deadline"),
    )
    settings = {"budget_limit": budget, "requests_per_minute": rpm, "store": store or DEFAULT_NAME}
    desk = Desk(wanted, base_url, api_key_env, concurrency, settings)
    try:
        asyncio.run(_work(desk, yes, dry_run, output, json))
    except TaskFailed as error:
        typer.echo(f"penstock: {error}", err=True)
        raise typer.Exit(FAILED) from None
    except KeyboardInterrupt:
        typer.echo("interrupted; the same command goes on where this one was", err=True)
        raise typer.Exit(ExitCode.INTERRUPTED) from None


async def _work(desk: Desk, yes: bool, dry_run: bool, output: Path | None, json: bool) -> None:
    async with desk:
        plan = await desk.plan(_say)
        if not json:
            typer.echo(plan_text(plan), err=not dry_run)
        if dry_run or not (yes or await asyncio.to_thread(_agreed)):
            if json:
                print_json(plan_as_json(plan))
            return
        found = await desk.pursue(plan, _say)
        _tell(plan, found, output, json)


def _agreed() -> bool:
    if not sys.stdin.isatty():
        _say("not run: nobody is there to say so; --yes runs it")
        return False
    return typer.confirm("Run it?", err=True)


def _tell(plan: Plan, found: dict[str, Any], output: Path | None, json: bool) -> None:
    report = found["report"]
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(report.rstrip() + "\n", encoding="utf-8")
        _say(f"the report is in {output}")
    if json:
        print_json(plan_as_json(plan) | found)
    elif output is None:
        typer.echo(report)


def _words(text: str | None) -> str | None:
    if text is None or not text.startswith("@"):
        return text
    return Path(text[1:]).expanduser().read_text(encoding="utf-8")


def _plan_file(name: str) -> dict[str, Any]:
    try:
        text = sys.stdin.read() if name == "-" else Path(name).expanduser().read_text(encoding="utf-8")
        found = json_module.loads(text)
    except (json_module.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--plan is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise ConfigurationError("--plan must be a JSON object with subtasks")
    inner = found.get("plan")  # what --json prints
    return inner if isinstance(inner, dict) else found


def _say(text: str) -> None:
    typer.echo(text, err=True)
