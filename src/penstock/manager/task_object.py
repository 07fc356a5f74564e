"""A task as callbacks and status calls see it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from penstock.model.clock import iso_time
from penstock.model.states import TaskStatus
from penstock.model.task import TaskView
from penstock.model.usage import from_pico


@dataclass(frozen=True, slots=True)
class TaskMetrics:
    """What a task took: seconds, tokens, US dollars. Times are `None` until there is one."""

    queue_time: float | None
    execution_time: float | None
    tokens_used: int
    input_tokens: int
    output_tokens: int
    actual_cost: float
    retry_count: int


@dataclass(frozen=True, slots=True)
class AITask:
    """A task as it stood when it was looked at."""

    task_id: str
    task_type: str
    status: TaskStatus
    priority: int
    data: Any
    result: Any
    error: str | None
    error_code: str | None
    metadata: Any
    tags: tuple[str, ...]
    metrics: TaskMetrics
    created_at: float
    started_at: float | None
    completed_at: float | None
    progress: dict[str, Any] | None = None
    """the last that its handler told: `current`, `total` and `message`"""

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data; instants as ISO 8601 texts in UTC."""
        told = asdict(self)
        told["status"] = str(self.status)
        for name in ("created_at", "started_at", "completed_at"):
            told[name] = None if told[name] is None else iso_time(told[name])
        told["tags"] = list(self.tags)
        return told


def task_object(view: TaskView, now: float) -> AITask:
    """What the store knows of a task, in the words of the task manager."""
    error = (view.error or {}) if view.status.final else {}
    if view.status is TaskStatus.CANCELLED and not error:
        error = {"code": "cancelled", "message": "cancelled before it started"}
    return AITask(
        task_id=view.id,
        task_type=view.type,
        status=view.status,
        priority=view.priority,
        data=view.payload,
        result=view.result,
        error=str(error.get("message", "")) if error else None,
        error_code=str(error.get("code", "")) if error else None,
        metadata=view.metadata,
        tags=tuple(view.tags),
        metrics=_metrics(view, now),
        created_at=view.created_at,
        started_at=view.started_at,
        completed_at=view.finished_at,
        progress=view.progress,
    )


def _metrics(view: TaskView, now: float) -> TaskMetrics:
    begun, ended = view.started_at, view.finished_at
    first_chance = max(view.created_at, view.due_at or 0.0) if begun is None else view.created_at
    waited_until = begun if begun is not None else ended if ended is not None else now
    running = None if begun is None else max(0.0, (ended if ended is not None else now) - begun)
    return TaskMetrics(
        queue_time=max(0.0, waited_until - first_chance),
        execution_time=running,
        tokens_used=view.input_tokens + view.output_tokens,
        input_tokens=view.input_tokens,
        output_tokens=view.output_tokens,
        actual_cost=float(from_pico(view.cost)),
        retry_count=view.attempt - 1,
    )
