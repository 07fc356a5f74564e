"""What a replay is judged by."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from penstock.lab.calls import Call
from penstock.lab.engine import Replay
from penstock.lab.fairness import gap_unit, jain, service_gap


@dataclass(frozen=True, slots=True)
class Spread:
    """Of one quantity in seconds: mean, median, 95th and 99th percentile, and the most."""

    mean: float
    p50: float
    p95: float
    p99: float
    most: float


@dataclass(frozen=True, slots=True)
class Metrics:
    """Shares are 0..1. Seconds are of virtual time. `None`: the trace or the run says nothing about it."""

    completion: Spread
    wait: Spread
    slowdown_slo: float
    """share of requests that ended within five times their service"""
    deadline_slo: float | None
    """share of requests with a deadline that ended before it"""
    goodput: float
    """output tokens per second of requests that kept their deadline; without one, five times their service"""
    utilisation: float
    """share of slot time that was busy, from the first arrival to the last end"""
    gap: float | None
    """largest service gap between two tenants that wait, in units of the bound of fair queueing"""
    jain: float | None
    """over tenants, of their mean of service divided by completion"""
    program: Spread | None
    """completion of whole programs"""
    urgent_wait_p95: float
    """95th percentile of the wait of the highest priority"""
    preemptions: int


def measure(replay: Replay, fairness: bool = True) -> Metrics:
    """Everything at once; without `fairness` the two figures that compare tenants are left out."""
    calls = replay.calls
    compared = fairness and len({one.request.tenant for one in calls}) > 1
    deadlines = [_kept(one) for one in calls if one.request.deadline is not None]
    good = sum(one.request.output for one in calls if _good(one))
    makespan = max(1e-9, replay.makespan)
    top = max(one.request.priority for one in calls)
    return Metrics(
        completion=spread([one.completion for one in calls]),
        wait=spread([one.wait for one in calls]),
        slowdown_slo=sum(_swift(one) for one in calls) / len(calls),
        deadline_slo=sum(deadlines) / len(deadlines) if deadlines else None,
        goodput=good / makespan,
        utilisation=sum(one.service for one in calls) / (replay.setup.slots * makespan),
        gap=service_gap(replay) / gap_unit(replay) if compared else None,
        jain=jain(_paces(calls)) if compared else None,
        program=_programs(replay),
        urgent_wait_p95=spread([one.wait for one in calls if one.request.priority == top]).p95,
        preemptions=replay.preemptions,
    )


def spread(values: Sequence[float]) -> Spread:
    """Percentiles are interpolated between neighbours."""
    line = sorted(values)
    return Spread(
        sum(line) / len(line), quantile(line, 0.5), quantile(line, 0.95), quantile(line, 0.99), line[-1]
    )


def quantile(line: Sequence[float], part: float) -> float:
    """The value below which `part` of the sorted `line` lies."""
    place = part * (len(line) - 1)
    low = int(place)
    high = min(low + 1, len(line) - 1)
    return line[low] + (line[high] - line[low]) * (place - low)


def _swift(call: Call) -> bool:
    return call.completion <= 5.0 * call.service


def _kept(call: Call) -> bool:
    return call.request.deadline is not None and call.completion <= call.request.deadline


def _good(call: Call) -> bool:
    return _swift(call) if call.request.deadline is None else _kept(call)


def _paces(calls: Sequence[Call]) -> list[float]:
    """Per tenant the mean of service / completion: 1 for one that never waits."""
    paces: dict[str, list[float]] = defaultdict(list)
    for one in calls:
        paces[one.request.tenant].append(one.service / one.completion if one.completion else 1.0)
    return [sum(one) / len(one) for one in paces.values()]


def _programs(replay: Replay) -> Spread | None:
    if not replay.trace.has_programs:
        return None
    ends: dict[str, float] = {}
    entered: dict[str, float] = {}
    for one in replay.calls:
        name = one.request.program or f"#{one.row}"
        ends[name] = max(ends.get(name, 0.0), one.finish)
        entered.setdefault(name, one.request.arrival)
    return spread([ends[name] - entered[name] for name in ends])
