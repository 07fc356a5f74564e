"""What the calls in flight hold of one window, pooled."""

from __future__ import annotations

from math import sqrt

from penstock.admission.ask import Load

_DEVIATIONS = 3.0
_LEAST = 0.01
"""of the limit: kept for a reply longer than any seen; a few in flight do not even each other out"""
_MOST = 0.1
"""of the limit: more than that is not kept idle for the sake of one long reply"""
_FADES = 0.999
"""a surprise per settled call, so about a thousand calls are remembered"""


class HoldPool:
    """The sum of all holds: sent parts, expected replies, and one safety margin for all of them.

    Replies are independent, so their variances add and the margin grows with the square root of their number.
    Replies in flight are longer than the mean, for short ones leave first and give their refund back first:
    with many in flight this bias outgrows three deviations. With few in flight a heavy tail does: one reply
    may be as long as the longest of late, or longer. So the margin is the largest of
    `3 * sqrt(sum(variance))`, `sum(variance / mean) + sqrt(sum(variance))`, what a reply of late was longer
    than expected, and a hundredth of the limit; and never more than the caps.
    """

    __slots__ = ("_bias", "_cap", "_mean", "_surprise", "_uncapped", "_variance", "count", "sent")

    def __init__(self) -> None:
        self.count = 0
        self.sent = 0
        self._mean = self._variance = self._bias = 0.0
        self._cap = 0
        self._uncapped = 0
        self._surprise = 0.0

    def add(self, load: Load) -> None:
        self.count += 1
        self.sent += load.sent
        if load.cap or load.mean:
            self._move(load, 1)

    def remove(self, load: Load) -> None:
        self.count -= 1
        self.sent -= load.sent
        if load.cap or load.mean:
            self._move(load, -1)
            if self.count == 0:  # float sums drift; an empty pool is exactly empty
                self._mean = self._variance = self._bias = 0.0

    def learn(self, load: Load, reply: int) -> None:
        """A reply that was expected to count `load.mean` counted `reply`."""
        if load.mean:
            self._surprise = max(reply - load.mean, self._surprise * _FADES)

    def _move(self, load: Load, sign: int) -> None:
        _, mean, variance, bias, cap = load
        self._mean += sign * mean
        self._variance += sign * variance
        self._bias += sign * bias
        if cap < 0:
            self._uncapped += sign
        else:
            self._cap += sign * cap

    def total(self, limit: float) -> float:
        """What is held now of `limit`."""
        held = self._mean + self._margin(self._variance, self._bias, limit)
        return self.sent + (held if self._uncapped else min(held, self._cap))

    def total_with(self, load: Load, limit: float) -> float:
        """What would be held with one more call."""
        sent, mean, variance, bias, cap = load
        if self._mean == 0.0 == mean:
            return self.sent + sent
        held = self._mean + mean + self._margin(self._variance + variance, self._bias + bias, limit)
        capped = cap >= 0 and not self._uncapped
        return self.sent + sent + (min(held, self._cap + cap) if capped else held)

    def _margin(self, variance: float, bias: float, limit: float) -> float:
        if variance <= 0.0:
            return 0.0
        deviation = sqrt(variance)
        tail = max(_LEAST * limit, min(self._surprise, _MOST * limit))
        return max(_DEVIATIONS * deviation, bias + deviation, tail)
