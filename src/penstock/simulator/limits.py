"""The provider's limits: what is counted, when, and whether a call still fits.

Pure: time is passed in, in seconds. An entry at time t counts in a sliding window until `t + window`, that
instant excluded. All amounts are integers.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal, Protocol

from penstock.simulator.config import Limits
from penstock.simulator.ledger import Mark, WindowLedger

Resource = Literal["requests", "tokens"]


@dataclass(slots=True)
class Entry:
    """One counted amount, kept by whoever may correct it later."""

    time: float
    amount: int


class Meter(Protocol):
    """One limit of one resource. `add` always counts, also beyond the limit.

    Asking first is the caller's part.
    """

    limit: int

    def used(self, now: float) -> float:
        """What counts at this instant."""

    def wait_for(self, amount: int, now: float) -> float:
        """Seconds until `amount` fits if nothing else is counted meanwhile; 0 when it fits now."""

    def add(self, amount: int, now: float) -> Entry:
        """Count `amount` now."""

    def correct(self, entry: Entry, amount: int, now: float) -> None:
        """Make an earlier entry count `amount` where it was counted, if it still counts at all."""

    def reset_after(self, now: float) -> float:
        """Seconds until nothing is used any more if nothing else is counted meanwhile."""


class BucketMeter:
    """A bucket that holds one full limit and refills at limit/window.

    It may be overdrawn by what is counted late.
    """

    def __init__(self, limit: int, window_seconds: float) -> None:
        self.limit = limit
        self._rate = limit / window_seconds
        self._level = float(limit)
        self._at = float("-inf")

    def _refill(self, now: float) -> float:
        if now > self._at:
            gained = (now - self._at) * self._rate
            self._level = min(float(self.limit), self._level + gained)
            self._at = now
        return self._level

    def used(self, now: float) -> float:
        return self.limit - self._refill(now)

    def wait_for(self, amount: int, now: float) -> float:
        # A millionth of a unit of slack: repeated refills must not refuse what fits exactly.
        return max(0.0, (amount - self._refill(now) - 1e-6) / self._rate)

    def add(self, amount: int, now: float) -> Entry:
        self._level = self._refill(now) - amount
        return Entry(now, amount)

    def correct(self, entry: Entry, amount: int, now: float) -> None:
        self._level = min(float(self.limit), self._refill(now) + entry.amount - amount)
        entry.amount = amount

    def reset_after(self, now: float) -> float:
        return self.used(now) / self._rate


class FixedMeter:
    """Aligned windows that start at `origin`; each begins empty."""

    def __init__(self, limit: int, window_seconds: float, origin: float) -> None:
        self.limit = limit
        self._window = window_seconds
        self._origin = origin
        self._index = -1
        self._used = 0

    def _roll(self, now: float) -> int:
        index = int((now - self._origin) // self._window)
        if index > self._index:
            self._index, self._used = index, 0
        return index

    def used(self, now: float) -> float:
        self._roll(now)
        return self._used

    def wait_for(self, amount: int, now: float) -> float:
        return 0.0 if self.used(now) + amount <= self.limit else self._left(now)

    def _left(self, now: float) -> float:
        # Rounding may put the end of the window at or before now; a wait is never zero while a window is
        # full.
        return max(1e-6, self._origin + (self._index + 1) * self._window - now)

    def add(self, amount: int, now: float) -> Entry:
        self._roll(now)
        self._used += amount
        return Entry(now, amount)

    def correct(self, entry: Entry, amount: int, now: float) -> None:
        self._roll(now)
        if int((entry.time - self._origin) // self._window) == self._index:
            self._used += amount - entry.amount
        entry.amount = amount

    def reset_after(self, now: float) -> float:
        return self._left(now) if self.used(now) > 0 else 0.0


class SlidingMeter:
    """A log of the last window."""

    def __init__(self, limit: int, window_seconds: float) -> None:
        self.limit = limit
        self._window = window_seconds
        self._log: deque[Entry] = deque()
        self._used = 0

    def used(self, now: float) -> float:
        while self._log and self._log[0].time + self._window <= now:
            self._used -= self._log.popleft().amount
        return self._used

    def wait_for(self, amount: int, now: float) -> float:
        excess = self.used(now) + amount - self.limit
        for entry in self._log:
            if excess <= 0:
                return 0.0
            excess -= entry.amount
            if excess <= 0:
                return entry.time + self._window - now
        return 0.0 if excess <= 0 else self._window

    def add(self, amount: int, now: float) -> Entry:
        self.used(now)
        entry = Entry(now, amount)
        self._log.append(entry)
        self._used += amount
        return entry

    def correct(self, entry: Entry, amount: int, now: float) -> None:
        self.used(now)
        if entry.time + self._window > now:
            self._used += amount - entry.amount
        entry.amount = amount

    def reset_after(self, now: float) -> float:
        # Entries of no weight, such as refunded ones, keep no limit from being full.
        for entry in reversed(self._log) if self.used(now) > 0 else ():
            if entry.amount > 0:
                return entry.time + self._window - now
        return 0.0


def build_meter(limit: int, rules: Limits, origin: float) -> Meter:
    """The meter of the configured kind."""
    if rules.kind == "bucket":
        return BucketMeter(limit, rules.window_seconds)
    if rules.kind == "fixed":
        return FixedMeter(limit, rules.window_seconds, origin)
    return SlidingMeter(limit, rules.window_seconds)


@dataclass(frozen=True, slots=True)
class OverLimit:
    """A call that does not fit: which resource, the figures of the 429 body, and seconds until it may fit.

    `retry_after` is `None` when the call is larger than the limit and can never fit.
    """

    resource: Resource
    limit: int
    used: int
    requested: int
    retry_after: float | None


@dataclass(frozen=True, slots=True)
class Admission:
    """A call that was let in, and what was counted for it on arrival."""

    input_tokens: int
    tokens: Entry | None
    mark: Mark


@dataclass(frozen=True, slots=True)
class Gauge:
    """One limit at one instant, as the reply's headers tell it; `reset_after` in seconds."""

    limit: int
    remaining: int
    reset_after: float


class RateLimiter:
    """One set of limits: admits or refuses on arrival, counts on completion, keeps the books."""

    def __init__(self, rules: Limits, origin: float) -> None:
        start = origin - rules.phase_seconds
        requests, tokens = rules.requests_per_window, rules.tokens_per_window
        self.rules = rules
        self.meters: dict[Resource, Meter] = {}
        if requests is not None:
            self.meters["requests"] = build_meter(requests, rules, start)
        if tokens is not None:
            self.meters["tokens"] = build_meter(tokens, rules, start)
        self.requests = WindowLedger(rules.window_seconds, start, requests)
        self.tokens = WindowLedger(rules.window_seconds, start, tokens)

    def admit(self, input_tokens: int, output_cap: int | None, now: float) -> Admission | OverLimit:
        """Count a call that arrives, or say why it does not fit; a refused call counts nothing."""
        size = input_tokens
        if self.rules.counting != "actual":
            size += self.rules.uncapped_reserve if output_cap is None else output_cap
        refusal = self._check("tokens", size, now) or self._check("requests", 1, now)
        if refusal is not None:
            return refusal
        if "requests" in self.meters:
            self.meters["requests"].add(1, now)
        self.requests.add(1, now)
        meter = self.meters.get("tokens")
        entry = None if meter is None else meter.add(size, now)
        return Admission(input_tokens, entry, self.tokens.add(size, now))

    def complete(self, admission: Admission, output_tokens: int, now: float) -> None:
        """Count what a call has put out, once per admission."""
        meter = self.meters.get("tokens")
        if self.rules.counting == "actual":
            if output_tokens == 0:
                return
            if meter is not None:
                meter.add(output_tokens, now)
            self.tokens.add(output_tokens, now)
        elif self.rules.counting == "reserved_refund":
            true_size = admission.input_tokens + output_tokens
            if meter is not None and admission.tokens is not None:
                meter.correct(admission.tokens, true_size, now)
            self.tokens.correct(admission.mark, true_size, now)

    def gauge(self, resource: Resource, now: float) -> Gauge | None:
        """The state of one limit, or `None` when that resource has no limit."""
        meter = self.meters.get(resource)
        if meter is None:
            return None
        remaining = max(0, int(meter.limit - meter.used(now) + 1e-6))
        return Gauge(meter.limit, remaining, meter.reset_after(now))

    def _check(self, resource: Resource, amount: int, now: float) -> OverLimit | None:
        meter = self.meters.get(resource)
        if meter is None:
            return None
        if amount > meter.limit:
            return OverLimit(resource, meter.limit, int(meter.used(now)), amount, None)
        wait = meter.wait_for(amount, now)
        return OverLimit(resource, meter.limit, int(meter.used(now)), amount, wait) if wait > 0 else None
