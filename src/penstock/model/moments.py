"""Mean and variance of recent values, in constant space."""

from __future__ import annotations

from math import sqrt


class Moments:
    """Plain mean and variance at first, then forgetting exponentially, with a memory of about `memory`
    values."""

    __slots__ = ("_memory", "mean", "seen", "variance")

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self.seen = 0
        self.mean = 0.0
        self.variance = 0.0

    def add(self, value: float) -> None:
        """One more value."""
        self.seen += 1
        weight = 1.0 / min(self.seen, self._memory)
        step = value - self.mean
        self.mean += weight * step
        self.variance = (1.0 - weight) * (self.variance + weight * step * step)

    @property
    def deviation(self) -> float:
        return sqrt(self.variance)
