"""What tasks of a type use of a pool when they do not say it: learned from what earlier ones used."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, frexp, ldexp

from penstock.model.moments import Moments

# (type, pool) pairs beyond this are not learned.
MOST_KINDS = 1_000
ENOUGH = 3
MEMORY = 50
STEPS_PER_DOUBLING = 4

Kept = Mapping[str, Mapping[str, tuple[int, float, float]]]
"""by type and pool: tasks seen, mean, variance"""


class PoolDefaults:
    """Mean plus two deviations of the last tasks of a type, once three were seen; in constant space.

    Rounded up to four steps per doubling: each other figure would be a lane of its own.
    """

    def __init__(self, kept: Kept | None = None) -> None:
        self._known: dict[tuple[str, str], Moments] = {}
        for type, pools in (kept or {}).items():
            for pool, (seen, mean, variance) in pools.items():
                moments = self._known[type, pool] = Moments(MEMORY)
                moments.seen, moments.mean, moments.variance = seen, mean, variance

    def learn(self, type: str, pool: str, amount: float) -> None:
        """An attempt used at most this much at once."""
        found = self._known.get((type, pool))
        if found is None:
            if len(self._known) >= MOST_KINDS:
                return
            found = self._known[type, pool] = Moments(MEMORY)
        found.add(amount)

    def units(self, type: str, pool: str, most: int) -> int | None:
        """What a task of this type will probably use, at most `most`; `None`: not known yet, or nothing."""
        found = self._known.get((type, pool))
        if found is None or found.seen < ENOUGH or found.mean <= 0:
            return None
        return min(most, _rounded_up(found.mean + 2.0 * found.deviation))

    def kept(self) -> dict[str, dict[str, tuple[int, float, float]]]:
        """What the constructor takes again."""
        kept: dict[str, dict[str, tuple[int, float, float]]] = {}
        for (type, pool), moments in self._known.items():
            row = (min(moments.seen, MEMORY), round(moments.mean, 3), round(moments.variance, 3))
            kept.setdefault(type, {})[pool] = row
        return kept


def _rounded_up(amount: float) -> int:
    if amount <= STEPS_PER_DOUBLING:
        return max(1, ceil(amount - 1e-9))
    _, exponent = frexp(amount)
    step = ldexp(1.0, exponent - 1) / STEPS_PER_DOUBLING
    return int(ceil(amount / step - 1e-9) * step)
