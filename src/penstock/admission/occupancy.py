"""How many calls are in flight, and which pool units they use."""

from __future__ import annotations

from collections import Counter
from math import inf

from penstock.admission.ask import Ask, Reject, Wait
from penstock.admission.limits import GateLimits


class Occupancy:
    """Counts calls in flight in all, per model and per tenant, and pool units in use."""

    def __init__(self, limits: GateLimits) -> None:
        self.limits = limits
        self.in_flight = 0
        self._models: Counter[str] = Counter()
        self._tenants: Counter[str] = Counter()
        self._pools: Counter[str] = Counter()

    def never_fits(self, ask: Ask) -> Reject | None:
        for pool, units in ask.pools:
            known = self.limits.pools.get(pool)
            if known is None:
                names = ", ".join(sorted(self.limits.pools)) or "none"
                return Reject("pool_unknown", f"there is no pool {pool!r}; pools that are set: {names}")
            if units > known:
                return Reject(
                    "too_large",
                    f"{units} units of pool {pool!r} can never be had, it has {known}; raise its size",
                )
        return None

    def _used(self, model: str | None, tenant: str | None) -> int:
        if model is not None:
            return self._models[model]
        return self.in_flight if tenant is None else self._tenants[tenant]

    def wait(self, ask: Ask) -> Wait | None:
        """The first bound that is reached; only a settlement changes it."""
        if self.in_flight >= self.limits.max_in_flight:
            return Wait("concurrency", "max_in_flight", None)
        for rule in self.limits.concurrency:
            if (
                rule.model in (None, ask.model)
                and rule.tenant in (None, ask.tenant)
                and self._used(rule.model, rule.tenant) >= rule.limit
            ):
                return Wait("concurrency", rule.key, None)
        for pool, units in ask.pools:
            if self._pools[pool] + units > self.limits.pools.get(pool, 0):
                return Wait("pool", pool, None)
        return None

    def room(self, ask: Ask) -> float:
        """How many more such calls the bounds leave."""
        room: float = self.limits.max_in_flight - self.in_flight
        for rule in self.limits.concurrency:
            if rule.model in (None, ask.model) and rule.tenant in (None, ask.tenant):
                room = min(room, rule.limit - self._used(rule.model, rule.tenant))
        for pool, units in ask.pools:
            left = self.limits.pools.get(pool, 0) - self._pools[pool]
            room = min(room, left // units if units > 0 else inf)
        return room

    def enter(self, ask: Ask) -> None:
        self._move(ask, 1)

    def leave(self, ask: Ask) -> None:
        self._move(ask, -1)

    def _move(self, ask: Ask, sign: int) -> None:
        self.in_flight += sign
        _count(self._models, ask.model, sign)
        _count(self._tenants, ask.tenant, sign)
        for pool, units in ask.pools:
            _count(self._pools, pool, sign * units)


def _count(counter: Counter[str], name: str, change: int) -> None:
    value = counter.get(name, 0) + change
    if value > 0:
        counter[name] = value
    else:  # names come and go; only those in use stay
        counter.pop(name, None)
