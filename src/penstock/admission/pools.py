"""Pools: named resources with so many units each, and how many of them are in use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import inf

from penstock.admission.ask import Reject, Wait

Units = tuple[tuple[str, int], ...]
"""(pool, units), in the order of their names"""


class Pools:
    """Counts units in use, by calls and by tasks. The limits may change while units are out.

    `returns` rises whenever units come back.
    """

    def __init__(self, limits: Mapping[str, int]) -> None:
        self.limits = limits
        self.used: Counter[str] = Counter()
        self.returns = 0

    def never_fits(self, units: Units) -> Reject | None:
        """Refuse what could not be had even if nobody else used anything."""
        for pool, count in units:
            known = self.limits.get(pool)
            if known is None:
                names = ", ".join(sorted(self.limits)) or "none"
                return Reject("pool_unknown", f"there is no pool {pool!r}; pools that are set: {names}")
            if count > known:
                return Reject(
                    "too_large",
                    f"{count} units of pool {pool!r} can never be had, it has {known}; raise its size",
                )
        return None

    def wait(self, units: Units) -> Wait | None:
        """The first pool without room; only a return changes it."""
        for pool, count in units:
            if self.used[pool] + count > self.limits.get(pool, 0):
                return Wait("pool", pool, None)
        return None

    def room(self, units: Units) -> float:
        """How many times these units could be had now."""
        room = inf
        for pool, count in units:
            if count > 0:
                room = min(room, self.free(pool) // count)
        return room

    def free(self, pool: str) -> int:
        """Units that nobody uses; below 0 when the pool was made smaller than what is out."""
        return self.limits.get(pool, 0) - self.used[pool]

    def take(self, units: Iterable[tuple[str, int]]) -> None:
        for pool, count in units:
            self.used[pool] += count

    def give(self, units: Iterable[tuple[str, int]]) -> None:
        self.returns += 1
        for pool, count in units:
            self.used[pool] -= count
            if self.used[pool] <= 0:  # names come and go; only those in use stay
                del self.used[pool]


def fitting(heads: Sequence[tuple[int, Units]], free: Mapping[str, int]) -> tuple[list[int], list[int]]:
    """Which of these lanes may be served next, and which have to wait; `heads` are best first.

    What the best of those that wait needs is kept for it, so that a large request is not starved by small
    ones; those that fit do so one at a time, the best first.
    """
    left = dict(free)
    fit: list[int] = []
    blocked: list[int] = []
    for lane, units in heads:
        if all(left.get(pool, 0) >= count for pool, count in units):
            fit.append(lane)
            continue
        blocked.append(lane)
        for pool, count in units:
            left[pool] = max(0, left.get(pool, 0) - count)
    return fit, blocked
