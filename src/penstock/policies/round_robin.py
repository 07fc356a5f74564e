"""Turns of a time slice."""

from __future__ import annotations

from dataclasses import replace

from penstock.model.rank import Rank
from penstock.model.standing import Standing
from penstock.policies.base import Strategy, advanced, line_time
from penstock.policies.settings import positive

IN_TURN, IN_LINE = 0, 1
# Seconds per unit of service: of turns that begin at one instant, who has had less is ahead, where ties by
# id would let the same ones overtake at every lap.
TIE_BREAK = 1e-6


class RoundRobin(Strategy):
    """`time_slice` seconds of service, then to the back of the line at the end of the step.

    A step is never cut, so a turn lasts at most a slice and a step; what it took beyond its slice counts for
    the next one. The place in line is that of a turn which ended a slice after it began, so nobody overtakes
    by a short step. Hence of tasks that always want to go on no two ever differ by more than a slice and a
    step, as long as steps are no longer than slices; longer ones make turns of one step each.
    """

    name = "round_robin"
    preemptive = True

    def __init__(self, time_slice: float = 1.0) -> None:
        self.time_slice = positive("time_slice", time_slice)

    def rank(self, task: Standing, now: float) -> Rank:
        """Who is in a turn (`level` above 0) goes on."""
        return Rank(IN_TURN if task.level else IN_LINE, line_time(task))

    def stepped(self, task: Standing, service: float, seconds: float, now: float) -> Standing:
        after = advanced(task, service, seconds)
        began = task.turn_at if task.level else now - seconds
        if after.slice_used < self.time_slice:
            return replace(after, level=1, turn_at=began)
        slice_used = after.slice_used - self.time_slice
        turn_at = began + self.time_slice + TIE_BREAK * after.attained
        return replace(after, level=0, turn_at=turn_at, slice_used=slice_used)

    def overtaken_within(self, task: Standing) -> float:
        return self.time_slice
