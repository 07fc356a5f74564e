"""What went through the gate lately, whether or not anything limits it."""

from __future__ import annotations

from collections import deque

_SLICES = 60


class Recent:
    """A sum over the last `seconds`, in constant space: exact to a sixtieth of them."""

    __slots__ = ("_slice_seconds", "_slices", "_sum")

    def __init__(self, seconds: float) -> None:
        self._slice_seconds = seconds / _SLICES
        self._slices: deque[tuple[int, int]] = deque()
        self._sum = 0

    def add(self, amount: int, now: float) -> None:
        """Something went through."""
        number = int(now / self._slice_seconds)
        if self._slices and self._slices[-1][0] == number:
            self._slices[-1] = (number, self._slices[-1][1] + amount)
        else:
            self._slices.append((number, amount))
        self._sum += amount
        self._forget(number)

    def sum(self, now: float) -> int:
        """What went through in the last `seconds`."""
        self._forget(int(now / self._slice_seconds))
        return self._sum

    def _forget(self, number: int) -> None:
        while self._slices and self._slices[0][0] <= number - _SLICES:
            self._sum -= self._slices.popleft()[1]


class Traffic:
    """Requests of the last minute and hour, tokens of the last minute."""

    __slots__ = ("requests_per_hour", "requests_per_minute", "tokens_per_minute")

    def __init__(self) -> None:
        self.requests_per_minute = Recent(60.0)
        self.requests_per_hour = Recent(3600.0)
        self.tokens_per_minute = Recent(60.0)

    def sent(self, requests: int, now: float) -> None:
        """A call was admitted."""
        self.requests_per_minute.add(requests, now)
        self.requests_per_hour.add(requests, now)

    def used(self, tokens: int, now: float) -> None:
        """A call was settled."""
        self.tokens_per_minute.add(tokens, now)
