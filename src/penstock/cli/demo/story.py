"""What the demo tells: plain lines anywhere, colours on a terminal."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.rule import Rule
from rich.table import Table

from penstock.cli.demo.corpus import Section
from penstock.cli.demo.crash import Crash
from penstock.cli.demo.plan import Plan
from penstock.cli.demo.proof import Claim, Evidence, windows

_SHOW_CURSOR = "\x1b[?25h"
_SAMPLES = 3
_UNTELLING = re.compile(r" explains: |://|[\[`*]")


def opening(console: Console, plan: Plan, folder: Path, sections: Sequence[Section]) -> None:
    packages = len({section.package for section in sections})
    console.print(Rule("[bold]penstock demo", align="left"))
    console.print(
        f"{len(sections):,} requests: summarise the documentation of {packages} Python packages of this "
        "machine, section by section."
    )
    console.print(
        f"A simulated provider on this machine enforces {plan.requests_per_window:,} requests and "
        f"{plan.tokens_per_window:,} tokens in any {plan.window_seconds:g} s; the budget is ${plan.budget}."
    )
    console.print(
        f"At {plan.crash_share:.0%} the process is killed with SIGKILL; the same command then goes on. "
        f"Files: {escape(_near(folder))}"
    )


def command(console: Console, line: str) -> None:
    console.print(f"\n[bold]$ {escape(line)}[/]")


def crashed(console: Console, plan: Plan, happened: Crash) -> None:
    if console.is_terminal:
        console.file.write(_SHOW_CURSOR + "\n\n")  # the killed process could not tidy up
        console.file.flush()
    console.print(
        f"[bold red]Planned crash:[/] killed with SIGKILL after {happened.at_seconds:.1f} s, "
        f"{happened.answered:,} of {plan.requests:,} requests answered, {happened.in_flight} calls in flight."
    )
    console.print("Running the same command again:")


def ending(console: Console, found: Evidence, judged: Sequence[Claim], folder: Path, seconds: float) -> None:
    console.print()
    console.print(Rule("[bold]what the provider's own books, the store and the files say", align="left"))
    table = Table.grid(padding=(0, 2))
    for claim in judged:
        table.add_row(_mark(console, claim.holds), f"[bold]{claim.about}[/]", escape(claim.text))
    table.add_row("", "[bold]windows[/]", _windows(found))
    console.print(table)
    console.print(
        f"\nSome of the replies (the simulated model quotes a line of the text) after {seconds:.0f} s:"
    )
    for reply in _replies(folder / found.plan.results):
        console.print(f"  [dim]{escape(reply)}[/]")
    console.print(
        f"\nFiles in {escape(_near(folder))}: {found.plan.input}, {found.plan.results}, {found.plan.store}"
    )
    console.print("[bold]Try next[/]")
    console.print(_next_steps(_near(folder / found.plan.store)))
    if not all(claim.holds for claim in judged):
        console.print("[bold red]Not all that this demo claims was found true; see the marks above.[/]")


def _next_steps(store: str) -> Table:
    program, ours = "penstock", Path(sys.argv[0]).absolute()
    if shutil.which(program) is None and ours.is_file():
        program = shlex.quote(_near(ours))
    where = shlex.quote(store)
    steps = (
        ("what ran; `show ID` tells all about one", f"tasks --store {where}"),
        ("counts, money, limits", f"stats --store {where}"),
        ("this provider on a port", "simulator"),
        ("what a file of your own would take", "run yours.jsonl -o results.jsonl --dry-run"),
    )
    table = Table.grid(padding=(0, 2))
    for why, words in steps:
        table.add_row(f"  [dim]{escape(why)}[/]", escape(f"{program} {words}"))
    return table


def _mark(console: Console, holds: bool) -> str:
    fancy = (console.encoding or "").lower().startswith("utf")
    if holds:
        return "[green]✔[/]" if fancy else "[green]ok[/]"
    return "[red]✘[/]" if fancy else "[red]NO[/]"


def _windows(found: Evidence) -> str:
    shares = [f"{share:.0%}" for share in windows(found)]
    seconds = found.plan.window_seconds
    return f"{' '.join(shares)} of the requests that {seconds:g} s may hold, crash and end included"


def _replies(path: Path) -> list[str]:
    replies = [_content(line) for line in path.read_text(encoding="utf-8").splitlines()]
    telling = [reply for reply in replies if not _UNTELLING.search(reply)] or replies
    return telling[:: max(1, len(telling) // _SAMPLES)][:_SAMPLES]


def _content(line: str) -> str:
    record = json.loads(line)
    return " ".join(str(record["response"]["body"]["choices"][0]["message"]["content"]).split())


def _near(folder: Path) -> str:
    try:
        return str(folder.relative_to(Path.cwd()))
    except ValueError:
        return str(folder)
