"""Workflows in the words of the REST routes."""

from __future__ import annotations

import json
from typing import Any

from penstock.manager.workflow_views import WorkflowProgress
from penstock.model.clock import iso_time
from penstock.model.group import MemberView
from penstock.model.task import TaskView
from penstock.model.usage import from_pico
from penstock.service.task_replies import task_reply

_SHOWN = ("name", "status", "created_at", "started_at", "completed_at", "result", "error", "error_code")


def workflow_reply(leader: TaskView, progress: WorkflowProgress, now: float) -> dict[str, Any]:
    """A workflow that has nodes, as `WorkflowReply` says."""
    task = task_reply(leader, now)
    ended = {name: getattr(progress, name) for name in ("completed", "failed", "cancelled")}
    return {
        "workflow": leader.id,
        "total": progress.total,
        "done": progress.total - progress.open,
        "progress": progress.fraction,
        "by_status": ended,
        "open": progress.open,
        "stopped_by": progress.stopped_by,
        **{name: task[name] for name in _SHOWN},
    }


def plain_reply(name: str, progress: dict[str, Any]) -> dict[str, Any]:
    """The tasks of a name, likewise."""
    nothing = dict.fromkeys((*_SHOWN, "stopped_by"))
    return {"workflow": name, **progress, "open": progress["total"] - progress["done"], **nothing}


def node_reply(one: MemberView) -> dict[str, Any]:
    """A node as `NodeReply` says."""
    error = {} if one.error is None else json.loads(one.error)
    return {
        "node": one.node,
        "task_id": one.id,
        "task_type": one.type,
        "status": str(one.status),
        "attempts": one.attempt,
        "created_at": iso_time(one.created_at),
        "freed_at": _instant(one.freed_at),
        "started_at": _instant(one.started_at),
        "completed_at": _instant(one.finished_at),
        "input_tokens": one.input_tokens,
        "output_tokens": one.output_tokens,
        "cost_usd": float(from_pico(one.cost)),
        "error": error.get("message"),
        "error_code": error.get("code"),
    }


def _instant(at: float | None) -> str | None:
    return None if at is None else iso_time(at)
