"""Weighted fair shares of the scarce unit per tenant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.errors import ConfigurationError
from penstock.model.rank import Policy, Rank
from penstock.model.standing import Standing
from penstock.policies.settings import positive, yes_or_no

# Farther apart than the bands of any strategy.
STARTED_FIRST = 1 << 40


class Fair:
    """The tenant that has had the least for its weight goes first; `inside` orders the tasks of each.

    Steps compete, for a share that waits until whole agents end is none: under an `inside` that is not
    preemptive the started tasks of a tenant go before its unstarted ones. With `preemptive` false shares
    are kept by what starts.
    """

    name = "fair"

    def __init__(
        self,
        inside: Policy,
        weights: Mapping[str, float] | None = None,
        default_weight: float = 1.0,
        preemptive: bool = True,
    ) -> None:
        if isinstance(inside, Fair):
            raise ConfigurationError("strategy fair takes any other strategy inside, not fair")
        if weights is not None and not isinstance(weights, Mapping):
            raise ConfigurationError(f"weights must map tenants to numbers above 0, not {weights!r}")
        self.inside = inside
        self.weights = {
            _tenant(tenant): positive(f"weight of tenant {tenant!r}", weight)
            for tenant, weight in (weights or {}).items()
        }
        self.default_weight = positive("default_weight", default_weight)
        self.preemptive = yes_or_no("preemptive", preemptive)
        self._started_first = self.preemptive and not inside.preemptive

    def rank(self, task: Standing, now: float) -> Rank:
        rank = self.inside.rank(task, now)
        if self._started_first and task.started:
            return Rank(rank.band - STARTED_FIRST, rank.key)
        return rank

    def stepped(self, task: Standing, service: float, seconds: float, now: float) -> Standing:
        return self.inside.stepped(task, service, seconds, now)

    def flow(self, task: Standing) -> str:
        return task.tenant

    def weight(self, flow: str) -> float:
        """The share of a tenant, relative to others."""
        return self.weights.get(flow, self.default_weight)


def _tenant(name: Any) -> str:
    if not isinstance(name, str):
        raise ConfigurationError(f"weights must map names of tenants to numbers above 0; {name!r} is no name")
    return name
