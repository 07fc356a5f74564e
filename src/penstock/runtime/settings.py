"""What a user may set for a manager; every field has a default that suits a first try."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Literal

from penstock.admission import Budget, Concurrency, GateLimits, RateLimit
from penstock.llm.profiles import profile_named
from penstock.model.usage import to_pico
from penstock.stores.contract import Retention


@dataclass(frozen=True, slots=True)
class ModelLimits:
    """Limits of one model or one tenant: requests and tokens per minute, requests per hour, calls at once."""

    requests_per_minute: int | None = None
    requests_per_hour: int | None = None
    tokens_per_minute: int | None = None
    max_concurrent: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Global limits, limits by model and by tenant, and money in USD. `None` limits nothing; rate limits that
    are not given are learned from the provider's headers. `rates` adds limits over windows of any length."""

    requests_per_minute: int | None = None
    requests_per_hour: int | None = None
    tokens_per_minute: int | None = None
    models: Mapping[str, ModelLimits] = field(default_factory=dict)
    tenants: Mapping[str, ModelLimits] = field(default_factory=dict)
    rates: tuple[RateLimit, ...] = ()
    budget: Decimal | float | None = None
    daily_budget: Decimal | float | None = None
    hourly_budget: Decimal | float | None = None
    tenant_budgets: Mapping[str, Decimal | float] = field(default_factory=dict)
    pools: Mapping[str, int] = field(default_factory=dict)
    zone: str = "UTC"

    def for_gate(self, max_in_flight: int, counts: Literal["actual", "reserved"]) -> GateLimits:
        """The same in the words of the gate."""
        everybody = ModelLimits(self.requests_per_minute, self.requests_per_hour, self.tokens_per_minute)
        rates = [*self.rates, *_rates(everybody)]
        concurrency: list[Concurrency] = []
        for model, limits in self.models.items():
            rates += _rates(limits, model=model)
            if limits.max_concurrent is not None:
                concurrency.append(Concurrency(limits.max_concurrent, model=model))
        for tenant, limits in self.tenants.items():
            rates += _rates(limits, tenant=tenant)
            if limits.max_concurrent is not None:
                concurrency.append(Concurrency(limits.max_concurrent, tenant=tenant))
        return GateLimits(
            rates=tuple(rates),
            concurrency=tuple(concurrency),
            pools=dict(self.pools),
            budgets=self._budgets(),
            counts=counts,
            max_in_flight=max_in_flight,
            zone=self.zone,
        )

    def _budgets(self) -> tuple[Budget, ...]:
        wanted: list[tuple[Decimal | float | None, Literal["total", "day", "hour"], str | None]] = [
            (self.budget, "total", None),
            (self.daily_budget, "day", None),
            (self.hourly_budget, "hour", None),
        ]
        wanted += [(amount, "total", tenant) for tenant, amount in self.tenant_budgets.items()]
        return tuple(
            Budget(to_pico(amount), period, tenant) for amount, period, tenant in wanted if amount is not None
        )


@dataclass(frozen=True, slots=True)
class Keep:
    """How long things are kept: days after a task ended, and at most so many bytes of them; `None` keeps
    all."""

    days: float | None = 30.0
    events_days: float | None = 30.0
    max_bytes: int | None = None

    def rule(self, now: float) -> Retention:
        return Retention(
            finished_before=None if self.days is None else now - self.days * 86_400,
            events_before=None if self.events_days is None else now - self.events_days * 86_400,
            reservations_before=now - 2 * 86_400,
            max_bytes=self.max_bytes,
        )


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a manager is made with.

    `store` is a path or `memory`; `durability` `full` survives power loss, `normal` survives `kill -9`.
    `max_concurrent` counts slots (handlers that run and calls in flight), `max_open` tasks with a coroutine
    in memory, `max_queue_size` tasks that wait. `prices` overrides prices: USD per million tokens by model.
    `strategy` orders what waits, with `strategy_settings`; `None`: as the store was told last, `priority` if
    nobody did. `size_in` is the unit in which strategies measure tasks; `None`: tokens where tokens per
    minute are limited, seconds elsewhere. `counts` says what the provider counts against token limits; `None`
    takes it from its profile. `processes` run functions that compute (`None`: one per core); a coroutine that
    blocks the loop for more than `blocked_after` seconds is named in the log. `cache_bytes` bounds what is
    kept of replies that may be used again. A handler in which nothing happens for `suspend_after` seconds but
    durable waits leaves memory until one of them is over.
    """

    store: str = "penstock.db"
    durability: Literal["full", "normal"] = "full"
    strategy: str | None = None
    strategy_settings: Mapping[str, Any] = field(default_factory=dict)
    size_in: Literal["tokens", "seconds"] | None = None
    max_concurrent: int = 100
    max_open: int | None = None
    max_queue_size: int | None = None
    threads: int = 32
    processes: int | None = None
    blocked_after: float | None = 0.5
    limits: Limits = field(default_factory=Limits)
    prices: Mapping[str, Any] = field(default_factory=dict)
    profile: str | None = None
    counts: Literal["actual", "reserved"] | None = None
    reserve: Literal["learned", "cap"] = "learned"
    keep: Keep = field(default_factory=Keep)
    cache_bytes: int | None = 100_000_000
    suspend_after: float = 2.0
    seed: int | None = None
    watch_seconds: float = 0.025

    @property
    def unit(self) -> Literal["tokens", "seconds"]:
        """The scarce resource, in which the size of a task is measured."""
        if self.size_in is not None:
            return self.size_in
        limits = [
            self.limits.tokens_per_minute,
            *(one.tokens_per_minute for one in self.limits.models.values()),
        ]
        by_tokens = any(limit is not None for limit in limits)
        by_tokens = by_tokens or any(rate.dimension == "tokens" for rate in self.limits.rates)
        return "tokens" if by_tokens else "seconds"

    @property
    def gate_limits(self) -> GateLimits:
        """The limits in the words of the gate."""
        named = profile_named(self.profile) if self.profile else None
        counts = self.counts or (named.counts if named is not None else "actual")
        return self.limits.for_gate(self.max_concurrent, counts)

    def retention(self, now: float) -> Retention:
        """What may be removed now."""
        return replace(self.keep.rule(now), max_cache_bytes=self.cache_bytes)

    @property
    def open_limit(self) -> int:
        return self.max_open if self.max_open is not None else max(1_000, 2 * self.max_concurrent)


def _rates(limits: ModelLimits, model: str | None = None, tenant: str | None = None) -> list[RateLimit]:
    wanted: list[tuple[Literal["requests", "tokens"], int | None, float]] = [
        ("requests", limits.requests_per_minute, 60.0),
        ("requests", limits.requests_per_hour, 3600.0),
        ("tokens", limits.tokens_per_minute, 60.0),
    ]
    return [
        RateLimit(dimension, limit, window, model, tenant)
        for dimension, limit, window in wanted
        if limit is not None
    ]
