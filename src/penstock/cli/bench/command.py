"""`penstock bench`: measures this machine with Penstock and with SQLite alone, and prints both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from penstock.cli.bench.measurement import BenchOptions, Figure, Measurement
from penstock.cli.bench.report import data, lines, machine
from penstock.cli.show_text import print_json
from penstock.errors import ConfigurationError
from penstock.stores.sqlite.store import Durability

MISSED = 1
"""Exit code of `--check` when a target was missed."""


class Durabilities(StrEnum):
    NORMAL = "normal"
    FULL = "full"
    BOTH = "both"


_CHOICES: dict[Durabilities | None, tuple[Durability, ...]] = {
    None: (),
    Durabilities.NORMAL: ("normal",),
    Durabilities.FULL: ("full",),
    Durabilities.BOTH: ("normal", "full"),
}


def bench(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Measurements; --list shows them.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A fraction of the size: to see that it works.")
    ] = False,
    durability: Annotated[
        Durabilities | None,
        typer.Option("--durability", help="By default what each measurement is meant for."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document for machines.")] = False,
    directory: Annotated[
        Path | None,
        typer.Option("--directory", help="Where stores lie while measured; by default the temporary folder."),
    ] = None,
    windows: Annotated[int, typer.Option("--windows", min=3, help="limits: windows per case.")] = 6,
    window_seconds: Annotated[
        float, typer.Option("--window-seconds", min=0.5, help="limits: their length.")
    ] = 10.0,
    cases: Annotated[
        str, typer.Option("--cases", help="limits: only cases with these words in their names.")
    ] = "",
    parallel: Annotated[int, typer.Option("--parallel", min=1, help="limits: cases at a time.")] = 1,
    check: Annotated[
        bool, typer.Option("--check", help="End with exit code 1 when a target is missed.")
    ] = False,
    list_only: Annotated[bool, typer.Option("--list", help="Say what can be measured.")] = False,
) -> None:
    """Measure this machine: each figure beside its target and what SQLite alone does in the same minute.

    Judge ratios; absolute figures are those of the machine. Without names all but the long ones run.
    Targets are for the full sizes, so `--quick` shows none.
    """
    from penstock.cli.bench.registry import chosen

    measurements = chosen(names or ())
    if list_only:
        _list()
        return
    if check and quick:
        raise ConfigurationError("--check judges the full sizes; leave --quick out")
    if directory is not None and not directory.is_dir():
        raise ConfigurationError(f"--directory {directory}: there is no such folder")
    options = BenchOptions(quick, _CHOICES[durability], directory, windows, window_seconds, cases, parallel)
    if not json:
        typer.echo(", ".join(f"{name} {value}" for name, value in machine().items()))
    results: list[tuple[Measurement, list[Figure]]] = []
    for measurement, figures in _measured(measurements, options, show=not json):
        results.append((measurement, figures))
    if json:
        print_json(
            {
                "machine": machine(),
                "quick": quick,
                "measurements": {one.name: [data(figure) for figure in figures] for one, figures in results},
            }
        )
    if check and any(figure.missed for _, figures in results for figure in figures):
        raise typer.Exit(MISSED)


def _measured(
    measurements: list[Measurement], options: BenchOptions, show: bool
) -> Iterator[tuple[Measurement, list[Figure]]]:
    for measurement in measurements:
        typer.echo(f"measuring {measurement.name} ...", err=True)
        figures = [
            replace(figure, target=None) if options.quick else figure for figure in measurement.run(options)
        ]
        if show:
            typer.echo("\n" + "\n".join(lines(measurement, figures)))
        yield measurement, figures


def _list() -> None:
    from penstock.cli.bench.registry import MEASUREMENTS

    width = max(map(len, MEASUREMENTS))
    for one in MEASUREMENTS.values():
        typer.echo(f"{one.name.ljust(width)}  {one.summary}" + (" (only when named)" if one.long else ""))
