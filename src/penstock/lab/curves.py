"""What plots are drawn from: how completions spread, and how long the line was."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.lab.calls import Call
from penstock.lab.engine import Replay

Curve = tuple[tuple[float, float], ...]
"""Points (x, y), x rising."""


def completion_curve(calls: Sequence[Call], points: int = 120) -> Curve:
    """(seconds, share of requests that took at most so long)."""
    line = sorted(one.completion for one in calls)
    places = sorted({round(step * (len(line) - 1) / points) for step in range(points + 1)})
    return tuple((line[place], (place + 1) / len(line)) for place in places)


def waiting_curve(replay: Replay, points: int = 160) -> Curve:
    """(seconds since the first arrival, requests in line: there, and on no slot)."""
    changes = [(one.arrival, 1) for one in replay.calls]
    changes += [(one.start, -1) for one in replay.segments]
    changes += [(one.end, 1) for one in replay.segments if one.end != one.call.finish]
    changes.sort()
    first = changes[0][0]
    width = max(1e-9, replay.makespan / points)
    curve: list[tuple[float, float]] = []
    waiting, place = 0, 0
    for point in range(points + 1):
        while place < len(changes) and changes[place][0] <= first + point * width:
            waiting += changes[place][1]
            place += 1
        curve.append((point * width, float(waiting)))
    return tuple(curve)
