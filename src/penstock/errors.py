"""Every error Penstock raises on purpose. One `except PenstockError` catches them all.

PenstockError
├── ConfigurationError            a setting, an argument or a file that the user can mend
│   └── MissingExtra              an optional library is not installed
├── InvalidTask                   data that no handler would accept; refused at the door
│   ├── UnknownTaskType
│   └── IdempotencyConflict       the same key was used with other data
├── Refused                       legal, but not now or not within what was granted
│   ├── QueueFull
│   ├── BudgetExhausted
│   ├── PriceUnknown
│   └── RequestTooLarge           can never fit a limit
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
│   ├── CallFailed                the provider answered with an error, or not at all
│   ├── ReplyRejected             a reply did not pass `validate=`
│   ├── JournalMismatch           strict mode: the code no longer fits what was recorded
│   ├── BlockingCall              a synchronous call on the event loop's own thread
│   ├── WorkerLost                the process that ran a function died; the attempt is tried again
│   └── StepKeyNeeded             arguments that cannot be hashed need a `key=`
└── WaitTimeout                   waiting for a task took longer than asked
"""

from __future__ import annotations


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
    code = "invalid_task"


class UnknownTaskType(InvalidTask):
    code = "unknown_task_type"


class IdempotencyConflict(InvalidTask):
    code = "idempotency_conflict"


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


class JournalMismatch(StepError):
    code = "journal_mismatch"


class BlockingCall(StepError):
    code = "blocking_call"


class WorkerLost(StepError):
    code = "worker_lost"


class StepKeyNeeded(StepError):
    code = "step_key_needed"


class WaitTimeout(PenstockError):
    code = "wait_timeout"


class Parked(BaseException):
    """Takes a handler off its slot; not an error, and not for handlers to catch (hence `BaseException`)."""
