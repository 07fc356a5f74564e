"""Requests as the metrics count them: by route, method and status, and how long they took."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
MOST_SERIES = 1_000
OTHER = "other"
_METHODS = frozenset(("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"))


class Spread:
    """How many values fell below each of some bounds."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """Pairs of an upper bound and how many are not above it."""
        total, pairs = 0, []
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            total += count
            pairs.append((bound, float(total)))
        return pairs


@dataclass(slots=True)
class RequestCounts:
    """Since this process began. Routes are templates, never paths, so that their number is bounded."""

    open: int = 0
    statuses: defaultdict[tuple[str, str, str], int] = field(default_factory=lambda: defaultdict(int))
    seconds: defaultdict[str, Spread] = field(default_factory=lambda: defaultdict(Spread))

    def ended(self, route: str | None, method: str, status: int, seconds: float) -> None:
        """A request was answered."""
        route = route or "none"
        key = route, method if method in _METHODS else OTHER, str(status)
        if len(self.statuses) >= MOST_SERIES and key not in self.statuses:
            key = OTHER, OTHER, str(status)
        self.statuses[key] += 1
        self.seconds[key[0]].add(seconds)
