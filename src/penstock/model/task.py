"""A task on its way through the store: added, claimed, finished or put back."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from penstock.model.lane import Lane
from penstock.model.rank import Rank
from penstock.model.states import TaskStatus
from penstock.model.step import StepKey


class Omitted(Enum):
    """Stands for a large value that was not asked for."""

    OMITTED = "omitted"


OMITTED: Final = Omitted.OMITTED


@dataclass(slots=True)
class NewTask:
    """A task as it enters the store. Texts are JSON; seconds are seconds since the epoch.

    `error` makes it enter as already failed (a line of a file that is no request still ends in a file of
    results); `fingerprint` is a hash of type and data: the same idempotency key with another fingerprint is a
    conflict. It waits for the tasks of the ids in `after`, which may be in the same `add`. Not started at
    `expires_at`, it fails; its result is dropped `result_ttl` seconds after its end. With `debounce` seconds
    the task that holds its `unique_key`, unless claimed, takes on its data and starts that much later. With
    `inherit_journal` it gets the journal of `retry_of`; with `fork_before` only what was recorded before that
    step, and not inside of it. With an `ended_no` it enters as completed with `result` (and all that it needs
    has completed too); of several the one with the lowest counts as the first that ended.
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
    after: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    unique_key: str | None = None
    debounce: float | None = None
    expires_at: float | None = None
    result_ttl: float | None = None
    fork_before: tuple[StepKey, int] | None = None
    result: str | None = None
    ended_no: int | None = None

    @property
    def entered_as(self) -> str:
        """Its status on entry, unless it is blocked."""
        return "failed" if self.error is not None else "queued" if self.ended_no is None else "completed"


@dataclass(slots=True)
class Claimed:
    """A task that this node holds; `claim_no` is the fence of everything written for it.

    `freed_at`: when the last of the tasks that it waited for had ended. `seq` is the store's own number of
    the task. `journaled` says that steps may have been recorded before, so
    the journal must be read before the first step. `inputs` are (status, result) of the tasks that it waited
    for, where its data refer to them.
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
    freed_at: float | None = None
    inputs: dict[str, tuple[TaskStatus, str | None]] | None = None


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


@dataclass(frozen=True, slots=True)
class Ended:
    """Outcome of `finish`, true when it was `kept` (the claim still held).

    In `lanes` tasks became claimable by the ends of its batch, some not before `due_at`; those of the ids
    `failed` failed because of them, and the running ones of the numbers `doomed` are to be cancelled.
    """

    kept: bool
    lanes: tuple[int, ...] = ()
    due_at: float | None = None
    failed: tuple[str, ...] = ()
    doomed: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return self.kept


@dataclass(slots=True)
class Notice:
    """Something a running task tells, as an event of this `kind`. The last of kind `progress`, with the data
    {current, total, message}, is kept as the task's progress, that of `fallback` in its metadata."""

    seq: int
    claim_no: int
    at: float
    kind: str
    data: dict[str, Any] = field(default_factory=dict)


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


@dataclass(frozen=True, slots=True)
class TaskStanding:
    """How a running task stands after a step, for a crash: `standing` is JSON text."""

    seq: int
    claim_no: int
    rank: Rank
    standing: str | None


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
    """Outcome of `add`: an equal task with this idempotency key was there already, or one that holds the
    unique key. `due_at`: it was debounced and starts then."""

    id: str
    position: int | None = None
    due_at: float | None = None


@dataclass(slots=True)
class TaskView:
    """A task as people see it. `after` and `dependents` are ids of tasks that it needs and that need it, as
    far as they are still there; `subtasks`, where one task is asked for, those of the first 1,000 nodes that
    it leads and children that it started; `result_expired` says that its result was dropped after its
    `result_ttl`."""

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
    program: str | None = None
    unique_key: str | None = None
    expires_at: float | None = None
    result_expired: bool = False
    progress: dict[str, Any] | None = None
    tags: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    dependents: tuple[str, ...] = ()
    subtasks: tuple[str, ...] = ()
    steps: list[dict[str, Any]] = field(default_factory=list)
