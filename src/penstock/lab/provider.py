"""A virtual provider: exact rate limits, kept in virtual time, with the headers a real one sends."""

from __future__ import annotations

from collections import deque
from typing import Literal

from penstock.admission import Observed
from penstock.admission.ask import Dimension

Kind = Literal["sliding", "fixed", "bucket"]
KINDS: tuple[Kind, ...] = ("sliding", "fixed", "bucket")


class VirtualLimit:
    """One limit: over the last window (`sliding`), aligned windows (`fixed`), or a bucket of one window.

    It refuses on arrival only; what is counted later may pass the limit, and `worst_after` says by how much.
    """

    def __init__(self, kind: Kind, limit: int, window_seconds: float, phase: float) -> None:
        self.kind, self.limit, self.window = kind, limit, window_seconds
        self._phase = phase
        self._log: deque[tuple[float, int]] = deque()
        self._inside = 0
        self._level, self._at = float(limit), 0.0
        self._history: list[tuple[float, int, float]] = []

    def used(self, now: float) -> float:
        if self.kind == "bucket":
            self._level = min(self.limit, self._level + (now - self._at) * self.limit / self.window)
            self._at = now
            return self.limit - self._level
        edge = now - self.window
        if self.kind == "fixed":  # a window begins with its first instant
            edge = (now + self._phase) // self.window * self.window - self._phase - 1e-9
        log = self._log
        while log and log[0][0] <= edge:
            self._inside -= log.popleft()[1]
        return self._inside

    def fits(self, amount: int, now: float) -> bool:
        return self.used(now) + amount <= self.limit + 1e-6

    def count(self, amount: int, now: float) -> None:
        self.used(now)
        if self.kind == "bucket":
            self._level -= amount
        else:
            self._log.append((now, amount))
            self._inside += amount
        self._history.append((now, amount, self.used(now)))

    def worst_after(self, start: float) -> float:
        """The fullest it was from `start` on, as a share of the limit."""
        return max((used for at, _, used in self._history if at >= start), default=0.0) / self.limit

    def observed(self, dimension: Dimension, now: float) -> Observed:
        """The limit headers of a reply to a call that arrived now."""
        used = self.used(now)
        reset = self.window
        if self.kind == "bucket":
            reset = used * self.window / self.limit
        elif self.kind == "fixed":
            reset = self.window - (now + self._phase) % self.window
        return Observed(dimension, self.limit, max(0, int(self.limit - used)), reset)

    def use_between(self, start: float, end: float) -> float:
        """What was counted in `[start, end)` as a share of what the limit allows in that time."""
        if end <= start:
            return 0.0
        counted = sum(amount for at, amount, _ in self._history if start <= at < end)
        return counted / (self.limit * (end - start) / self.window)


class VirtualProvider:
    """Counts a request and its prompt when the call arrives, its output when it is complete."""

    def __init__(
        self, kind: Kind, requests: int | None, tokens: int | None, window_seconds: float, phase: float
    ) -> None:
        sizes: tuple[tuple[Dimension, int | None], ...] = (("requests", requests), ("tokens", tokens))
        self.limits: dict[Dimension, VirtualLimit] = {
            name: VirtualLimit(kind, limit, window_seconds, phase) for name, limit in sizes if limit
        }

    def arrive(self, prompt: int, now: float) -> bool:
        """Whether the call is let in; a refused one counts nothing."""
        amounts = {"requests": 1, "tokens": prompt}
        if not all(limit.fits(amounts[name], now) for name, limit in self.limits.items()):
            return False
        for name, limit in self.limits.items():
            limit.count(amounts[name], now)
        return True

    def complete(self, output: int, now: float) -> None:
        if "tokens" in self.limits:
            self.limits["tokens"].count(output, now)

    def headers(self, now: float) -> list[Observed]:
        return [limit.observed(name, now) for name, limit in self.limits.items()]
