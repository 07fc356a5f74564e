"""Shows a job while it runs: a live bar on a terminal, plain lines elsewhere, JSON lines for machines."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from penstock.cli.run.snapshot import Meter, Snapshot
from penstock.cli.run.summary import Outcome, duration, summary_text

if TYPE_CHECKING:
    from rich.live import Live

PLAIN_SECONDS = 10.0
JSON_SECONDS = 1.0
LIVE_SECONDS = 0.25

REASONS = {
    "turn": "their turn",
    "requests": "the request limit",
    "tokens": "the token limit",
    "money": "money",
    "concurrency": "concurrency",
    "slots": "free slots",
    "retry": "their retry",
    "cooldown": "the end of a cooldown",
    "period": "the next day or hour of the budget",
    "probing": "a first reply",
    "paused": "a resume",
}


class Progress(Protocol):
    """Takes news of a job."""

    def say(self, text: str) -> None:
        """One sentence that people should see."""

    def show(self, now: Snapshot) -> None:
        """The job as it stands; may be called as often as one likes."""

    def end(self, outcome: Outcome) -> None:
        """The job is over."""

    def close(self) -> None:
        """Leave the terminal as it was; called once, whatever happened."""


def progress_for(quiet: bool, machine: bool) -> Progress:
    """What suits the terminal."""
    if machine:
        return JsonProgress(sys.stdout)
    if quiet:
        return QuietProgress()
    return LiveProgress() if sys.stderr.isatty() else PlainProgress(sys.stderr, sys.stdout)


class QuietProgress:
    """Says nothing at all."""

    def say(self, text: str) -> None:
        """Nobody wants to know."""

    def show(self, now: Snapshot) -> None:
        """Nobody wants to know."""

    def end(self, outcome: Outcome) -> None:
        """The exit code tells."""

    def close(self) -> None:
        """Nothing to leave."""


class PlainProgress:
    """A line every ten seconds, for logs and pipes; the summary goes where results of commands go."""

    def __init__(self, lines: TextIO, summary: TextIO) -> None:
        self._lines = lines
        self._summary = summary
        self._next = time.monotonic() + 1.0

    def say(self, text: str) -> None:
        print(text, file=self._lines, flush=True)

    def show(self, now: Snapshot) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + PLAIN_SECONDS
            print(one_line(now), file=self._lines, flush=True)

    def end(self, outcome: Outcome) -> None:
        print(summary_text(outcome), file=self._summary, flush=True)

    def close(self) -> None:
        """Lines need no leaving."""


class JsonProgress:
    """One JSON object a line: `progress` every second, `message`, and `summary` at the end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._next = 0.0

    def say(self, text: str) -> None:
        self._put({"event": "message", "text": text})

    def show(self, now: Snapshot) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + JSON_SECONDS
            self._put({"event": "progress", **asdict(now)})

    def end(self, outcome: Outcome) -> None:
        print(outcome.as_json(), file=self._stream, flush=True)

    def close(self) -> None:
        """Lines need no leaving."""

    def _put(self, what: dict[str, Any]) -> None:
        print(json.dumps(what), file=self._stream, flush=True)


class LiveProgress:
    """A bar and three lines, redrawn in place on stderr."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)
        self._live: Live | None = None
        self._next = 0.0

    def say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False)

    def show(self, now: Snapshot) -> None:
        from rich.live import Live

        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + LIVE_SECONDS
        picture = draw(now)
        if self._live is None:
            self._live = Live(picture, console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(picture, refresh=True)

    def end(self, outcome: Outcome) -> None:
        self.close()
        print(summary_text(outcome), flush=True)

    def close(self) -> None:
        if self._live is not None:
            live, self._live = self._live, None
            live.stop()


def draw(now: Snapshot) -> Any:
    """The picture of a job: a bar, what moves and what waits, rates against limits, money and time."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    bar = Table.grid(padding=(0, 1), expand=True)
    bar.add_column(ratio=1)
    bar.add_column(justify="right", no_wrap=True)
    total = now.total if now.total is not None else max(now.read, 1)
    bar.add_row(ProgressBar(total=max(total, 1), completed=now.ended), Text(share_text(now)))
    counts = Text.assemble(
        (f"{now.done:,} done", "green"),
        "  ",
        (f"{now.failed:,} failed", "red" if now.failed else "dim"),
        "  ",
        (f"{now.running:,} running", "cyan"),
        "  ",
        (waiting_text(now), "yellow" if now.waiting else "dim"),
    )
    return Group(bar, counts, Text(rates_text(now)), Text(money_text(now)))


def one_line(now: Snapshot) -> str:
    """The same in one line."""
    parts = [
        share_text(now),
        f"{now.done:,} done",
        f"{now.failed:,} failed",
        f"{now.running:,} running",
        waiting_text(now),
        rates_text(now),
        money_text(now),
    ]
    return ", ".join(part for part in parts if part)


def share_text(now: Snapshot) -> str:
    """How much of the input has ended."""
    if now.total is None:
        return f"{now.ended:,} of {now.read:,} lines, more to be read"
    about = "" if now.read_all else "about "
    share = 100 * now.ended // max(1, now.total)
    return f"{now.ended:,} of {about}{now.total:,} lines ({min(100, share)} %)"


def waiting_text(now: Snapshot) -> str:
    """How many wait, and for what."""
    waits = [
        f"{count:,} for {REASONS.get(reason, reason)}"
        for reason, count in sorted(now.waiting.items(), key=lambda one: -one[1])
    ]
    text = "waiting: " + ", ".join(waits) if waits else "nothing waits"
    return text + (" (stopping: calls in flight finish)" if now.stopping else "")


def rates_text(now: Snapshot) -> str:
    """Requests and tokens a minute, and how full each limit is."""
    text = f"{now.requests_per_minute:,.0f} requests/min, {now.tokens_per_minute:,.0f} tokens/min"
    limits = ", ".join(_meter(meter) for meter in now.rates)
    return f"{text} (limits: {limits})" if limits else text


def money_text(now: Snapshot) -> str:
    """What was spent, of what, and the time that is left."""
    text = f"${now.cost_usd:,.4f} spent"
    text += "".join(
        f", {one.key} ${one.limit:,.{2 if one.limit >= 0.1 else 4}f} with ${one.used:,.4f} spent or held"
        for one in now.money
    )
    if now.left_seconds is not None:
        text += f", about {duration(now.left_seconds)} left"
    return text


def _meter(meter: Meter) -> str:
    return f"{meter.key} {meter.used:,.0f} of {meter.limit:,.0f}"
