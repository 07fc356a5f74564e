"""How an open task stands with the scheduler: its standing, its rank, and what it has used so far."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from penstock.model.clock import Clock
from penstock.model.rank import Rank
from penstock.model.standing import Standing, standing_text
from penstock.model.task import Claimed
from penstock.runtime.claim_holds import ClaimHold
from penstock.runtime.permit import Caller
from penstock.runtime.ranking import Ranker
from penstock.runtime.shares import Shares

# What is over sooner tells nothing of what a claim of its kind will take: stamps and the like.
NEXT_TO_NOTHING = 0.001


class Footing:
    """Follows one claimed task from step to step. `hold` is what its flow was charged for the claim, until
    the first reservation or step takes its place."""

    __slots__ = (
        "_begun",
        "_clock",
        "_ranker",
        "_shares",
        "_standing",
        "_steps",
        "hold",
        "seconds",
        "task",
        "tokens",
    )

    def __init__(self, task: Claimed, ranker: Ranker, shares: Shares, clock: Clock) -> None:
        self.task = task
        self._ranker = ranker
        self._shares = shares
        self._clock = clock
        self._standing: Standing | None = None
        self._steps = 0
        self._begun = clock.monotonic()
        self.hold: ClaimHold | None = None
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
        competes = self._ranker.preemptive or self._steps > 0 or self.standing.started
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

    @property
    def elapsed(self) -> float:
        """Seconds since the claim."""
        return self._clock.monotonic() - self._begun

    def comes_to_gate(self) -> None:
        """The attempt waits for the first time, without a slot."""
        if self.hold is not None:
            self._shares.holds.comes_to_gate(self.hold)

    @contextlib.contextmanager
    def in_line(self) -> Iterator[None]:
        """Around a wait before a step: until it has a slot, the flow has got nothing for what the claim
        holds."""
        hold = self.hold
        if hold is None or hold.ahead:
            yield
            return
        self._shares.holds.comes_to_gate(hold)
        yield
        self._shares.holds.has_slot(hold)

    def admitted(self, amount: float) -> None:
        """A reservation or a step was charged so much: it replaces what the claim held."""
        if self.hold is not None:
            self._shares.holds.reserved(self.hold, amount)
            self.hold = None

    def stepped(self, tokens: int, seconds: float) -> None:
        """A step is over, and its flow was charged for it: the task's rank may change."""
        self._steps += 1
        self.tokens += tokens
        self.seconds += seconds
        now = self._clock.wall()
        self._standing = self._ranker.stepped(self.standing, tokens, seconds, now)
        self.task.rank = self._ranker.policy.rank(self._standing, now)
        self._shares.keeper.stepped(self.task, self._standing)

    def worked(self, seconds: float) -> None:
        """A step that is no call is over: its flow is charged for it."""
        amount = self._ranker.service(0, seconds)
        if amount > 0:
            self._shares.charge(self.task.flow, amount)
            if seconds >= NEXT_TO_NOTHING:
                self.admitted(amount)
        self.stepped(0, seconds)

    def regrade(self) -> bool:
        """Rank the task by what its program attained meanwhile; whether that is another rank."""
        self._standing = self._ranker.latest(self.standing)
        rank = self._ranker.policy.rank(self._standing, self._clock.wall())
        changed, self.task.rank = rank != self.task.rank, rank
        return changed

    def ended(self, completed: bool) -> None:
        """The attempt is over; a task that made no call used its seconds."""
        if self.hold is not None:
            unsaid = max(0.0, self.elapsed - self.seconds)
            used = 0.0 if self.hold.ahead else self._ranker.service(0, unsaid)
            self._shares.ended(self.hold, used, completed)
            self.hold = None

    def whole(self) -> tuple[float | None, float | None]:
        """(tokens, seconds) that the task took over all its claims; `None`: nobody knows."""
        task, seconds = self.task, self.seconds or self.elapsed
        if task.crashes or (task.journaled and task.claim_no == 1):
            return None, None  # what was used before a crash, or by the task whose journal it has
        if task.claim_no == 1 or not self.standing.attained:
            return float(self.tokens), seconds
        attained = self.standing.attained
        return (attained, None) if self._ranker.unit == "tokens" else (None, attained)

    def text(self) -> str | None:
        """The standing to keep with a task that is put back; `None`: nothing changed."""
        return None if self._standing is None else standing_text(self._standing)
