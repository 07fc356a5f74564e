"""Rank: the pair a policy gives a waiting task; the lowest goes first."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from penstock.model.standing import Standing


class Rank(NamedTuple):
    """Band first, then key; ties go by id."""

    band: int
    key: float


class Rankable(Protocol):
    """The least a task has while it waits. Seconds are seconds since the epoch."""

    @property
    def priority(self) -> int: ...
    @property
    def entered_at(self) -> float: ...
    @property
    def deadline(self) -> float | None: ...


class Policy(Protocol):
    """A scheduling strategy: a pure rule, evaluated when a task enters the line and after each of its steps.

    A rank that was given at an instant holds later or gets worse, never better: whoever asks again when a
    task comes to the head of its line serves the exact order without re-ranking what waits.
    """

    @property
    def name(self) -> str: ...

    @property
    def preemptive(self) -> bool:
        """Whether steps compete: at each step boundary the better-ranked waiting task takes the slot."""

    # A `Standing`; `Any`, because a line that knows no more than a `Rankable` serves simple policies too.
    def rank(self, task: Any, now: float) -> Rank:
        """The place of `task` in its line, or in the line of its flow; lowest first."""

    def stepped(self, task: Standing, service: float, seconds: float, now: float) -> Standing:
        """The standing after a step that took `service` (scarce unit) and `seconds`, and ended at `now`."""

    def flow(self, task: Standing) -> str | None:
        """What shares are measured by: its flow, or `None` where all stand in one line."""
