"""A task on its way through the store: added, claimed, finished or put back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from penstock.model.lane import Lane
from penstock.model.rank import Rank
from penstock.model.states import TaskStatus


@dataclass(slots=True)
class NewTask:
    """A task as it enters the store. Texts are JSON; seconds are seconds since the epoch.

    `error` makes it enter as already failed (a line of a file that is no request still ends in a file of
    results); `fingerprint` is a hash of type and data: the same idempotency key with another fingerprint is a
    conflict.
    """

    id: str
    type: str
    lane: Lane
    rank: Rank
    created_at: float
    payload: str | None = None
    priority: int = 20
    tenant: str = ""
    entered_at: float = 0.0
    due_at: float | None = None
    deadline: float | None = None
    options: str | None = None
    metadata: str | None = None
    idempotency_key: str | None = None
    fingerprint: str | None = None
    retry_of: str | None = None
    inherit_journal: bool = False
    batch: int | None = None
    position: int | None = None
    error: str | None = None
    flow: str | None = None
    standing: str | None = None
    program: str | None = None


@dataclass(slots=True)
class Claimed:
    """A task that this node holds; `claim_no` is the fence of everything written for it.

    `seq` is the store's own number of the task. `journaled` says that steps may have been recorded before, so
    the journal must be read before the first step.
    """

    seq: int
    id: str
    type: str
    lane: int
    tenant: str
    priority: int
    rank: Rank
    payload: str | None
    options: str | None
    metadata: str | None
    attempt: int
    claim_no: int
    crashes: int
    created_at: float
    entered_at: float
    started_at: float
    claimed_at: float
    deadline: float | None
    batch: int | None
    position: int | None
    journaled: bool
    flow: str | None = None
    standing: str | None = None
    program: str | None = None


@dataclass(slots=True)
class Finish:
    """The end of a task: `status` is final. `result` is JSON text, `error` JSON text `{code, message, ...}`.

    `keep` false drops payload, journal and (unless the task belongs to a batch that still has to write it)
    result.
    """

    task: Claimed
    status: TaskStatus
    at: float
    result: str | None = None
    error: str | None = None
    keep: bool = True


@dataclass(slots=True)
class PutBack:
    """A claimed task that goes back to wait.

    `status` is RETRYING (a failed attempt: `attempt` rises, `error` says why), QUEUED (put back or stopped;
    costs a claim, no attempt) or SUSPENDED. It may be claimed again at `due_at` (`None`: at once; a suspended
    task: not before something resumes it).
    """

    task: Claimed
    status: TaskStatus
    at: float
    rank: Rank
    due_at: float | None = None
    error: str | None = None
    flow: str | None = None
    standing: str | None = None


@dataclass(slots=True)
class Waiting:
    """A task that waits, as a policy must see it to rank it anew."""

    seq: int
    priority: int
    entered_at: float
    deadline: float | None
    tenant: str
    standing: str | None
    program: str | None


@dataclass(slots=True)
class Added:
    """Outcome of `add`: the task is durable under this id."""

    id: str
    seq: int
    lane: int


@dataclass(slots=True)
class Existing:
    """Outcome of `add`: an equal task with this idempotency key was there already."""

    id: str
    position: int | None = None


@dataclass(slots=True)
class TaskView:
    """A task as people see it."""

    seq: int
    id: str
    type: str
    model: str
    tenant: str
    priority: int
    status: TaskStatus
    rank: Rank
    ready: bool
    created_at: float
    due_at: float | None
    started_at: float | None
    finished_at: float | None
    deadline: float | None
    attempt: int
    claim_no: int
    crashes: int
    node: int | None
    lane: int
    payload: Any
    options: Any
    metadata: Any
    result: Any
    error: dict[str, Any] | None
    input_tokens: int
    output_tokens: int
    cost: int
    retry_of: str | None
    batch: int | None
    position: int | None
    finished_no: int | None
    steps: list[dict[str, Any]] = field(default_factory=list)
