"""Tasks, reservations and events as data for machines and as lines for people."""

from __future__ import annotations

import time
from typing import Any

from penstock.cli.show_text import clock_time, coloured, iso, money, number, span, usd
from penstock.model.reservation import ReservationView
from penstock.model.states import TaskStatus
from penstock.model.task import TaskView
from penstock.policies.deadline import lateness
from penstock.stores.contract import Event

TASK_TITLES = ("ID", "STATUS", "TYPE/MODEL", "PRIO", "AGE", "TRY", "TOKENS", "COST", "ERROR")
TASK_FIGURES = (3, 4, 5, 6, 7)


def task_data(task: TaskView) -> dict[str, Any]:
    """What a list shows of a task; money in US dollars, instants in UTC."""
    return {
        "id": task.id,
        "status": task.status.value,
        "type": task.type,
        "model": task.model or None,
        "tenant": task.tenant,
        "priority": task.priority,
        "attempt": task.attempt,
        "crashes": task.crashes,
        "created_at": iso(task.created_at),
        "due_at": iso(task.due_at),
        "started_at": iso(task.started_at),
        "finished_at": iso(task.finished_at),
        "deadline": iso(task.deadline),
        "lateness_seconds": lateness(task, _ended_at(task, time.time())),
        "input_tokens": task.input_tokens,
        "output_tokens": task.output_tokens,
        "cost_usd": usd(task.cost),
        "error": task.error,
        "retry_of": task.retry_of,
        "batch": task.batch,
        "position": task.position,
    }


def task_row(task: TaskView, now: float) -> list[str]:
    return [
        task.id,
        task.status.value,
        kind(task),
        str(task.priority),
        span(now - task.created_at),
        str(task.attempt),
        number(task.input_tokens + task.output_tokens),
        money(task.cost),
        error_code(task),
    ]


def deadline_text(task: TaskView, now: float) -> str:
    """How a task stands with its deadline: in 4 min, kept, 3 min late; empty where there is none."""
    late = lateness(task, _ended_at(task, now))
    if task.deadline is None or late is None:
        return ""
    if late > 0:
        return f"{span(late)} late"
    return "kept" if task.status.final else f"in {span(task.deadline - now)}"


def _ended_at(task: TaskView, now: float) -> float:
    return now if task.finished_at is None else task.finished_at


def coloured_row(task: TaskView, line: str) -> str:
    """The line of a table with the task's status in its colour."""
    status = task.status.value
    return line.replace(f"  {status}", "  " + coloured(task.status, status), 1)


def kind(task: TaskView) -> str:
    """Type and model: llm/gpt-4o."""
    return f"{task.type}/{task.model}" if task.model else task.type


def error_code(task: TaskView) -> str:
    return str((task.error or {}).get("code", "")) if task.status is not TaskStatus.COMPLETED else ""


def error_text(task: TaskView) -> str:
    """Code and message of the last failure; empty when there was none."""
    if not task.error:
        return ""
    code, message = task.error.get("code", "error"), task.error.get("message", "")
    return f"{code}: {message}" if message else str(code)


def reservation_data(held: ReservationView) -> dict[str, Any]:
    return {
        "id": held.id,
        "state": held.state.value,
        "task": held.task_id,
        "model": held.model,
        "endpoint": held.endpoint,
        "tenant": held.tenant,
        "at": iso(held.at),
        "done_at": iso(held.done_at),
        "input_tokens": held.input_held,
        "output_tokens": held.output_held,
        "cost_usd": usd(held.cost_held),
    }


def reservation_row(held: ReservationView) -> list[str]:
    return [
        str(held.id),
        held.state.value,
        held.model,
        clock_time(held.at),
        number(held.input_held + held.output_held),
        money(held.cost_held),
    ]


def event_data(event: Event) -> dict[str, Any]:
    return {"no": event.no, "at": iso(event.at), "kind": event.kind, "data": event.data}


def event_text(event: Event) -> str:
    """What an event adds to its kind: attempt 2; timeout: too slow."""
    parts = []
    for name, value in event.data.items():
        if name == "error" and isinstance(value, dict):
            parts.append(f"{value.get('code', 'error')}: {value.get('message', '')}")
        elif name.endswith("_at") and isinstance(value, int | float):
            parts.append(f"{name.removesuffix('_at')} {clock_time(value)}")
        else:
            parts.append(f"{name} {value}")
    return ", ".join(parts)
