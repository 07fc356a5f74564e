"""An analysis as a table for a terminal."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock.workflows.analysis import Analysis, NodeFigures

ROWS = 60
LONGEST_NAME = 40
_PATH_SHOWN = 12


def as_text(run: Analysis) -> str:
    """A summary of a few lines and one line per node, at most 60: those that ran longest."""
    statuses = ", ".join(f"{count} {status}" for status, count in sorted(run.statuses.items()))
    if not run.nodes:
        return f"workflow {run.name}".rstrip() + ": no nodes"
    lines = [
        f"workflow {run.name}".rstrip()
        + f": {_counted(len(run.nodes), 'node')} in {seconds(run.total_seconds)} ({statuses})",
        f"running {seconds(run.run_seconds)} in all, {run.parallelism:.1f} at once on average, "
        f"{run.most_at_once} at most; {money(run.cost)}, {run.tokens:,} tokens",
        f"critical path, {seconds(run.critical_seconds)}: {_chain(run.critical_path)}",
    ]
    if run.held_up != run.critical_path:
        lines.append(f"ended last: {_chain(run.held_up)}")
    return "\n".join([*lines, "", *_table(run)])


def seconds(value: float) -> str:
    """A span as people read it."""
    if value >= 3600:
        return f"{value / 3600:.1f} h"
    if value >= 120:
        return f"{value / 60:.1f} min"
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.0f} ms"


def money(usd: Decimal) -> str:
    """Dollars and cents, or as many places as small sums need."""
    if usd >= 1 or usd == round(usd, 2):
        return f"${usd:.2f}"
    return f"${usd:.6f}".rstrip("0") if usd >= Decimal("0.000001") else "under $0.000001"


def shown(nodes: tuple[NodeFigures, ...], most: int) -> list[NodeFigures]:
    """At most so many nodes, in their order: those of the critical path, then those that ran longest."""
    best = sorted(nodes, key=lambda one: (not one.critical, -one.run_seconds))[:most]
    chosen = {one.id for one in best}
    return [one for one in nodes if one.id in chosen]


def _table(run: Analysis) -> list[str]:
    rows = [("", "node", "status", "blocked", "queued", "ran", "slack", "cost", "tokens", "waited for")]
    nodes = shown(run.nodes, ROWS)
    rows += [
        (
            "*" if one.critical else "",
            _short(one.id),
            one.status + (f" ({one.attempts} attempts)" if one.attempts > 1 else ""),
            seconds(one.blocked_seconds),
            seconds(one.queued_seconds),
            seconds(one.run_seconds),
            seconds(one.slack_seconds),
            money(one.cost),
            f"{one.tokens:,}",
            ", ".join(filter(None, [_short(one.waited_for or ""), *_waits(one)])),
        )
        for one in nodes
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [_line(row, widths) for row in rows]
    if len(nodes) < len(run.nodes):
        lines.append(f"and {_counted(len(run.nodes) - len(nodes), 'more node')}")
    return [*lines, "* on the critical path"]


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    cells = [
        cell.rjust(width) if 3 <= column <= 8 else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


def _waits(one: NodeFigures) -> list[str]:
    return [f"{what} {seconds(span)}" for what, span in sorted(one.waits.items(), key=lambda each: -each[1])]


def _chain(path: tuple[str, ...]) -> str:
    names = list(map(_short, path))
    if len(names) > _PATH_SHOWN:
        half = _PATH_SHOWN // 2
        names[half:-half] = [f"({len(names) - 2 * half} more)"]
    return " → ".join(names) or "nothing ran"


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
