"""Figures as lines for people and as data for machines."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from typing import Any

from penstock import __version__
from penstock.cli.bench.measurement import Figure, Measurement
from penstock.cli.show_text import heading, table

TITLES = ("FIGURE", "MEASURED", "RAW", "OF RAW", "TARGET", "")
FIGURES = (1, 2, 3)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "penstock": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processors": os.cpu_count(),
    }


def lines(measurement: Measurement, figures: Sequence[Figure]) -> list[str]:
    """A heading, a table, and the notes below it."""
    title, *rows = table(TITLES, (_row(figure) for figure in figures), FIGURES)
    notes = [f"    {note}" for note in dict.fromkeys(figure.note for figure in figures) if note]
    return [
        heading(f"{measurement.name}: {measurement.summary}"),
        *(f"  {row}" for row in (title, *rows)),
        *notes,
    ]


def results_data(results: Mapping[Measurement, Sequence[Figure]]) -> dict[str, Any]:
    """Figures by the names of their measurements."""
    return {one.name: [data(figure) for figure in figures] for one, figures in results.items()}


def data(figure: Figure) -> dict[str, Any]:
    target = figure.target
    return {
        "name": figure.name,
        "value": figure.value,
        "unit": figure.unit,
        "raw": figure.raw,
        "of_raw": figure.value / figure.raw if figure.raw else None,
        "target": None if target is None else {"kind": target.kind, "value": target.value},
        "met": None if target is None else not figure.missed,
        "note": figure.note,
    }


def amount(value: float) -> str:
    """Three digits that count, and no fewer than all before the point: 36,120, 12.4, 0.0523."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _row(figure: Figure) -> tuple[str, ...]:
    target = figure.target
    return (
        figure.name,
        f"{amount(figure.value)} {figure.unit}".strip(),
        "" if figure.raw is None else amount(figure.raw),
        "" if not figure.raw else f"{figure.value / figure.raw:.2f}",
        "" if target is None else f"{target.kind} {amount(target.value)}",
        "" if target is None else ("missed" if figure.missed else "met"),
    )
