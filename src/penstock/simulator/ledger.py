"""The books about one resource: what each window held, and every time a limit was passed.

Exact, whatever was enforced.

It shares no arithmetic with the meters of `limits.py`, so each can be held against the other.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from penstock.simulator.config import WindowKind


@dataclass(slots=True)
class Mark:
    """Where an amount was booked, for a later correction."""

    time: float
    amount: int


class WindowLedger:
    """Counts in windows of `window_seconds` from `origin`; `limit` `None` never has a violation.

    Judged at every booking, in three ways: the aligned window; every position of a sliding window (its
    total can only pass a limit at a booking, so looking then misses none); a bucket of one limit that
    drains at limit/window. A later refund lowers a window's figures but does not undo a violation: the
    provider saw it at that moment.
    """

    def __init__(self, window_seconds: float, origin: float, limit: int | None) -> None:
        self._window = window_seconds
        self._origin = origin
        self._limit = limit
        self._totals: dict[int, int] = {}
        self._over: dict[WindowKind, set[int]] = {"bucket": set(), "fixed": set(), "sliding": set()}
        self._recent: deque[Mark] = deque()
        self._trailing = 0
        self._peak = 0
        self._fill = 0.0
        self._filled_at = origin

    def add(self, amount: int, now: float) -> Mark:
        """Book an amount; times must not go back."""
        mark = Mark(now, amount)
        self._drop_expired(now)
        self._recent.append(mark)
        self._trailing += amount
        index = self._index(now)
        self._totals[index] = self._totals.get(index, 0) + amount
        self._pour(amount, now)
        self._judge(index, now)
        return mark

    def correct(self, mark: Mark, amount: int, now: float) -> None:
        """Make an earlier booking count `amount`, in the window it was booked in."""
        change = amount - mark.amount
        index = self._index(mark.time)
        self._totals[index] += change
        self._drop_expired(now)
        if mark.time + self._window > now:
            self._trailing += change
        mark.amount = amount
        self._pour(change, now)
        self._judge(index, now)

    def report(self, kind: WindowKind) -> dict[str, Any]:
        """Figures for JSON: per aligned window totals and use, and violations by each way of judging.

        `violations` are those of the enforced `kind`. Sliding and bucket violations count aligned windows
        in which at least one moment was over, so that one long overrun does not count a thousand times.
        """
        last = max(self._totals, default=-1)
        windows = [self._totals.get(index, 0) for index in range(last + 1)]
        return {
            "limit": self._limit,
            "windows": windows,
            "utilisation": [round(total / self._limit, 6) for total in windows] if self._limit else [],
            "violations": len(self._over[kind]),
            "violations_fixed": len(self._over["fixed"]),
            "violations_sliding": len(self._over["sliding"]),
            "violations_bucket": len(self._over["bucket"]),
            "peak_sliding": self._peak,
        }

    def _index(self, time: float) -> int:
        return int((time - self._origin) // self._window)

    def _pour(self, amount: int, now: float) -> None:
        if self._limit is None:
            return
        drained = (now - self._filled_at) * self._limit / self._window
        self._fill = max(0.0, max(0.0, self._fill - drained) + amount)
        self._filled_at = now

    def _drop_expired(self, now: float) -> None:
        while self._recent and self._recent[0].time + self._window <= now:
            self._trailing -= self._recent.popleft().amount

    def _judge(self, index: int, now: float) -> None:
        self._peak = max(self._peak, self._trailing)
        limit = self._limit
        if limit is None:
            return
        current = self._index(now)
        if self._totals[index] > limit:
            self._over["fixed"].add(index)
        if self._trailing > limit:
            self._over["sliding"].add(current)
        if self._fill > limit + 1e-5:
            self._over["bucket"].add(current)
