"""The options of `penstock plan`, with their lines of help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from penstock.cli.stores import DEFAULT_NAME, VARIABLE

PLANNING, RUNNING, SHOWN = "The plan", "The run", "What is done and shown"


def _option(panel: str, help: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel, **more)


_MODEL = "Model that plans, works and writes."
_MOST = "Most subtasks of a round."
_INSTRUCTIONS = "What is to be kept in mind at every step: words, or @FILE."
_GIVEN = "A plan as JSON (FILE, or - for standard input) instead of asking a model."
_AGAIN = "Plan and run anew, whatever is there."
_REPLANS = "How often the last step may add subtasks; 0: never."
_DEADLINE = "Give up after so long: 30min, 2h..."
_BASE_URL = "OpenAI-compatible address (default: OPENAI_BASE_URL, or OpenAI's)."
_KEY_ENV = "Environment variable with the key."
_STORE = f"Where it is kept, so that the same command goes on after a crash (default: {DEFAULT_NAME})."
_YES = "Run the plan without asking."
_DRY_RUN = "Make and show the plan (one model call), run nothing."
_OUTPUT = "File of the report, in Markdown (default: standard output)."
_JSON = "Print one JSON document for machines."

Goal = Annotated[str, typer.Argument(help="What is wanted, in plain words.")]
Model = Annotated[str, _option(PLANNING, _MODEL, "--model")]
MaxSubtasks = Annotated[int, _option(PLANNING, _MOST, "--max-subtasks", min=1, max=200)]
Instructions = Annotated[str | None, _option(PLANNING, _INSTRUCTIONS, "--instructions")]
Given = Annotated[str | None, _option(PLANNING, _GIVEN, "--plan", metavar="FILE")]
Again = Annotated[bool, _option(PLANNING, _AGAIN, "--again")]
Replans = Annotated[int, _option(RUNNING, _REPLANS, "--replans", min=0, max=10)]
Deadline = Annotated[str | None, _option(RUNNING, _DEADLINE, "--deadline", metavar="TIME")]
Concurrency = Annotated[int, _option(RUNNING, "Calls at once.", "--concurrency", min=1)]
Rpm = Annotated[int | None, _option(RUNNING, "Requests per minute.", "--rpm", min=1)]
BaseUrl = Annotated[str | None, _option(RUNNING, _BASE_URL, "--base-url")]
KeyEnv = Annotated[str, _option(RUNNING, _KEY_ENV, "--api-key-env", metavar="NAME")]
StorePath = Annotated[str | None, _option(RUNNING, _STORE, "--store", "-s", envvar=VARIABLE, metavar="PATH")]
Yes = Annotated[bool, _option(SHOWN, _YES, "--yes", "-y")]
DryRun = Annotated[bool, _option(SHOWN, _DRY_RUN, "--dry-run")]
Output = Annotated[Path | None, _option(SHOWN, _OUTPUT, "--output", "-o", metavar="FILE")]
Json = Annotated[bool, _option(SHOWN, _JSON, "--json")]
