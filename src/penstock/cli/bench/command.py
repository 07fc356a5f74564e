"""`penstock bench`: measures this machine with Penstock and with SQLite alone, and prints both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from penstock.cli.bench.measurement import BenchOptions, Figure, Measurement
from penstock.cli.bench.report import amount, lines, machine, results_data
from penstock.cli.show_text import print_json
from penstock.cli.stores import JsonOption
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


NamesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME]...", help="Measurements; --list shows them.")
]
ListOption = Annotated[bool, typer.Option("--list", help="Say what can be measured.")]
QuickOption = Annotated[bool, typer.Option("--quick", help="A fraction of the size: to see that it works.")]
DurabilityOption = Annotated[
    Durabilities | None, typer.Option("--durability", help="By default what each measurement is meant for.")
]
DirectoryOption = Annotated[
    Path | None,
    typer.Option("--directory", help="Where stores lie while measured; by default the temporary folder."),
]
CheckOption = Annotated[bool, typer.Option("--check", help="End with exit code 1 when a target is missed.")]
WindowsOption = Annotated[int, typer.Option("--windows", min=3, help="limits: windows per case.")]
SecondsOption = Annotated[float, typer.Option("--window-seconds", min=0.5, help="limits: their length.")]
CasesOption = Annotated[
    str, typer.Option("--cases", help="limits: only cases with these words in their names.")
]
ParallelOption = Annotated[int, typer.Option("--parallel", min=1, help="limits: cases at a time.")]


def bench(
    names: NamesArgument = None,
    list_only: ListOption = False,
    quick: QuickOption = False,
    durability: DurabilityOption = None,
    directory: DirectoryOption = None,
    windows: WindowsOption = 6,
    window_seconds: SecondsOption = 10.0,
    cases: CasesOption = "",
    parallel: ParallelOption = 1,
    json: JsonOption = False,
    check: CheckOption = False,
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
    results = dict(_measured(measurements, options, show=not json))
    if json:
        print_json({"machine": machine(), "quick": quick, "measurements": results_data(results)})
    if check and any(figure.missed for figures in results.values() for figure in figures):
        raise typer.Exit(MISSED)


def _measured(
    measurements: list[Measurement], options: BenchOptions, show: bool
) -> Iterator[tuple[Measurement, list[Figure]]]:
    for measurement in measurements:
        typer.echo(f"measuring {measurement.name} ...", err=True)
        figures = []
        for figure in measurement.run(options):
            figures.append(replace(figure, target=None) if options.quick else figure)
            if measurement.long:
                typer.echo(f"  {figure.name} {amount(figure.value)} {figure.unit}", err=True)
        if show:
            typer.echo("\n" + "\n".join(lines(measurement, figures)))
        yield measurement, figures


def _list() -> None:
    from penstock.cli.bench.registry import MEASUREMENTS

    width = max(map(len, MEASUREMENTS))
    for one in MEASUREMENTS.values():
        typer.echo(f"{one.name.ljust(width)}  {one.summary}" + (" (only when named)" if one.long else ""))
