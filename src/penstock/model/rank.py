"""Rank: the pair a policy gives a waiting task; the lowest goes first."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Rank(NamedTuple):
    """Band first, then key; ties go by id."""

    band: int
    key: float


class Rankable(Protocol):
    """What a policy may look at before a task has begun. Seconds are seconds since the epoch."""

    @property
    def priority(self) -> int: ...
    @property
    def entered_at(self) -> float: ...
    @property
    def deadline(self) -> float | None: ...


class Policy(Protocol):
    """A scheduling strategy: a pure rule, evaluated when a task enters the line and after its steps."""

    @property
    def name(self) -> str: ...

    @property
    def preemptive(self) -> bool:
        """Whether steps of started tasks compete with unstarted tasks."""

    def rank(self, task: Rankable, now: float) -> Rank: ...
