"""Workflows as lines for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from penstock.cli.show_text import clock_time, coloured, heading, number, span, table
from penstock.model.states import TaskStatus

_TITLES = ("NODE", "STATUS", "TYPE", "TRY", "QUEUED", "RAN", "TOKENS", "COST", "TASK", "ERROR")
_ERROR = 60


def progress_line(told: dict[str, Any]) -> str:
    """12 of 40 nodes done, 1 failed."""
    others = [
        f"{number(count)} {status}"
        for status, count in told["by_status"].items()
        if count and status != "completed"
    ]
    stopped = [f"stopped by {told['stopped_by']}"] if told["stopped_by"] else []
    counts = f"{number(told['done'])} of {number(told['total'])} nodes done"
    return ", ".join([f"{told['status']}: {counts}", *others, *stopped])


def budget_lines(told: dict[str, Any]) -> list[str]:
    """What a workflow may use in all, and what it has used."""
    limit, cap = told["budget"], told["max_tokens"]
    unsure = f", {_usd(told['uncertain'])} uncertain" if told["uncertain"] else ""
    unsure_tokens = f", {number(told['uncertain_tokens'])} uncertain" if told["uncertain_tokens"] else ""
    if limit is None and cap is None and not told["spent"] and not told["tokens"]:
        return [f"workflow {told['workflow']} has no budget"]
    return [
        f"workflow {told['workflow']}",
        f"  budget  {'no limit' if limit is None else _usd(limit)}, {_usd(told['spent'])} spent{unsure}",
        f"  tokens  {'no limit' if cap is None else number(cap)}, {number(told['tokens'])} used"
        f"{unsure_tokens}",
    ]


def _usd(amount: float) -> str:
    return f"${Decimal(str(amount)).normalize():f}"


def shown_lines(told: dict[str, Any], nodes: Sequence[dict[str, Any]], now: float) -> list[str]:
    """How far it is, and a table of its nodes."""
    status = TaskStatus(told["status"])
    lines = [
        f"{heading('workflow ' + told['workflow'])}  {told['name']}  {coloured(status, status.value)}",
        f"  {progress_line(told)}",
        f"  entered   {clock_time(_at(told['created_at']))}",
    ]
    finished = _at(told["completed_at"])
    if finished is not None:
        lines.append(f"  finished  {clock_time(finished)}")
    if told["error"]:
        lines.append(f"  error     {told['error_code']}: {told['error']}")
    if nodes:
        title, *rows = table(_TITLES, [_row(one, now) for one in nodes], (3, 4, 5, 6, 7))
        lines.append(heading(title))
        lines += [
            row.replace(f"  {one['status']}", "  " + coloured(TaskStatus(one["status"]), one["status"]), 1)
            for one, row in zip(nodes, rows, strict=True)
        ]
    return lines


def _row(one: dict[str, Any], now: float) -> list[str]:
    freed, started = _at(one["freed_at"]) or _at(one["created_at"]), _at(one["started_at"])
    finished = _at(one["completed_at"])
    ended = now if finished is None else finished
    # While it waits for others it is not queued.
    waits = one["status"] == TaskStatus.BLOCKED or freed is None
    queued = "-" if waits or freed is None else span((started or ended) - freed)
    error = (one["error"] or "").partition("\n")[0]
    return [
        one["node"],
        one["status"],
        one["task_type"],
        str(one["attempts"]),
        queued,
        "-" if started is None else span(ended - started),
        number(one["input_tokens"] + one["output_tokens"]),
        f"${one['cost_usd']:.4f}" if one["cost_usd"] else "$0",
        one["task_id"],
        error if len(error) <= _ERROR else error[: _ERROR - 1] + "…",
    ]


def _at(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text).timestamp()
