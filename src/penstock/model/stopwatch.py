"""The time an attempt has really used: handler and calls, without its waits."""

from __future__ import annotations


class Stopwatch:
    """Counts seconds between `go` and `halt`; `now` is monotonic seconds."""

    __slots__ = ("_since", "_used")

    def __init__(self) -> None:
        self._used = 0.0
        self._since: float | None = None

    def go(self, now: float) -> None:
        if self._since is None:
            self._since = now

    def halt(self, now: float) -> None:
        if self._since is not None:
            self._used += now - self._since
            self._since = None

    def used(self, now: float) -> float:
        return self._used if self._since is None else self._used + now - self._since
