"""Guess a provider's window from what its headers say, for no provider tells its length."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Literal, NamedTuple

_NICE = (1.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 21600.0, 86400.0)
_AGREE = 1.2
_SAME = 0.05


class Sample(NamedTuple):
    """One report: when its call was sent, what was used, seconds until full again, when the reply came."""

    sent: float
    used: float
    reset: float
    got: float


def snap(window: float) -> float:
    """Round up to a length people give windows, if one is within a tenth above."""
    for nice in _NICE:
        if window <= nice <= window * 1.12:
            return nice
        if nice < window <= nice * 1.02:
            return nice
    return window


def infer_window(samples: Iterable[Sample], limit: float) -> float | None:
    """The window of a sliding or a bucket provider, None while the samples do not agree on one.

    A sliding window is full again one window after the last call: `reset` is the window, whatever is used.
    A bucket is full again after `used * window / limit`. A fixed window gives neither: its `reset` runs down.
    """
    seen = list(samples)
    return _sliding(seen) or _bucket(seen, limit)


def _sliding(seen: list[Sample]) -> float | None:
    longest = max((s.reset for s in seen), default=0.0)
    if len(seen) < 4 or longest <= 0 or len({s.used for s in seen}) < 3:
        return None
    sent, got = [s.sent for s in seen], [s.got for s in seen]
    # Whether a provider reports its state at the start or the end of a call, one of the two tells the time.
    span = min(max(sent) - min(sent), max(got) - min(got))
    constant = min(s.reset for s in seen) >= (1.0 - _SAME) * longest
    # A fixed window would have run down by the span; it must be long enough to tell the difference.
    return snap(longest) if constant and span >= 3 * _SAME * longest else None


def _bucket(seen: list[Sample], limit: float) -> float | None:
    # Small counts are rounded too coarsely to give a ratio.
    telling = [s for s in seen if s.used >= 5 and s.reset > 0]
    if len({s.used for s in telling}) < 3:
        return None
    most, least = max(s.used for s in telling), min(s.used for s in telling)
    ratios = sorted(s.reset / s.used for s in telling)
    if most < 1.5 * least or ratios[-1] > _AGREE * ratios[0]:
        return None
    return snap(limit * ratios[len(ratios) // 2])


class Shape(NamedTuple):
    """What kind of window a provider has, other than a sliding one."""

    kind: Literal["bucket", "fixed"]
    end: float
    """of a fixed window: when one of them ends; 0 for a bucket"""


def infer_shape(samples: Iterable[Sample], limit: float, window: float, guard: float) -> Shape | None:
    """Tell a bucket or a fixed window of known limit and length from the reports; None if neither."""
    seen = list(samples)
    if len(seen) < 8:
        return None
    if _drains(seen, limit, window):
        return Shape("bucket", 0.0)
    return _rhythm([(s.sent, s.reset) for s in seen if s.reset > 0], window, guard) or _rhythm(
        [(s.got, s.reset) for s in seen if s.reset > 0], window, guard
    )


def _rhythm(seen: list[tuple[float, float]], window: float, guard: float) -> Shape | None:
    """A fixed window whose ends, as told at these instants, follow each other at the window's length."""
    ends = [at + reset for at, reset in seen]
    if not ends or max(ends) - min(ends) < 0.9 * window:
        return None  # one window shows no rhythm
    first = min(ends)
    late = [(end - first + guard) % window - guard for end in ends]
    agree = max(late) - min(late) <= max(guard, 0.01 * window)
    span = max(at for at, _ in seen) - min(at for at, _ in seen)
    # The end is never before what a report says, for it was written after the call was sent.
    return Shape("fixed", first + max(late)) if agree and span >= 0.5 * window else None


def _drains(seen: list[Sample], limit: float, window: float) -> bool:
    telling = [s for s in seen if s.used >= 20]
    # Near the limit a bucket and a sliding window look alike.
    if len(telling) < 8 or min(s.used for s in telling) > 0.7 * limit:
        return False
    return all(abs(s.reset * limit / s.used - window) <= (0.03 + 1.5 / s.used) * window for s in telling)


class SampleBook:
    """The last reports of one limit."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=40)
        self.longest = 0.0

    def add(self, sample: Sample) -> None:
        self._samples.append(sample)
        self.longest = max(self.longest, sample.reset)

    def due(self, sent: float, spacing: float) -> bool:
        """Whether a report of this time is far enough from the last one to tell something new."""
        return not self._samples or sent >= self._samples[-1].sent + spacing

    def shape(self, limit: float, window: float, guard: float) -> Shape | None:
        return infer_shape(self._samples, limit, window, guard)

    def window(self, limit: float) -> float | None:
        return infer_window(self._samples, limit)

    def clear(self) -> None:
        self._samples.clear()
