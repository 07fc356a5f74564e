"""Fairness between tenants: the service gap, and Jain's index."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from penstock.lab.engine import Replay
from penstock.lab.setup import Weights


def gap_unit(replay: Replay) -> float:
    """Twice `U = weighted largest prompt + 2 * slots * largest output`: a gap that fair queueing may reach.

    It cannot know how long the outputs of what it has let go will be (virtual token counters, OSDI 2024).
    """
    weights = replay.setup.weights
    prompt = max(one.request.prompt for one in replay.calls)
    output = max(one.request.output for one in replay.calls)
    return 2.0 * max(1.0, weights.prompt * prompt + weights.output * replay.setup.slots * output)


def service_gap(replay: Replay, shares: Mapping[str, float] | None = None) -> float:
    """Most that two tenants' service differs over any time in which both have something waiting throughout.

    Service is weighted tokens, divided by the tenant's share: prompts count at the start of a stay on a slot,
    output evenly until its end.
    """
    meter = _GapMeter(shares or {})
    for now, order, tenant, change in sorted(_moments(replay, replay.setup.weights)):
        meter.advance(tenant, now)
        if order == _WAITS:
            meter.queue(tenant, int(change), now)
        elif order == _JUMP:
            meter.serve(tenant, change, now)
        else:
            meter.pace(tenant, change)
    return meter.worst


_PACE, _JUMP, _WAITS = 0, 1, 2
# In this order at one instant: the call that empties a queue still counts as given to a tenant that waited.


def _moments(replay: Replay, weights: Weights) -> Iterable[tuple[float, int, str, float]]:
    """(instant, what, tenant, change) of everything that happens to a tenant."""
    last: dict[int, float] = {}
    for segment in sorted(replay.segments, key=lambda one: one.start):
        request = segment.call.request
        tenant = request.tenant
        waited_from = last.get(segment.call.row, segment.call.arrival)
        last[segment.call.row] = segment.end
        if segment.start > waited_from:
            yield waited_from, _WAITS, tenant, 1
            yield segment.start, _WAITS, tenant, -1
        yield segment.start, _JUMP, tenant, weights.prompt * segment.prompt
        pace = weights.output * segment.output / max(1e-9, segment.end - segment.start)
        yield segment.start, _PACE, tenant, pace
        yield segment.end, _PACE, tenant, -pace


class _GapMeter:
    """Service of each tenant as a broken line, and for each pair that waits how far it drifted apart."""

    def __init__(self, shares: Mapping[str, float]) -> None:
        self._share = shares
        self._service: dict[str, float] = defaultdict(float)
        self._pace: dict[str, float] = defaultdict(float)
        self._at: dict[str, float] = defaultdict(float)
        self._queued: dict[str, int] = defaultdict(int)
        self._drift: dict[str, dict[str, list[float]]] = {}
        """of tenants with a queue: per other one the least and the most that the first by name was ahead"""
        self.worst = 0.0

    def _now(self, tenant: str, now: float) -> float:
        return self._service[tenant] + self._pace[tenant] * (now - self._at[tenant])

    def advance(self, tenant: str, now: float) -> None:
        self._service[tenant] = self._now(tenant, now)
        self._at[tenant] = now
        self._compare(tenant, now)

    def pace(self, tenant: str, change: float) -> None:
        self._pace[tenant] += change / self._share.get(tenant, 1.0)

    def serve(self, tenant: str, amount: float, now: float) -> None:
        self._service[tenant] += amount / self._share.get(tenant, 1.0)
        self._compare(tenant, now)

    def queue(self, tenant: str, change: int, now: float) -> None:
        before = self._queued[tenant]
        self._queued[tenant] = before + change
        if not before and change > 0:
            self._drift[tenant] = {}
            mine = self._service[tenant]
            for other, pairs in self._drift.items():
                if other != tenant:
                    ahead = mine - self._now(other, now)
                    ahead = ahead if tenant < other else -ahead
                    pairs[tenant] = self._drift[tenant][other] = [ahead, ahead]
        elif before and not self._queued[tenant]:
            for other in self._drift.pop(tenant):
                self._drift[other].pop(tenant, None)

    def _compare(self, tenant: str, now: float) -> None:
        pairs = self._drift.get(tenant)
        if not pairs:
            return
        mine = self._service[tenant]
        for other, extremes in pairs.items():
            ahead = mine - self._now(other, now)
            ahead = ahead if tenant < other else -ahead
            if ahead < extremes[0]:
                extremes[0] = ahead
            elif ahead > extremes[1]:
                extremes[1] = ahead
            else:
                continue
            self.worst = max(self.worst, extremes[1] - extremes[0])


def jain(values: Sequence[float]) -> float:
    """Jain's fairness index: 1 when all are equal, 1 / n when one has everything."""
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 1.0
