"""How an open task stands with the scheduler: its standing, its rank, and what it has used so far."""

from __future__ import annotations

from penstock.model.clock import Clock
from penstock.model.rank import Rank
from penstock.model.standing import Standing, standing_text
from penstock.model.task import Claimed
from penstock.runtime.permit import Caller
from penstock.runtime.ranking import Ranker
from penstock.runtime.shares import Shares


class Footing:
    """Follows one claimed task from step to step. `charge` is what its flow was charged for the claim, until
    the first reservation takes its place."""

    __slots__ = ("_clock", "_ranker", "_shares", "_standing", "_steps", "charge", "seconds", "task", "tokens")

    def __init__(self, task: Claimed, ranker: Ranker, shares: Shares, clock: Clock) -> None:
        self.task = task
        self._ranker = ranker
        self._shares = shares
        self._clock = clock
        self._standing: Standing | None = None
        self._steps = 0
        self.charge = 0.0
        self.tokens = 0
        self.seconds = 0.0

    @property
    def standing(self) -> Standing:
        if self._standing is None:
            self._standing = self._ranker.standing(self.task)
        return self._standing

    @property
    def rank(self) -> Rank:
        return self.task.rank

    @property
    def steps(self) -> int:
        """How many steps this attempt has made."""
        return self._steps

    def caller(self, step: str = "") -> Caller:
        """The task as it stands in a line now."""
        task = self.task
        competes = self._ranker.preemptive or self._steps > 0 or task.standing is not None
        return Caller(
            task.rank,
            task.seq,
            task.claim_no,
            step,
            task.lane,
            0 if competes else 1,
            task.flow,
            self._steps > 0,
        )

    def admitted(self) -> None:
        """A reservation was made: it replaces what the claim held."""
        if self.charge:
            self._shares.correct(self.task.flow, -self.charge)
            self.charge = 0.0

    def stepped(self, tokens: int, seconds: float) -> None:
        """A step is over: the task's rank may change."""
        self._steps += 1
        self.tokens += tokens
        self.seconds += seconds
        now = self._clock.wall()
        self._standing = self._ranker.stepped(self.standing, tokens, seconds, now)
        self.task.rank = self._ranker.policy.rank(self._standing, now)

    def over(self, steps_before: int, seconds: float) -> None:
        """A step that is no call is over; calls made inside it counted themselves."""
        if self._steps == steps_before:
            self.stepped(0, seconds)

    def ended(self, seconds: float) -> None:
        """The attempt is over; a task that made no call used its seconds."""
        if self.charge:
            used = self._ranker.service(0, seconds) if self._ranker.unit == "seconds" else 0.0
            self._shares.correct(self.task.flow, used - self.charge)
            self.charge = 0.0

    def text(self) -> str | None:
        """The standing to keep with a task that is put back; `None`: nothing changed."""
        return None if self._standing is None else standing_text(self._standing)
