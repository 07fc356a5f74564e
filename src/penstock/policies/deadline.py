"""Earliest deadline first, without wasting service on what can no longer make it."""

from __future__ import annotations

from typing import Protocol

from penstock.model.rank import Rank, Rankable
from penstock.model.standing import Standing
from penstock.policies.base import Strategy
from penstock.policies.settings import yes_or_no

IN_TIME, NO_DEADLINE, HOPELESS = 0, 1, 2


class Deadline(Strategy):
    """Earliest deadline first; tasks without one after them, in arrival order; hopeless tasks last.

    Hopeless is what could not make its deadline if it began now and took its estimate. A late result is
    worth less than that of a task nobody set a deadline for, hence the order of the bands. Asked again when
    a task comes to the head, the rule is exact. Nothing is promised to tasks without a deadline, or to
    hopeless ones, under overload.
    """

    name = "deadline"

    def __init__(self, preemptive: bool = False) -> None:
        self.preemptive = yes_or_no("preemptive", preemptive)

    def rank(self, task: Standing, now: float) -> Rank:
        if task.deadline is None:
            return Rank(NO_DEADLINE, task.entered_at)
        return Rank(HOPELESS if hopeless(task, now) else IN_TIME, task.deadline)


def hopeless(task: Standing, now: float) -> bool:
    """Whether the task would miss its deadline even if it went on at once."""
    return task.deadline is not None and now + task.seconds_left > task.deadline


def expired(task: Rankable, now: float) -> bool:
    """Whether no time is left before the deadline; a task that has not started by then fails as expired."""
    return task.deadline is not None and now >= task.deadline


class Due(Protocol):
    """What may have a deadline."""

    @property
    def deadline(self) -> float | None: ...


def lateness(task: Due, finished_at: float) -> float | None:
    """Seconds by which a deadline was missed, 0 when it was kept, `None` where there is none."""
    return None if task.deadline is None else max(0.0, finished_at - task.deadline)
