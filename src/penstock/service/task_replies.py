"""Tasks in the words of the REST routes."""

from __future__ import annotations

from typing import Any

from penstock.manager.task_object import task_object
from penstock.model.clock import iso_time
from penstock.model.task import OMITTED, TaskView
from penstock.service.labels import (
    ESTIMATED_TIME,
    NAME,
    WEBHOOK,
    batch_of,
    label,
    shown_metadata,
    shown_tags,
    workflow_name,
)
from penstock.workflows.coordinator import TYPE as WORKFLOW_TYPE


def task_reply(view: TaskView, now: float) -> dict[str, Any]:
    """The task as `TaskReply` says."""
    task = task_object(view, now)
    metrics = task.metrics
    return {
        "id": view.id,
        "name": label(view.metadata, NAME) or _own_name(view) or view.type,
        "priority": view.priority,
        "status": str(view.status),
        "task_type": view.type,
        "created_at": iso_time(view.created_at),
        "started_at": _instant(view.started_at),
        "completed_at": _instant(view.finished_at),
        "wait_time": metrics.queue_time,
        "execution_time": metrics.execution_time,
        "estimated_time": label(view.metadata, ESTIMATED_TIME),
        "result": None if view.result is OMITTED else view.result,
        "result_omitted": view.result is OMITTED,
        "result_expired": view.result_expired,
        "error": task.error,
        "error_code": task.error_code,
        "retry_count": metrics.retry_count,
        "tags": shown_tags(task.tags),
        "dependencies": list(view.after),
        "dependents": list(view.dependents),
        "subtasks": list(view.subtasks),
        "metadata": shown_metadata(view.metadata),
        "progress": view.progress,
        "tenant": view.tenant,
        "workflow": workflow_name(view.tenant, view.program),
        "batch_id": batch_of(task.tags),
        "deadline": _instant(view.deadline),
        "due_at": _instant(view.due_at),
        "model": view.model,
        "input_tokens": view.input_tokens,
        "output_tokens": view.output_tokens,
        "cost_usd": metrics.actual_cost,
        "retry_of": view.retry_of,
        "webhook": label(view.metadata, WEBHOOK),
    }


def result_reply(view: TaskView, now: float) -> dict[str, Any]:
    """The task's end as `ResultReply` says."""
    task = task_object(view, now)
    return {
        "task_id": view.id,
        "status": str(view.status),
        "done": view.status.final,
        "result": view.result,
        "error": task.error,
        "error_code": task.error_code,
    }


def _own_name(view: TaskView) -> str | None:
    """What a workflow is called."""
    name = view.metadata.get("name") if isinstance(view.metadata, dict) else None
    return name if view.type == WORKFLOW_TYPE and isinstance(name, str) else None


def _instant(at: float | None) -> str | None:
    return None if at is None else iso_time(at)
