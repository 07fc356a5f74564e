"""An analysis as a picture: one bar per node over time, as SVG of its own."""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING

from penstock.workflows.analysis_text import money, seconds, shown

if TYPE_CHECKING:
    from penstock.workflows.analysis import Analysis, NodeFigures

ROWS = 300
_ROW, _TOP, _LABELS, _MARGIN = 22, 64, 220, 20
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#1f2933}.small{font-size:11px;fill:#616e7c}"
    ".title{font-size:15px;font-weight:600}.grid{stroke:#e4e7eb}.wait{fill:#cbd2d9}"
    ".run{fill:#5c8dc9}.critical{fill:#d9622b}.failed{stroke:#a61b1b;stroke-width:2}"
)


def as_svg(run: Analysis, width: int = 1000) -> str:
    """What ran when: waiting in the line grey, running blue, the critical path orange, failures outlined red;
    at most 300 nodes."""
    width = max(width, _LABELS + 200)
    nodes = shown(run.nodes, ROWS)
    left_out = len(run.nodes) - len(nodes)
    height = _TOP + _ROW * len(nodes) + 2 * _MARGIN
    scale = (width - _LABELS - _MARGIN) / (run.total_seconds or 1.0)
    title = f"workflow {run.name}".strip()
    note = (
        f"{seconds(run.total_seconds)}, critical path {seconds(run.critical_seconds)} (orange), "
        f"{run.parallelism:.1f} at once, {money(run.cost)}"
        + (f"; {left_out} shorter nodes left out" if left_out else "")
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" role="img">',
            f"<title>{_safe(title)}</title><style>{_STYLE}</style>",
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
            f'<text class="title" x="{_MARGIN}" y="24">{_safe(title)}</text>',
            f'<text class="small" x="{_MARGIN}" y="42">{_safe(note)}</text>',
            *_grid(run.total_seconds, scale, height),
            *(line for place, one in enumerate(nodes) for line in _bar(one, _TOP + _ROW * place, scale)),
            "</svg>",
        ]
    )


def _grid(total: float, scale: float, height: int) -> list[str]:
    """Lines at round spans of time, four to ten of them."""
    if total <= 0:
        return []
    power = 10.0 ** math.floor(math.log10(total))
    step = next(part * power for part in (0.1, 0.2, 0.5, 1.0, 2.0) if total / (part * power) <= 10)
    lines = []
    for number in range(int(total / step) + 1):
        x = _LABELS + number * step * scale
        lines.append(
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 4}" y2="{height - 2 * _MARGIN}"/>'
            f'<text class="small" x="{x:.1f}" y="{height - _MARGIN}" text-anchor="middle">'
            f"{_safe(seconds(number * step)) if number else '0'}</text>"
        )
    return lines


def _bar(one: NodeFigures, y: int, scale: float) -> list[str]:
    label = one.id if len(one.id) <= 30 else one.id[:29] + "…"
    lines = [f'<text x="{_LABELS - 8}" y="{y + 14}" text-anchor="end">{_safe(label)}</text>']
    told = (
        f"{one.id} ({one.type}): {one.status}, queued {seconds(one.queued_seconds)}, "
        f"ran {seconds(one.run_seconds)}, {money(one.cost)}"
        + (f", waited for {one.waited_for}" if one.waited_for else "")
    )
    if one.begin is None:
        lines.append(f'<text class="small" x="{_LABELS + 4}" y="{y + 14}">{_safe(one.status)}</text>')
        return lines
    x = _LABELS + one.begin * scale
    waited = one.queued_seconds * scale
    kind = ("critical" if one.critical else "run") + (" failed" if one.status == "failed" else "")
    lines.append(
        f"<g><title>{_safe(told)}</title>"
        f'<rect class="wait" x="{x - waited:.1f}" y="{y + 8}" width="{waited:.1f}" height="4"/>'
        f'<rect class="{kind}" x="{x:.1f}" y="{y + 3}" width="{max(1.0, one.run_seconds * scale):.1f}" '
        f'height="14" rx="2"/></g>'
    )
    return lines


def _safe(text: str) -> str:
    """Text for XML, which has no way to write control characters."""
    return html.escape(
        "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
    )
