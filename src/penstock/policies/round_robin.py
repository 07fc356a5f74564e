"""Turns of a time slice."""

from __future__ import annotations

from dataclasses import replace

from penstock.model.rank import Rank
from penstock.model.standing import Standing
from penstock.policies.base import Strategy, advanced, line_time
from penstock.policies.settings import positive

# Seconds per second since the last turn: who go to the back at one instant keep the order they had, where ties by id
# would let some overtake others at every lap.
KEPT_AHEAD = 1e-6


class RoundRobin(Strategy):
    """`time_slice` seconds of service, then to the back of the line at the end of the step.

    A step is never cut, so a turn lasts at most a slice and a step; what it took beyond its slice counts for
    the next one. So of tasks that always want to go on no two differ by more than a slice and a step, as long
    as steps are no longer than slices; longer steps make turns of one step each.
    """

    name = "round_robin"
    preemptive = True

    def __init__(self, time_slice: float = 1.0) -> None:
        self.time_slice = positive("time_slice", time_slice)

    def rank(self, task: Standing, now: float) -> Rank:
        return Rank(0, line_time(task))

    def stepped(self, task: Standing, service: float, seconds: float, now: float) -> Standing:
        after = advanced(task, service, seconds)
        if after.slice_used < self.time_slice:
            return after
        joined = line_time(task)
        turn_at = max(now, joined) - KEPT_AHEAD * max(0.0, now - joined)
        return replace(after, turn_at=turn_at, slice_used=after.slice_used - self.time_slice)

    def overtaken_within(self, task: Standing) -> float:
        return 0.0
