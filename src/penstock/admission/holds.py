"""What the calls in flight hold of one window, pooled."""

from __future__ import annotations

from math import sqrt

from penstock.admission.ask import Load

_DEVIATIONS = 3.0


class HoldPool:
    """The sum of all holds: sent parts, expected replies, and one safety margin for all of them.

    Replies are independent, so their variances add and the margin grows with the square root of their number.
    Replies in flight are longer than the mean, for short ones leave first and give their refund back first:
    with many in flight this bias outgrows three deviations, so the margin is the larger of
    `3 * sqrt(sum(variance))` and `sum(variance / mean) + sqrt(sum(variance))`, and never more than the caps.
    """

    __slots__ = ("_bias", "_cap", "_mean", "_uncapped", "_variance", "count", "sent")

    def __init__(self) -> None:
        self.count = 0
        self.sent = 0
        self._mean = self._variance = self._bias = 0.0
        self._cap = 0
        self._uncapped = 0

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

    def _move(self, load: Load, sign: int) -> None:
        _, mean, variance, bias, cap = load
        self._mean += sign * mean
        self._variance += sign * variance
        self._bias += sign * bias
        if cap < 0:
            self._uncapped += sign
        else:
            self._cap += sign * cap

    def total(self) -> float:
        """What is held now."""
        return self.sent + self._replies(self._mean, self._variance, self._bias, self._cap, self._uncapped)

    def total_with(self, load: Load) -> float:
        """What would be held with one more call."""
        sent, mean, variance, bias, cap = load
        if self._mean == 0.0 == mean:
            return self.sent + sent
        if cap < 0:
            return (
                self.sent
                + sent
                + self._replies(self._mean + mean, self._variance + variance, self._bias + bias, self._cap, 1)
            )
        return (
            self.sent
            + sent
            + self._replies(
                self._mean + mean,
                self._variance + variance,
                self._bias + bias,
                self._cap + cap,
                self._uncapped,
            )
        )

    @staticmethod
    def _replies(mean: float, variance: float, bias: float, cap: int, uncapped: int) -> float:
        if variance > 0.0:
            deviation = sqrt(variance)
            mean += max(_DEVIATIONS * deviation, bias + deviation)
        return cap if not uncapped and cap < mean else mean
