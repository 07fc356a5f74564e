"""What tasks wait for besides the gate: words of durable waits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from penstock.model.states import TaskStatus

APPROVAL = "approval:"
"""Begins the names of the events that answer approvals."""

INTERRUPT = "interrupt:"
"""Begins the names of the events that answer what a graph asks; its interrupt's id follows."""

EVENT, TASK, GROUP = "event:", "task:", "group:"
"""Begin what tasks wait for: an event by its name, the end of a task or of a group by its number."""

LONGEST_NAME = 200


def is_event_name(name: Any) -> bool:
    """Whether an event may have this name."""
    return isinstance(name, str) and 0 < len(name) <= LONGEST_NAME and name.isprintable()


def asked_name(what: str) -> str:
    """The name under which people answer what a task asks: that of an approval, or of another event."""
    return what.removeprefix(EVENT).removeprefix(APPROVAL)


@dataclass(frozen=True, slots=True)
class Wait:
    """What a handler waits for: `what` is `EVENT`, `TASK` or `GROUP` with a name or number behind it.

    It looks once more at `until` (seconds since the epoch). `question` is JSON text: what a person is asked.
    """

    what: str
    until: float | None = None
    question: str | None = None


@dataclass(frozen=True, slots=True)
class Await:
    """A wait of a task as the store knows it; `answered` says that its event is there, and not taken yet."""

    seq: int
    id: str
    type: str
    tenant: str
    status: TaskStatus
    what: str
    asked_at: float
    until: float | None
    question: str | None
    answered: bool = False


@dataclass(frozen=True, slots=True)
class Letter:
    """An event sent to a task. `data` is JSON text."""

    no: int
    name: str
    at: float
    data: str | None
    sender: str


@dataclass(frozen=True, slots=True)
class Effects:
    """What the verbs of a transaction set off besides their outcomes.

    `lanes`: tasks became claimable there, some not before `due_at`. `woken`: (seq, what) of running tasks for
    which something came that they wait for. `doomed`: running tasks that are to be cancelled. `ended`: tasks
    ended of which no outcome tells.
    """

    lanes: tuple[int, ...] = ()
    due_at: float | None = None
    woken: tuple[tuple[int, str], ...] = ()
    doomed: tuple[int, ...] = ()
    ended: bool = False

    def __bool__(self) -> bool:
        return bool(self.lanes or self.woken or self.doomed or self.ended or self.due_at is not None)
