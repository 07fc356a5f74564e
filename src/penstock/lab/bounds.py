"""Lower bounds: what no schedule on these slots can beat, and why."""

from __future__ import annotations

from collections import defaultdict
from heapq import heappop, heappush

from penstock.lab.service import ServiceModel
from penstock.lab.traces import Request, Trace


def lower_bound(trace: Trace, slots: int, service: ServiceModel) -> float:
    """Seconds of mean completion (of programs, where there are some) that any schedule takes at least.

    Two relaxations, the larger counts: nobody ever waits, so a request takes its service and a program its
    longest path with think times; and one machine `slots` times as fast that serves the shortest remaining
    work first, which is optimal there (Schrage 1968) and can imitate any schedule on the slots.
    """
    if trace.has_programs:
        arrivals, sizes, alone = _programs(trace, service)
    else:
        arrivals = [one.arrival for one in trace.requests]
        sizes = alone = [service.seconds(one) for one in trace.requests]
    return max(sum(alone) / len(alone), one_fast_machine(arrivals, [size / slots for size in sizes]))


def one_fast_machine(arrivals: list[float], sizes: list[float]) -> float:
    """Mean completion of jobs on one machine that always serves the shortest remaining one."""
    jobs = sorted(zip(arrivals, sizes, strict=True))
    waiting: list[tuple[float, float]] = []
    total, now = 0.0, 0.0
    for number, (arrival, size) in enumerate(jobs):
        now = max(now, arrival) if not waiting else arrival
        heappush(waiting, (size, arrival))
        until = jobs[number + 1][0] if number + 1 < len(jobs) else float("inf")
        while waiting and now < until:
            left, entered = heappop(waiting)
            if now + left <= until:
                now += left
                total += now - entered
            else:
                heappush(waiting, (left - (until - now), entered))
                now = until
    return total / len(jobs)


def _programs(trace: Trace, service: ServiceModel) -> tuple[list[float], list[float], list[float]]:
    """Per program: its arrival, its whole service, and its longest path."""
    arrival: dict[str, float] = {}
    size: dict[str, float] = defaultdict(float)
    longest: dict[str, float] = defaultdict(float)
    ends: dict[tuple[str, str], float] = {}
    pending: list[Request] = list(trace.requests)
    while pending:
        later = []
        for one in pending:
            name = one.program or f"#{one.row}"
            before = [ends.get((name, parent)) for parent in one.depends_on]
            if None in before:
                later.append(one)
                continue
            seconds = service.seconds(one)
            end = max((at for at in before if at is not None), default=-one.think) + one.think + seconds
            ends[name, one.call] = end
            arrival.setdefault(name, one.arrival)
            size[name] += seconds
            longest[name] = max(longest[name], end)
        if len(later) == len(pending):
            break  # a circle; the replay refuses it by name
        pending = later
    return (
        [arrival[name] for name in arrival],
        [size[name] for name in arrival],
        [longest[n] for n in arrival],
    )
