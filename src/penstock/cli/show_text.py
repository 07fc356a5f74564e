"""How amounts, times and tables look to people, and the same data to machines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import typer

from penstock.model.states import TaskStatus
from penstock.model.usage import from_pico

_CENT = Decimal("0.01")
_SIZES = ("B", "kB", "MB", "GB", "TB")
_SPANS = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"))
_ABOUT = ((86_400.0, "day"), (3_600.0, "hour"), (60.0, "minute"), (1.0, "second"))
_COLOURS = {
    TaskStatus.COMPLETED: "green",
    TaskStatus.FAILED: "red",
    TaskStatus.CANCELLED: "bright_black",
    TaskStatus.RUNNING: "cyan",
    TaskStatus.RETRYING: "yellow",
    TaskStatus.PAUSED: "magenta",
}


def money(pico: int) -> str:
    """Pico-dollars as US dollars: cents from a dollar on, four digits that count below."""
    amount = from_pico(pico)
    if abs(amount) >= 1 or not amount:
        return f"${amount.quantize(_CENT):,}" if amount else "$0"
    digits = f"{amount:.{max(2, 3 - amount.adjusted())}f}"
    return "$" + (digits.rstrip("0") if len(digits.rstrip("0")) > digits.index(".") + 2 else f"{amount:.2f}")


def usd(pico: int) -> float:
    """Pico-dollars as a number of US dollars, for JSON."""
    return float(from_pico(pico))


def size(count: float) -> str:
    """Bytes in powers of 1,000."""
    for unit in _SIZES[:-1]:
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} {_SIZES[-1]}"


def number(count: float) -> str:
    return f"{count:,.0f}"


def counted(count: int, noun: str) -> str:
    """A count with its noun: 1 task, 2 tasks."""
    return f"{number(count)} {noun}" + ("" if count == 1 else "s")


def span(seconds: float) -> str:
    """A length of time in its largest unit: 1.5 s, 42 s, 5 min, 3 h, 12 d."""
    seconds = max(0.0, seconds)
    for length, unit in _SPANS:
        if seconds >= length * (1 if unit != "min" else 1.5):
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def about(seconds: float) -> str:
    """An estimate in words that claim no more than is known: about 3 minutes."""
    if seconds < 1:
        return "less than a second"
    for length, unit in _ABOUT:
        if seconds >= length * (1.5 if unit != "second" else 1):
            count = round(seconds / length)
            return f"about {count} {unit}{'s' if count != 1 else ''}"
    raise AssertionError("a second is the smallest unit")


def clock_time(at: float | None) -> str:
    """Local date and time to the second; - when there is none."""
    return "-" if at is None else datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M:%S")


def iso(at: float | None) -> str | None:
    """The instant in UTC, for machines."""
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def coloured(status: TaskStatus, text: str) -> str:
    """The text in the colour of a status; terminals only, `echo` takes it off elsewhere."""
    colour = _COLOURS.get(status)
    return typer.style(text, fg=colour) if colour else text


def shorten(value: Any, most: int) -> str:
    """Data as readable JSON, cut to about `most` characters with a word on what is missing."""
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    if len(text) <= most:
        return text
    return f"{text[:most].rstrip()} ... ({number(len(text) - most)} more characters; --full shows them)"


def table(titles: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Lines of a table; the columns in `right` (from 0) hold figures and are aligned to the right."""
    cells = [list(titles), *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(titles))]
    return [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def heading(text: str) -> str:
    return typer.style(text, bold=True)


def indented(text: str, by: str = "  ") -> str:
    return "\n".join(by + line for line in text.splitlines())


def print_json(data: Any) -> None:
    """One JSON document on standard output."""
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False))
