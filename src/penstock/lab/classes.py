"""What a trace does not say: service classes, deadlines, tenants and how wrong estimates are. Seeded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from math import exp
from random import Random
from typing import TypeVar

from penstock.errors import ConfigurationError
from penstock.lab.traces import Trace

T = TypeVar("T")
MOST_NOISE = 10.0
"""standard deviation of the logarithm; estimates that are off by a factor of 22,000 say nothing any more"""


@dataclass(frozen=True, slots=True)
class ServiceClass:
    """A share of the requests, its priority (0..100, highest first) and its deadline after arrival."""

    share: float
    priority: int
    deadline_seconds: float


CLASSES = (ServiceClass(0.3, 30, 30.0), ServiceClass(0.4, 20, 120.0), ServiceClass(0.3, 10, 1200.0))
"""Three classes of equal distance in priority."""


@dataclass(frozen=True, slots=True)
class Fill:
    """What to draw where the trace is silent. Every kind of draw has a stream of its own, so that asking for
    tenants does not change the classes."""

    seed: int = 0
    classes: Sequence[ServiceClass] = CLASSES
    noise_sigma: float = 0.0
    """standard deviation of the logarithm of estimate / truth; 0: estimates are exact"""
    tenants: int = 20
    zipf: float = 1.2
    """tenant k arrives in proportion to `1 / k ** zipf`"""

    def __post_init__(self) -> None:
        if not 0 <= self.noise_sigma <= MOST_NOISE or self.tenants < 1:
            raise ConfigurationError(
                f"estimate noise is a number from 0 to {MOST_NOISE:g}, and there is at least one tenant"
            )
        if not self.classes or min(one.share for one in self.classes) < 0:
            raise ConfigurationError("service classes have shares of at least 0")


def filled(trace: Trace, fill: Fill) -> Trace:
    """The trace with classes, deadlines, tenants and estimate noise where it gives none.

    Calls of one program are of one class and one tenant.
    """
    count = len(trace.requests)
    classes = _drawn(fill.classes, [one.share for one in fill.classes], count, f"{fill.seed}:class")
    names = [f"t{number:02d}" for number in range(1, fill.tenants + 1)]
    weights = [1.0 / number**fill.zipf for number in range(1, fill.tenants + 1)]
    tenants = _drawn(names, weights, count, f"{fill.seed}:tenant")
    noise = Random(f"{fill.seed}:noise")
    has_classes = any(one.deadline is not None or one.priority != 20 for one in trace.requests)
    has_tenants = any(one.tenant for one in trace.requests)
    first: dict[str, int] = {}
    requests = []
    for number, one in enumerate(trace.requests):
        place = first.setdefault(one.program, number) if one.program else number
        drawn = noise.gauss(0.0, 1.0)
        requests.append(
            replace(
                one,
                tenant=one.tenant if has_tenants else tenants[place],
                priority=one.priority if has_classes else classes[place].priority,
                deadline=one.deadline if has_classes else classes[place].deadline_seconds,
                noise=one.noise * exp(fill.noise_sigma * drawn) if fill.noise_sigma else one.noise,
            )
        )
    return replace(trace, requests=tuple(requests))


def _drawn(values: Sequence[T], weights: Sequence[float], count: int, stream: str) -> list[T]:
    return Random(stream).choices(values, cum_weights=list(accumulate(weights)), k=count)
