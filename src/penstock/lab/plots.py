"""A study as a picture (PNG), drawn by matplotlib where it is installed."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from penstock.errors import MissingExtra
from penstock.lab.charts import COLOURS
from penstock.lab.report import seconds, title_of
from penstock.lab.study import Outcome, Study

_STYLES = ("-", "--", ":")
_HATCHES = ("", "//", "..")


def drawing() -> Any:
    """What draws figures; `MissingExtra` where it is not installed."""
    try:
        return import_module("matplotlib.figure")
    except ImportError:
        raise MissingExtra("matplotlib", "lab") from None


def write_png(study: Study, path: str | Path) -> None:
    """Write one picture: a row of three charts for each load. Raises `MissingExtra` without matplotlib."""
    figures = drawing()
    rows = len(study.loads)
    figure = figures.Figure(figsize=(16, 0.8 + 4.4 * rows), layout="constrained")
    figure.suptitle(f"Scheduling study: {study.facts.name} ({study.setup.slots} slots)")
    axes = figure.subplots(rows, 3, squeeze=False)
    handles: list[Any] = []
    for row, load in zip(axes, study.loads, strict=True):
        outcomes = study.at(load)
        _draw_means(row[0], outcomes, study.bounds[load], title_of(load))
        handles = _draw_completions(row[1], outcomes)
        _draw_waiting(row[2], outcomes)
    figure.legend(handles=handles, loc="outside lower center", ncols=min(6, len(handles)))
    figure.savefig(path, format="png", dpi=110)


def _draw_means(axis: Any, outcomes: list[Outcome], bound: float, title: str) -> None:
    names = [one.policy for one in outcomes]
    values = [one.mean for one in outcomes]
    bars = axis.barh(names, values, color=[COLOURS[n % len(COLOURS)] for n in range(len(names))])
    for number, bar in enumerate(bars):
        bar.set_hatch(_HATCHES[number // len(COLOURS) % len(_HATCHES)])
    axis.bar_label(bars, labels=[seconds(value) for value in values], padding=3)
    axis.axvline(bound, color="black", linestyle="--", linewidth=1)
    axis.set(
        title=f"{title}: mean completion, s (dashed: lower bound)", xlim=(0, max([*values, bound]) * 1.15)
    )
    axis.invert_yaxis()


def _draw_completions(axis: Any, outcomes: list[Outcome]) -> list[Any]:
    """Returns the lines, for the legend."""
    _draw_lines(axis, [(one.policy, one.completion_curve) for one in outcomes])
    axis.set(title="how completions spread", xscale="log", ylim=(0, 1.02))
    axis.set(xlabel="completion time, s", ylabel="share of requests")
    return list(axis.get_lines())


def _draw_waiting(axis: Any, outcomes: list[Outcome]) -> None:
    _draw_lines(axis, [(one.policy, one.waiting_curve) for one in outcomes])
    axis.set(title="the line over time", xlabel="virtual time, s", ylabel="requests waiting", ylim=(0, None))


def _draw_lines(axis: Any, curves: list[tuple[str, Any]]) -> None:
    for number, (name, curve) in enumerate(curves):
        style = _STYLES[number // len(COLOURS) % len(_STYLES)]
        xs, ys = zip(*curve, strict=True)
        axis.plot(xs, ys, style, color=COLOURS[number % len(COLOURS)], label=name)
    axis.grid(alpha=0.3)
