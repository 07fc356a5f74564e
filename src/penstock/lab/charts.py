"""Charts as SVG text: lines and bars, drawn by hand so that a page needs nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

from penstock.lab.curves import Curve

# Okabe and Ito's colours, told apart by colour-blind readers, then the same again dashed.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#7f7f7f")
WIDTH, HEIGHT = 560, 320
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 14, 44


@dataclass(frozen=True, slots=True)
class Series:
    """A named curve; `number` chooses its colour, the same in every chart of a page."""

    name: str
    curve: Curve
    number: int


@dataclass(frozen=True, slots=True)
class Axes:
    """Labels, and whether x is drawn by its logarithm; `percent` writes y as a percentage."""

    x: str
    y: str
    log_x: bool = False
    percent: bool = False


def colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def dash(number: int) -> str:
    """Dashed from the second round of colours on."""
    return ("", ' stroke-dasharray="6 4"', ' stroke-dasharray="2 3"')[number // len(COLOURS) % 3]


class _Scale:
    """Data to pixels along one axis, with round ticks."""

    def __init__(self, low: float, high: float, start: float, end: float, log: bool = False) -> None:
        self._log = log and low > 0
        if self._log:
            low = 10 ** floor(log10(low))
            high = max(high, 10 * low)
        self.ticks = self._log_ticks(low, high) if self._log else self._even_ticks(low, high)
        self.low, self.high = low, max(high, self.ticks[-1])
        self._start, self._length = start, end - start

    def __call__(self, value: float) -> float:
        if self._log:
            part = (log10(max(value, self.low)) - log10(self.low)) / (log10(self.high) - log10(self.low))
        else:
            part = (value - self.low) / max(1e-12, self.high - self.low)
        return round(self._start + part * self._length, 1)

    @staticmethod
    def _log_ticks(low: float, high: float) -> list[float]:
        return [10.0**power for power in range(round(log10(low)), floor(log10(high)) + 1)]

    @staticmethod
    def _even_ticks(low: float, high: float) -> list[float]:
        raw = max(1e-12, high - low) / 5
        size = 10 ** floor(log10(raw))
        step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= raw * 0.999)
        return [low + step * number for number in range(ceil((high - low) / step - 1e-9) + 1)]


def line_chart(series: Sequence[Series], axes: Axes) -> str:
    """Several curves over one pair of axes."""
    points = [point for one in series for point in one.curve]
    low_x = min((x for x, _ in points if x > 0), default=1.0) if axes.log_x else 0.0
    x = _Scale(low_x, max((x for x, _ in points), default=1.0), LEFT, WIDTH - RIGHT, axes.log_x)
    top = 1.0 if axes.percent else max(1.0, max((y for _, y in points), default=1.0))
    y = _Scale(0.0, top, HEIGHT - BOTTOM, TOP)
    parts = [_grid(x, y, axes)]
    for one in series:
        path = " ".join(f"{x(px)},{y(py)}" for px, py in one.curve)
        parts.append(
            f'<polyline fill="none" stroke="{colour(one.number)}" stroke-width="2"{dash(one.number)} '
            f'stroke-linejoin="round" points="{path}"><title>{escape(one.name)}</title></polyline>'
        )
    return _svg(HEIGHT, "".join(parts), f"{axes.y} over {axes.x}")


def bar_chart(bars: Sequence[tuple[str, float, int]], bound: float, label: str) -> str:
    """Bars (name, value, colour number) and a line at `bound`; logarithmic where they differ widely."""
    row, left = 26, 195
    height = TOP + row * len(bars) + BOTTOM
    values = [value for _, value, _ in bars]
    wide = min(values) > 0 and max(values) > 20 * max(bound, 1e-9)
    low = min([*values, bound]) / 2 if wide else 0.0
    x = _Scale(low, max([*values, bound]), left, WIDTH - 70, wide)
    parts = []
    for number, (name, value, tint) in enumerate(bars):
        top = TOP + number * row
        parts.append(
            f'<text x="{left - 8}" y="{top + 15}" text-anchor="end">{escape(_short(name))}</text>'
            f'<rect x="{left}" y="{top + 3}" width="{max(1.0, x(value) - left)}" height="{row - 8}" rx="2" '
            f'fill="{colour(tint)}"><title>{escape(name)}: {value:,.2f} s</title></rect>'
            f'<text x="{x(value) + 5}" y="{top + 15}">{_amount(value)}</text>'
        )
    bottom = TOP + row * len(bars)
    at = x(bound)
    parts.append(
        f'<line class="bound" x1="{at}" y1="{TOP}" x2="{at}" y2="{bottom}"/>'
        f'<text class="label" x="{at}" y="{bottom + 15}" text-anchor="middle">'
        f"lower bound {_amount(bound)}</text>"
        f'<text class="label" x="{(left + WIDTH - 70) / 2}" y="{bottom + 33}" text-anchor="middle">'
        f"{escape(label)}{', logarithmic' if wide else ''}</text>"
    )
    return _svg(height, "".join(parts), label)


def _grid(x: _Scale, y: _Scale, axes: Axes) -> str:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = []
    for tick in x.ticks:
        at = x(tick)
        parts.append(
            f'<line class="grid" x1="{at}" y1="{TOP}" x2="{at}" y2="{bottom}"/>'
            f'<text x="{at}" y="{bottom + 16}" text-anchor="middle">{_amount(tick)}</text>'
        )
    for tick in y.ticks:
        at = y(tick)
        text = f"{100 * tick:.0f}%" if axes.percent else _amount(tick)
        parts.append(
            f'<line class="grid" x1="{LEFT}" y1="{at}" x2="{right}" y2="{at}"/>'
            f'<text x="{LEFT - 6}" y="{at + 4}" text-anchor="end">{text}</text>'
        )
    parts.append(
        f'<text class="label" x="{(LEFT + right) / 2}" y="{HEIGHT - 8}" text-anchor="middle">'
        f'{escape(axes.x)}</text><text class="label" text-anchor="middle" '
        f'transform="translate(13 {(TOP + bottom) / 2}) rotate(-90)">{escape(axes.y)}</text>'
    )
    return "".join(parts)


def _amount(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}".removesuffix(".0") if value >= 10 else f"{value:.3g}"


def _short(name: str, most: int = 25) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def _svg(height: float, body: str, label: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(label)}">{body}</svg>'
