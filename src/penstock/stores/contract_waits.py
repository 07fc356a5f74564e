"""What a store promises of durable waits: events, approvals, children, and those whom they wake."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from penstock.errors import PenstockError
from penstock.model.waits import Await, Effects, Letter, Wait


class AwaitReader(Protocol):
    """What is asked of durable waits."""

    def awaits(self, task: int) -> list[Await]:
        """What a task waits for, by `what`."""

    def approvals(self, tenant: str | None = None, after: float = 0.0, limit: int = 1000) -> list[Await]:
        """Questions that nobody has answered yet, asked later than `after`, the oldest first."""

    def children(self, seq: int, limit: int = 1000) -> list[tuple[str, bool]]:
        """(id, detached) of the tasks that a task started and that are still there, in order."""

    def parent(self, seq: int) -> str | None:
        """The id of the task that started this one."""


class AwaitWriter(Protocol):
    """Waiting, and ending the waits of others.

    With a task's end its waits and untaken events are dropped, `task:SEQ` is woken, and unless it completed
    its children that have not ended and are not detached are cancelled, all in the transaction of the end.
    A task that is put back as suspended while something has come for it that it waits for is queued instead.
    """

    def holds(self, seq: int, claim_no: int) -> bool:
        """Whether the task is still held under this claim."""

    def begin_wait(self, seq: int, claim_no: int, wait: Wait, now: float) -> bool:
        """Note what a running task waits for, before looking in the same transaction whether it is there
        already; fenced. Of one that waits for it already only `until` and `question` change."""

    def end_wait(self, seq: int, what: str) -> None:
        """The task does not wait for this any more."""

    def wake(self, whats: Sequence[str], at: float) -> None:
        """What all tasks that wait for any of these wait for may have come: suspended ones become claimable,
        for running ones it is noted."""

    def deliver(
        self, id: str, name: str, data: str | None, sender: str, now: float
    ) -> Letter | PenstockError:
        """Keep an event for a task until it takes it, and wake `event:NAME` of that task; `data` is JSON
        text. Answered with `TaskNotFound`, or `EventRefused` when the task has ended or too many events wait
        for it."""

    def decide(self, id: str, name: str | None, data: str, sender: str, now: float) -> Letter | PenstockError:
        """Deliver the answer to an approval that the task asks for; to its only one without a name. Answered
        with `EventRefused` when it asks for none of that name, for several, or was answered already."""

    def take(self, seq: int, name: str) -> Letter | None:
        """Remove the oldest event of that name from those kept for the task."""

    def adopt(self, parent: int, child: int, detached: bool = False, joined: bool = False) -> None:
        """A task is the child of another, unless it is that of one already: it is kept until its parent has
        ended. With `joined` it was there already, perhaps as the child of another, and is kept until all its
        parents have ended; it is not for this one to cancel it, unless the one that started it fails or is
        cancelled first: then it goes on as the child of the next."""

    def woken(self) -> list[tuple[int, str]]:
        """(seq, what) of running tasks for which something came that they wait for, and who have not looked
        since."""

    def effects(self) -> Effects:
        """What the verbs of this transaction set off so far, of which their outcomes do not tell; told
        once."""
