"""`penstock demo`: the main job on real texts, without a key, with one planned crash."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from penstock.cli.demo import corpus, story
from penstock.cli.demo.crash import Child, Crash, crash
from penstock.cli.demo.plan import FULL, QUICK, Plan
from penstock.cli.demo.proof import claims, gather
from penstock.cli.exit_codes import ExitCode
from penstock.cli.stores import FAILED
from penstock.errors import ConfigurationError, PenstockError
from penstock.simulator import SimulatorThread

FOLDER = "penstock-demo"

_LOG_WIDTH = 140

DirectoryOption = Annotated[
    str | None,
    typer.Option(
        "--directory",
        "-d",
        metavar="FOLDER",
        help=f"A new or empty folder for the files; by default {FOLDER}.",
    ),
]
QuickOption = Annotated[bool, typer.Option("--quick", help="The same in a few seconds, in shorter windows.")]


def demo(directory: DirectoryOption = None, quick: QuickOption = False) -> None:
    """Run the main job on the README texts of this machine's Python packages, with a simulated provider.

    At its limits, within a budget, with one planned crash. Exit code 0 only when all it claims is true.
    """
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = _LOG_WIDTH
    plan = QUICK if quick else FULL
    folder = make_folder(directory)
    started = time.monotonic()
    sections = corpus.collect(plan.requests)
    corpus.write_requests(folder / plan.input, sections)
    with SimulatorThread(plan.provider()) as simulator:
        story.opening(console, plan, folder, sections)
        what_happened = _run_and_crash(console, plan, folder, simulator)
        found = gather(plan, folder, simulator, what_happened)
    judged = claims(found)
    story.ending(console, found, judged, folder, time.monotonic() - started)
    raise typer.Exit(int(ExitCode.OK) if all(claim.holds for claim in judged) else FAILED)


def _run_and_crash(console: Console, plan: Plan, folder: Path, simulator: SimulatorThread) -> Crash:
    """The same command twice: killed the first time, to its end the second."""
    words = plan.command(simulator.base_url)
    shown = "penstock " + shlex.join(words)
    story.command(console, shown)
    child = Child(words, folder)
    happened = crash(child, simulator, round(plan.crash_share * plan.requests), folder / plan.store)
    story.crashed(console, plan, happened)
    story.command(console, shown)
    code = Child(words, folder).wait()
    if code != ExitCode.OK:
        raise PenstockError(f"`penstock run` ended with exit code {code}; its files are in {folder}")
    return happened


def make_folder(given: str | None) -> Path:
    """The folder asked for, which must be new or empty; else `penstock-demo`, or the next number of it."""
    if given is not None:
        folder = Path(given).expanduser().absolute()
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigurationError(
                f"--directory {given}: there is something already; name a new or empty folder"
            )
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    number = 1
    while True:
        folder = Path.cwd() / (FOLDER if number == 1 else f"{FOLDER}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            # It may lie in a repository, and other people's texts do not belong there.
            (folder / ".gitignore").write_text("*\n", encoding="utf-8")
            return folder
