"""Every error Penstock raises on purpose. One `except PenstockError` catches them all.

PenstockError
├── ConfigurationError            a setting, an argument or a file that the user can mend
│   └── MissingExtra              an optional library is not installed
├── InvalidTask                   data that no handler would accept; refused at the door
│   ├── UnknownTaskType
│   ├── VersionMissing            the handler of the version that made a task's steps is not registered
│   ├── IdempotencyConflict       the same key was used with other data
│   ├── InvalidWorkflow           tasks whose form, names or order cannot be; says all that is wrong
│   │   └── InvalidPlan           the same of a plan that a model made, or that was given
│   └── ReferenceMissing          data name a part of a result that the result does not have
├── Refused                       legal, but not now or not within what was granted
│   ├── QueueFull
│   ├── BudgetExhausted
│   ├── PriceUnknown
│   └── RequestTooLarge           can never fit a limit
├── EventRefused                  an event or an answer that no task waits for or can take
├── ScheduleNotFound              there is no schedule of that name
├── StoreError                    the store cannot be used
│   ├── StoreBusy                 another process dispatches or holds the lock
│   ├── StoreTooNew               written by a newer version
│   ├── StoreReadOnly
│   ├── StoreFull                 the disk is full
│   └── StoreCorrupt
├── TaskError                     how a task ended, raised to whoever waits for it
│   ├── TaskFailed
│   ├── TaskCancelled
│   └── TaskNotFound
├── StepError                     raised inside a handler
│   ├── WorkflowFailed            what a workflow that did not complete ends with
│   ├── WorkflowStopped           nodes cannot join: the workflow was stopped
│   ├── CallFailed                the provider answered with an error, or not at all
│   ├── ReplyRejected             a reply did not pass `validate=`
│   ├── JournalMismatch           the code no longer fits what was recorded
│   ├── BlockingCall              a synchronous call on the event loop's own thread
│   ├── RecursionLimit            a graph took more steps than it may; tried again it would only go on
│   ├── WorkerLost                the process that ran a function died; the attempt is tried again
│   ├── StepKeyNeeded             arguments that cannot be hashed need a `key=`
│   ├── EventTimeout              what was waited for did not come in time; recorded
│   └── ChildFailed               a child task failed or was cancelled; recorded
└── WaitTimeout                   waiting for a task took longer than asked
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


class PenstockError(Exception):
    """Base of all errors of this package; `code` is stable, for machines."""

    code = "error"


class ConfigurationError(PenstockError):
    code = "configuration"


class MissingExtra(ConfigurationError):
    code = "missing_extra"

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(f"{library} is not installed; run: pip install 'penstock[{extra}]'")


class InvalidTask(PenstockError):
    """`fields` are the names of the fields of the data that are wrong, where it is known."""

    code = "invalid_task"

    def __init__(self, message: str = "", fields: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.fields = tuple(dict.fromkeys(fields))


class UnknownTaskType(InvalidTask):
    code = "unknown_task_type"


class VersionMissing(InvalidTask):
    code = "version_missing"


class IdempotencyConflict(InvalidTask):
    code = "idempotency_conflict"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong; `path` says where, as keys and places joined by dots: `nodes.2.after.0`."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class InvalidWorkflow(InvalidTask):
    """`problems` are all that was found, `text` the same for people (or a model) to mend it by."""

    code = "invalid_workflow"
    shown = 10
    what = "workflow"

    def __init__(self, problems: Sequence[Problem], name: str = "") -> None:
        self.problems = list(problems)
        self.text = "\n".join(map(str, self.problems))
        told = "; ".join(map(str, self.problems[: self.shown]))
        more = len(self.problems) - self.shown
        super().__init__(
            f"{self.what}{f' {name!r}' if name else ''}: {told}{f'; and {more} more' if more > 0 else ''}"
        )


class InvalidPlan(InvalidWorkflow):
    """The same of a plan that a model made, or that was given."""

    code = "invalid_plan"
    what = "plan"


class ReferenceMissing(InvalidTask):
    code = "reference_missing"


class Refused(PenstockError):
    code = "refused"


class QueueFull(Refused):
    code = "queue_full"


class BudgetExhausted(Refused):
    code = "budget_exhausted"


class PriceUnknown(Refused):
    code = "price_unknown"


class RequestTooLarge(Refused):
    code = "request_too_large"


class EventRefused(PenstockError):
    code = "event_refused"


class ScheduleNotFound(PenstockError):
    code = "schedule_not_found"


class StoreError(PenstockError):
    code = "store"


class StoreBusy(StoreError):
    code = "store_busy"


class StoreTooNew(StoreError):
    code = "store_too_new"


class StoreReadOnly(StoreError):
    code = "store_read_only"


class StoreFull(StoreError):
    code = "store_full"


class StoreCorrupt(StoreError):
    code = "store_corrupt"


class TaskError(PenstockError):
    """How a task ended; `task_id` names it and `reason` is the stable code of the failure."""

    code = "task"

    def __init__(self, message: str, task_id: str, reason: str = "") -> None:
        super().__init__(message)
        self.task_id = task_id
        self.reason = reason or self.code


class TaskFailed(TaskError):
    code = "task_failed"


class TaskCancelled(TaskError):
    code = "task_cancelled"


class TaskNotFound(TaskError):
    code = "task_not_found"


class StepError(PenstockError):
    code = "step"


class WorkflowFailed(StepError):
    """`code` says why: a node failed, its time was over, or nothing of its output is there."""

    code = "workflow_failed"

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code or self.code


class WorkflowStopped(StepError):
    code = "workflow_stopped"


class CallFailed(StepError):
    """A model call that ended without a usable reply.

    `status` is the HTTP status or `None` when nothing came back; `retryable` says whether the same request
    may work later, `retry_after` in how many seconds the provider asked for.
    """

    code = "call_failed"

    def __init__(
        self,
        message: str,
        *,
        reason: str,
        status: int | None = None,
        retryable: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.status = status
        self.retryable = retryable
        self.retry_after = retry_after


class ReplyRejected(StepError):
    code = "reply_rejected"


@dataclass(frozen=True, slots=True)
class StepShown:
    """A step as people tell it from others: the hash of its arguments, and its number among equal ones."""

    name: str
    digest: str
    occurrence: int = 0
    used: bool = False

    def __str__(self) -> str:
        again = f", time {self.occurrence + 1}" if self.occurrence else ""
        return f"{self.name} ({self.digest[:8]}{again})"


class JournalMismatch(StepError):
    """`recorded` are the steps of the scope as they were recorded, in order; `asked` what the code asked for
    in this run, the last of which was not recorded."""

    code = "journal_mismatch"

    def __init__(
        self, message: str, recorded: Sequence[StepShown] = (), asked: Sequence[StepShown] = ()
    ) -> None:
        super().__init__(message)
        self.recorded = tuple(recorded)
        self.asked = tuple(asked)


class BlockingCall(StepError):
    code = "blocking_call"


class RecursionLimit(StepError):
    code = "recursion_limit"


class WorkerLost(StepError):
    code = "worker_lost"


class StepKeyNeeded(StepError):
    code = "step_key_needed"


class EventTimeout(StepError):
    code = "event_timeout"


class ChildFailed(StepError):
    """A task that the handler started ended without a result. `task_id` names it, `error` is what became of
    it: {code, message, ...}."""

    code = "child_failed"

    def __init__(self, message: str, task_id: str, error: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.task_id = task_id
        self.error = error or {}


class WaitTimeout(PenstockError):
    code = "wait_timeout"


class Parked(BaseException):
    """Takes a handler off its slot; not an error, and not for handlers to catch (hence `BaseException`)."""
