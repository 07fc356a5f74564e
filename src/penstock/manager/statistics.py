"""How things stand: counts, limits and money, in time that does not grow with the backlog."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from penstock.manager.engine import Manager
from penstock.model.priority import Priority
from penstock.model.states import WAITING, TaskStatus
from penstock.model.usage import from_pico
from penstock.stores.contract import Tally

_NAMES = {int(one): one.name for one in Priority}
_PERIODS = (("total", "budget"), ("day", "daily_budget"), ("hour", "hourly_budget"))
_COST_NAMES = {"total": "total", "day": "daily", "hour": "hourly"}


def priority_name(priority: int) -> str:
    """LOW, MEDIUM, HIGH or URGENT, else the number."""
    return _NAMES.get(priority, str(priority))


def by_priority(tallies: Iterable[Tally]) -> dict[str, int]:
    """How many tasks wait at each priority, highest first; the four names are always there."""
    counts = Counter(dict.fromkeys(_NAMES, 0))
    for one in tallies:
        if one.status in WAITING:
            counts[one.priority] += one.count
    return {priority_name(priority): counts[priority] for priority in sorted(counts, reverse=True)}


def statistics(engine: Manager, paused: bool) -> dict[str, Any]:
    """The whole picture; see the reference for its shape."""
    tallies, totals = engine.peek(lambda reader: (reader.tallies(), reader.totals()))
    waiting = sum(one.count for one in tallies if one.status in WAITING)
    slots = engine.node.services.slots
    return {
        "status": {
            "running": True,
            "paused": paused,
            "uptime_seconds": max(0.0, engine.clock.wall() - engine.started_at),
        },
        "queue": {"size": waiting, "by_priority": by_priority(tallies)},
        "concurrency": {
            "running_tasks": slots.busy,
            "max_concurrent": slots.limit,
        },
        "rate_limit": rate_limits(engine),
        "cost": costs(engine),
        "tasks": _tasks(tallies),
        "performance": _performance(totals),
        "strategy": engine.ranker.policy.name,
    }


def rate_limits(engine: Manager) -> dict[str, dict[str, int | None]]:
    """What was used in the windows that end now, beside the limits that are set."""
    traffic, now, limits = engine.node.gate.traffic, engine.clock.monotonic(), engine.settings.limits
    return {
        name: {"current": getattr(traffic, name).sum(now), "limit": getattr(limits, name)}
        for name in ("requests_per_minute", "requests_per_hour", "tokens_per_minute")
    }


def costs(engine: Manager) -> dict[str, dict[str, float | None]]:
    """US dollars by period. `cost` is what was spent, uncertain money included; `remaining` takes off what is
    held for calls in flight, too."""
    ledger, limits = engine.node.gate.ledger, engine.settings.limits
    ledger.roll(engine.clock.monotonic())
    told: dict[str, dict[str, float | None]] = {}
    for period, setting in _PERIODS:
        spent, held, uncertain = ledger.spent(period)  # type: ignore[arg-type]
        cost = float(from_pico(spent + uncertain))
        limit = getattr(limits, setting)
        limit = None if limit is None else float(limit)
        left = None if limit is None else max(0.0, limit - cost - float(from_pico(held)))
        percentage = None if limit is None else 100.0 * cost / limit if limit else 100.0
        told[_COST_NAMES[period]] = {
            "cost": cost,
            "limit": limit,
            "remaining": left,
            "percentage": percentage,
        }
    return told


def _tasks(tallies: Iterable[Tally]) -> dict[str, Any]:
    by_status = Counter({status: 0 for status in TaskStatus})
    by_type: Counter[str] = Counter()
    for one in tallies:
        by_status[one.status] += one.count
        by_type[one.type] += one.count
    return {
        "total": by_status.total(),
        "by_status": {str(status): count for status, count in by_status.items()},
        "by_type": {type: count for type, count in sorted(by_type.items()) if count},
    }


def _performance(totals: dict[str, float]) -> dict[str, Any]:
    processed = int(totals.get("processed", 0))
    succeeded, failed = int(totals["completed"]), int(totals["failed"])
    judged = succeeded + failed
    return {
        "total_processed": judged,
        "total_succeeded": succeeded,
        "total_failed": failed,
        "success_rate": 100.0 * succeeded / judged if judged else 0.0,
        "average_queue_time": totals.get("queue_seconds", 0.0) / processed if processed else 0.0,
        "average_execution_time": totals.get("run_seconds", 0.0) / processed if processed else 0.0,
    }
