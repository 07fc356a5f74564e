"""How many calls are in flight; the pools whose units they and open tasks use."""

from __future__ import annotations

from collections import Counter

from penstock.admission.ask import Ask, Wait
from penstock.admission.limits import GateLimits
from penstock.admission.pools import Pools


class Occupancy:
    """Counts calls in flight in all, per model and per tenant, and pool units in use."""

    def __init__(self, limits: GateLimits) -> None:
        self.limits = limits
        self.in_flight = 0
        self._models: Counter[str] = Counter()
        self._tenants: Counter[str] = Counter()
        self.pools = Pools(limits.pools)

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
        return self.pools.wait(ask.pools) if ask.pools else None

    def room(self, ask: Ask) -> float:
        """How many more such calls the bounds leave."""
        room: float = self.limits.max_in_flight - self.in_flight
        for rule in self.limits.concurrency:
            if rule.model in (None, ask.model) and rule.tenant in (None, ask.tenant):
                room = min(room, rule.limit - self._used(rule.model, rule.tenant))
        return min(room, self.pools.room(ask.pools)) if ask.pools else room

    def enter(self, ask: Ask) -> None:
        self._move(ask, 1)
        if ask.pools:
            self.pools.take(ask.pools)

    def leave(self, ask: Ask) -> None:
        self._move(ask, -1)
        if ask.pools:
            self.pools.give(ask.pools)

    def reconfigure(self, limits: GateLimits) -> None:
        """Take on other bounds; what is in flight stays."""
        self.limits = limits
        self.pools.limits = limits.pools

    def _move(self, ask: Ask, sign: int) -> None:
        self.in_flight += sign
        _count(self._models, ask.model, sign)
        _count(self._tenants, ask.tenant, sign)


def _count(counter: Counter[str], name: str, change: int) -> None:
    value = counter.get(name, 0) + change
    if value > 0:
        counter[name] = value
    else:  # names come and go; only those in use stay
        counter.pop(name, None)
