"""What a user may limit: rates, concurrency, pools and money."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from penstock.admission.ask import Counts

Period = Literal["total", "day", "hour"]
_LETTERS = {1.0: "s", 60.0: "m", 3600.0: "h", 86400.0: "d"}
_PERIOD_NAMES = {"total": "total budget", "day": "daily budget", "hour": "hourly budget"}


@dataclass(frozen=True, slots=True)
class RateLimit:
    """So many requests or tokens in any `window_seconds`; a scope of None matches every call."""

    dimension: Literal["requests", "tokens"]
    limit: int
    window_seconds: float
    model: str | None = None
    tenant: str | None = None
    endpoint: str | None = None

    def __post_init__(self) -> None:
        if self.limit < 1 or self.window_seconds <= 0:
            raise ValueError(f"a rate limit needs a positive limit and window, not {self}")

    @property
    def key(self) -> str:
        """Name it as people do: `rpm`, `tpm:gpt-4o`, `requests/10s`."""
        return rate_key(self.dimension, self.window_seconds) + scope_suffix(
            self.model, self.tenant, self.endpoint
        )

    def matches(self, endpoint: str, model: str, tenant: str) -> bool:
        return (
            (self.model is None or self.model == model)
            and (self.tenant is None or self.tenant == tenant)
            and (self.endpoint is None or self.endpoint == endpoint)
        )


def rate_key(dimension: str, window_seconds: float) -> str:
    """Name a rate: `rpm` where the window has a letter, else `requests/10s`."""
    letter = _LETTERS.get(window_seconds)
    if letter and dimension in ("requests", "tokens"):
        return f"{dimension[0]}p{letter}"
    return f"{dimension}/{window_seconds:g}s"


def scope_suffix(model: str | None, tenant: str | None, endpoint: str | None) -> str:
    """Name a scope after a key: `:gpt-4o`, ` of acme`, ` at eu`; empty for everything."""
    model_part = f":{model}" if model is not None else ""
    tenant_part = f" of {tenant or 'no tenant'}" if tenant is not None else ""
    return model_part + tenant_part + (f" at {endpoint}" if endpoint else "")


@dataclass(frozen=True, slots=True)
class Concurrency:
    """At most `limit` calls in flight: of a model, of a tenant, or of all."""

    limit: int
    model: str | None = None
    tenant: str | None = None

    @property
    def key(self) -> str:
        return "concurrency" + scope_suffix(self.model, self.tenant, None)


@dataclass(frozen=True, slots=True)
class Budget:
    """At most `limit` pico-dollars in all, per calendar day or per calendar hour."""

    limit: int
    period: Period = "total"
    tenant: str | None = None

    @property
    def key(self) -> str:
        return _PERIOD_NAMES[self.period] + scope_suffix(None, self.tenant, None)


@dataclass(frozen=True, slots=True)
class GateLimits:
    """Everything the gate enforces. The default limits nothing but calls in flight."""

    rates: tuple[RateLimit, ...] = ()
    concurrency: tuple[Concurrency, ...] = ()
    pools: Mapping[str, int] = field(default_factory=dict)
    budgets: tuple[Budget, ...] = ()
    guard_seconds: float | None = None
    """how long a call may be under way to the provider; None: a 120th of the window, at most 1 s"""
    counts: Counts = "actual"
    max_in_flight: int = 1000
    learn: bool = True
    """learn limits from reply headers where none is given"""
    zone: str = "UTC"
    """IANA zone whose calendar days and hours the budgets follow"""
    pacing: bool = True

    def guard(self, window_seconds: float) -> float:
        return min(1.0, window_seconds / 120.0) if self.guard_seconds is None else self.guard_seconds

    def has_rates(self, endpoint: str, model: str) -> bool:
        """Whether the user gave any rate limit for this model at this endpoint."""
        return any(r.tenant is None and r.matches(endpoint, model, "") for r in self.rates)
