"""The states of a task and the table of its legal moves."""

from __future__ import annotations

from enum import StrEnum


class TaskStatus(StrEnum):
    """Where a task stands. `COMPLETED`, `FAILED` and `CANCELLED` are final."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    RETRYING = "retrying"
    BLOCKED = "blocked"
    SUSPENDED = "suspended"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        return self in FINAL


FINAL = frozenset({TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED})

# Waiting in the line: a claim may take them once they are due.
CLAIMABLE = frozenset({TaskStatus.QUEUED, TaskStatus.RETRYING})

# What waits and may be paused; who is suspended is suspended again by a resume, unless something came for it.
PAUSABLE = frozenset({*CLAIMABLE, TaskStatus.BLOCKED, TaskStatus.SUSPENDED})

# Neither final nor in a handler: what a pause, a cancel or a prune may touch without asking a node.
WAITING = frozenset(
    {TaskStatus.QUEUED, TaskStatus.RETRYING, TaskStatus.PAUSED, TaskStatus.BLOCKED, TaskStatus.SUSPENDED}
)

# Where a task may begin: one that needs others is blocked, or fails with one that failed before; a node of a
# workflow that is tried again may have completed already.
ENTRIES = frozenset({TaskStatus.QUEUED, TaskStatus.BLOCKED, TaskStatus.FAILED, TaskStatus.COMPLETED})

MOVES: dict[TaskStatus, frozenset[TaskStatus]] = {
    TaskStatus.QUEUED: frozenset(
        {TaskStatus.RUNNING, TaskStatus.PAUSED, TaskStatus.CANCELLED, TaskStatus.FAILED}  # failed: expired
    ),
    TaskStatus.RETRYING: frozenset(
        {TaskStatus.RUNNING, TaskStatus.PAUSED, TaskStatus.CANCELLED, TaskStatus.FAILED}
    ),
    TaskStatus.RUNNING: frozenset(
        {
            TaskStatus.COMPLETED,
            TaskStatus.FAILED,
            TaskStatus.CANCELLED,
            TaskStatus.RETRYING,
            TaskStatus.QUEUED,  # put back or rescued
            TaskStatus.SUSPENDED,
        }
    ),
    TaskStatus.PAUSED: frozenset(
        {
            TaskStatus.QUEUED,
            TaskStatus.RETRYING,
            TaskStatus.BLOCKED,  # what it needs has not ended yet
            TaskStatus.SUSPENDED,  # what it waits for has not come yet
            TaskStatus.CANCELLED,
            TaskStatus.FAILED,
        }
    ),
    TaskStatus.BLOCKED: frozenset(
        {TaskStatus.QUEUED, TaskStatus.PAUSED, TaskStatus.CANCELLED, TaskStatus.FAILED}
    ),
    TaskStatus.SUSPENDED: frozenset(
        {TaskStatus.QUEUED, TaskStatus.PAUSED, TaskStatus.CANCELLED, TaskStatus.FAILED}
    ),
    TaskStatus.COMPLETED: frozenset(),
    TaskStatus.FAILED: frozenset(),
    TaskStatus.CANCELLED: frozenset(),
}
