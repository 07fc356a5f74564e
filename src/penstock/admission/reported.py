"""The limits that reply headers tell of: learned ones, and what they show about those the user gave."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from penstock.admission.ask import Dimension, Grant, Observed, Scope
from penstock.admission.inference import Shape
from penstock.admission.limits import GateLimits, RateLimit, scope_suffix
from penstock.admission.meter import Meter
from penstock.admission.records import Matcher, Records
from penstock.admission.remaining import ProviderMeter
from penstock.admission.windows import FixedLog

_ProviderKey = tuple[str, str, Dimension]


class ReportedLimits:
    """One meter per endpoint, model and dimension that a provider reported; `given` are the user's own."""

    def __init__(self, limits: GateLimits, given: Mapping[RateLimit, Meter], records: Records) -> None:
        self.limits = limits
        self.given = given
        self._records = records
        self._meters: dict[_ProviderKey, ProviderMeter] = {}

    def meters(self, scope: Scope) -> list[ProviderMeter]:
        return [meter for key, meter in self._meters.items() if key[:2] == scope[:2]]

    def learned(self) -> list[ProviderMeter]:
        return [meter for meter in self._meters.values() if not meter.explicit]

    def clear(self) -> None:
        """Forget all: what is counted has changed."""
        self._meters.clear()
        self._records.drop(lambda meter: isinstance(meter, ProviderMeter))
        for grant in self._records.live.values():
            grant.marks = {}

    def observe(
        self, grant: Grant, observed: Sequence[Observed], scopes: Collection[Scope], now: float
    ) -> bool:
        """Take in a reply's headers; true when a limit was discovered. `scopes` are those that have calls."""
        discovered = False
        for report in observed:
            key = (grant.ask.endpoint, grant.ask.model, report.dimension)
            meter = self._meters.get(key)
            if meter is None:
                if report.limit is None or report.limit <= 0:
                    continue
                meter = self._discover(key, report.limit, now)
                if meter is None:
                    continue
                discovered = True
            stamp = grant.sent_at if grant.sent_at is not None else now
            mark = grant.marks.get(report.dimension)
            # A meter younger than the call: all others in flight may have gone after it.
            own = float(meter.load(grant.ask).sent) if grant.state == "held" else 0.0
            if meter.observe(report, stamp, mark, own, now):
                meter.rebuild(now, self.limits.pacing)
                self._records.refill(meter, _provider_match(key), now)
            if meter.explicit:
                self._follow_shape(key, meter, scopes, now)
        return discovered

    def _follow_shape(
        self, key: _ProviderKey, source: ProviderMeter, scopes: Collection[Scope], now: float
    ) -> None:
        """Let the limit that the user gave for this very window count as the provider was seen to count."""
        for rate, meter in self.given.items():
            if rate.dimension != key[2]:  # a report on requests says nothing of tokens
                continue
            shape = source.shape if _explains(key, source, rate, scopes) else None
            if isinstance(meter.log, FixedLog) and shape is not None and shape.kind == "fixed":
                meter.log.end = shape.end
            elif (shape is None and meter.shaped_by == key[:2]) or (
                shape is not None and not meter.shaped_by
            ):
                self.reshape(rate, meter, shape, key[:2], now)

    def reshape(
        self, rate: RateLimit, meter: Meter, shape: Shape | None, source: tuple[str, str], now: float
    ) -> None:
        """Count as `source` was seen to count; None: as a sliding window again."""
        meter.reshape(shape, source if shape else None, now)
        if shape is None:
            self._records.refill(meter, rate_match(rate), now)

    def _discover(self, key: _ProviderKey, limit: int, now: float) -> ProviderMeter | None:
        endpoint, model, dimension = key
        given = [
            rate
            for rate in self.limits.rates
            if rate.dimension == dimension and rate.tenant is None and rate.matches(endpoint, model, "")
        ]
        if not given and not self.limits.learn:
            return None
        window: float | None = None
        if given:
            window = min(given, key=lambda rate: abs(rate.limit - limit)).window_seconds
        guard = self.limits.guard(window) if window else 0.05
        name = f"{dimension} remaining{scope_suffix(model, None, endpoint)}"
        meter = ProviderMeter(name, dimension, limit, self.limits.counts, window, guard)
        self._meters[key] = meter
        self._records.refill(meter, _provider_match(key), now)
        self._records.adopt(meter, _provider_match(key), now)
        return meter

    def distrust(self, endpoint: str, model: str, scopes: Collection[Scope], now: float) -> None:
        """A refusal in an unfilled window: what was concluded about windows is in doubt."""
        for key, meter in self._meters.items():
            if key[:2] == (endpoint, model):
                meter.distrust()
                self._follow_shape(key, meter, scopes, now)

    def drop_stale(self) -> None:
        """A limit that is given now and was learned before, or the other way round, is discovered afresh."""
        for key, meter in list(self._meters.items()):
            given = any(
                r.dimension == key[2] and r.tenant is None and r.matches(key[0], key[1], "")
                for r in self.limits.rates
            )
            if given != meter.explicit:
                del self._meters[key]
                self._records.drop(meter.__eq__)
                for grant in self._records.live.values():
                    if (grant.ask.endpoint, grant.ask.model) == key[:2]:
                        grant.marks.pop(key[2], None)


def _explains(key: _ProviderKey, source: ProviderMeter, rate: RateLimit, scopes: Collection[Scope]) -> bool:
    """Whether this report is about this very limit: alike in every respect, and nobody else meets it."""
    return (
        rate.dimension == key[2]
        and rate.tenant is None
        and rate.window_seconds == source.window
        and abs(rate.limit - source.limit) <= 0.01 * rate.limit
        and rate.limit <= source.limit
        and rate.matches(key[0], key[1], "")
        and all(scope[:2] == key[:2] for scope in scopes if rate.matches(*scope))
    )


def rate_match(rate: RateLimit) -> Matcher:
    return lambda scope: rate.matches(*scope)


def _provider_match(key: _ProviderKey) -> Matcher:
    return lambda scope: scope[:2] == key[:2]
