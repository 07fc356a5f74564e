"""How one model at one endpoint bears the load: cooldown after refusals, and a concurrency that adapts."""

from __future__ import annotations

from math import frexp, inf

from penstock.admission.ask import Ask, RefusalKind, Wait
from penstock.admission.limits import GateLimits

_FIRST_COOLDOWN = 0.5
_LONGEST_COOLDOWN = 30.0
_ISOLATED = 0.8
_SLOW = 2.0
_SLOW_CALLS = 30
_OPEN_STREAMS = 4.0
"""so many calls may be under way, however sick the provider: who reads one stream may need another call"""


class Health:
    """Admits as many calls at once as the provider has shown to bear.

    With limits given by the user it starts without a cap; otherwise with one probe, then doubling per round.
    A refusal, an overload or a timeout halves it, at most once per cooldown; successes raise it again.
    """

    def __init__(self, most: int, guarded: bool) -> None:
        self.in_flight = 0
        self.most = most
        self.limit: float = inf if guarded else 1.0
        self._guarded = guarded
        self._threshold = inf
        self._probing = not guarded
        self._cool_until = -inf
        self._halved_until = -inf
        self._streak = 0
        self._pressed = 0
        """successes still to come of the round in which the cap was reached"""
        self._latency = LatencyWatch()

    def enter(self) -> None:
        self.in_flight += 1
        if self.in_flight >= self.limit:
            self._pressed = self.in_flight

    def leave(self) -> None:
        self.in_flight -= 1

    def retune(self, most: int, guarded: bool) -> None:
        """Follow changed limits; what the provider has shown to bear stays known."""
        if guarded and not self._guarded and self._threshold == inf:
            self.limit, self._probing = inf, False
        elif not guarded and self._guarded and self.limit == inf:
            self.limit = float(max(self.in_flight, 1))
        self.most, self._guarded = most, guarded

    def wait(self, ask: Ask, now: float) -> Wait | None:
        """Why the next call has to wait, if it has."""
        if now < self._cool_until:
            return Wait("cooldown", ask.endpoint or ask.model, self._cool_until)
        if self._probing and self.in_flight >= 1:
            return Wait("probing", ask.model, None)
        if self.in_flight >= self.limit:
            return Wait("concurrency", f"adaptive:{ask.model}", None)
        return None

    def room(self, now: float) -> float:
        if now < self._cool_until:
            return 0.0
        return (1 if self._probing else self.limit) - self.in_flight

    def replied(self) -> None:
        """A reply of any kind: the probe has come back."""
        self._probing = False

    def began(self) -> None:
        """A stream has begun: it may stay open for long, perhaps until another call is made."""
        self.replied()
        if self.in_flight <= self.limit < max(self._threshold, _OPEN_STREAMS):
            self.limit = max(self.limit, self.in_flight + 1.0)
            self._pressed = max(0, self._pressed - 1)  # its end is no second reason to bear more

    def refused(self, kind: RefusalKind, retry_after: float | None, now: float) -> None:
        """Cool down and bear half as many; more refusals of the same cooldown only lengthen it."""
        self.replied()
        fresh = now >= self._cool_until and now >= self._halved_until
        if kind == "timeout":
            if fresh:
                self._halve(now, _FIRST_COOLDOWN)
            return
        if fresh:
            self._streak += 1
        if kind == "overloaded" and retry_after is None and self._streak == 1:
            # One reply among good ones: bear a little less, and let the others go on.
            if fresh:
                self._halve(now, _FIRST_COOLDOWN, _ISOLATED)
            return
        pause = min(_LONGEST_COOLDOWN, _FIRST_COOLDOWN * 2.0 ** min(self._streak - 1, 10))
        if retry_after is not None:
            pause = max(0.0, retry_after)
        if fresh:
            self._halve(now, pause)
            self._cool_until = now + pause
        elif retry_after is not None:
            self._cool_until = max(self._cool_until, now + pause)

    def _halve(self, now: float, pause: float, factor: float = 0.5) -> None:
        base = min(self.limit, max(self.in_flight, 1))
        self.limit = max(1.0, base * factor)
        self._threshold = self.limit
        self._halved_until = now + max(pause, _FIRST_COOLDOWN)

    def succeeded(self, seconds: float, output_tokens: int, now: float) -> None:
        """Bear more, where the cap was what held calls back, unless calls have become slow."""
        self.replied()
        if now >= self._cool_until:
            self._streak = 0
        if self._latency.slow(seconds, output_tokens):
            base = min(self.limit, max(self.in_flight, 1))
            self.limit = max(1.0, base * 0.9)
            self._threshold = self.limit
        elif self.limit < inf and self._pressed > 0:
            self._pressed -= 1
            step = 1.0 if self.limit < self._threshold else max(1.0 / self.limit, 0.05)
            self.limit += step
            if self.limit >= self.most:
                self.limit = inf if self._guarded else float(self.most)


class HealthBook:
    """The health of every model at every endpoint that was asked for."""

    def __init__(self, limits: GateLimits) -> None:
        self._limits = limits
        self._known: dict[tuple[str, str], Health] = {}

    def of(self, ask: Ask) -> Health:
        """How the model of `ask` bears the load at its endpoint."""
        key = (ask.endpoint, ask.model)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Health(self._limits.max_in_flight, self._guarded(*key))
        return found

    def _guarded(self, endpoint: str, model: str) -> bool:
        return not self._limits.learn or self._limits.has_rates(endpoint, model)

    def reconfigure(self, limits: GateLimits) -> None:
        self._limits = limits
        for key, health in self._known.items():
            health.retune(limits.max_in_flight, self._guarded(*key))


class LatencyWatch:
    """Notices when calls take twice as long as they used to, and only then.

    Replies are compared with replies of like length (powers of two of output tokens), each class with the
    best long-term mean it has had. If bearing fewer calls does not make them faster, it is not our load that
    slows them: the new pace becomes the measure.
    """

    def __init__(self) -> None:
        self._classes: dict[int, list[float]] = {}
        """per class: number seen, long-term mean, best of it"""
        self._ratio = 1.0
        self._run = 0
        self._last_ratio = 0.0

    def slow(self, seconds: float, output_tokens: int) -> bool:
        """Take in one call; true when it is time to bear fewer."""
        if seconds <= 0:
            return False
        entry = self._classes.setdefault(frexp(max(output_tokens, 1))[1], [0.0, seconds, inf])
        entry[0] += 1
        entry[1] += (seconds - entry[1]) / min(entry[0], 100.0)
        if entry[0] < _SLOW_CALLS:
            return False
        entry[2] = min(entry[2], entry[1])
        self._ratio += (seconds / entry[2] - self._ratio) / 20.0
        self._run = self._run + 1 if self._ratio > _SLOW else 0
        if self._run < _SLOW_CALLS:
            return False
        self._run = 0
        if self._last_ratio and self._ratio > 0.9 * self._last_ratio:
            for known in self._classes.values():
                known[2] *= self._ratio
            self._ratio, self._last_ratio = 1.0, 0.0
            return False
        self._last_ratio = self._ratio
        return True
