"""Everything that `get_statistics()` tells, for people."""

from typing import Any


def describe(statistics: dict[str, Any]) -> str:
    """A page of text with every figure."""
    status, queue, slots = statistics["status"], statistics["queue"], statistics["concurrency"]
    lines = [
        f"running {status['running']}, paused {status['paused']}, up {status['uptime_seconds']:.1f} s",
        f"queue: {queue['size']} wait {queue['by_priority']}",
        f"slots: {slots['running_tasks']} of {slots['max_concurrent']} in use",
    ]
    for name in ("requests_per_minute", "requests_per_hour", "tokens_per_minute"):
        limit = statistics["rate_limit"][name]
        lines.append(f"{name}: {limit['current']} of {limit['limit'] or 'any number'}")
    for name in ("total", "daily", "hourly"):
        cost = statistics["cost"][name]
        told = f"{name} cost: {cost['cost']:.6f} USD"
        if cost["limit"] is not None:
            told += f" of {cost['limit']:.6f} ({cost['percentage']:.1f} %, {cost['remaining']:.6f} left)"
        lines.append(told)
    tasks, performance = statistics["tasks"], statistics["performance"]
    lines += [
        f"tasks: {tasks['total']} in all, {tasks['by_status']}, {tasks['by_type']}",
        f"processed {performance['total_processed']}: {performance['total_succeeded']} well, "
        f"{performance['total_failed']} not ({performance['success_rate']:.1f} %)",
        f"on average {performance['average_queue_time']:.3f} s in the queue, "
        f"{performance['average_execution_time']:.3f} s at work",
    ]
    return "\n".join(lines)
