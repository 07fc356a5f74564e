"""`penstock why`: why a task waits, for what, and about how long."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import typer

from penstock.cli.choosing import IdArgument
from penstock.cli.describe import error_text, kind, task_data
from penstock.cli.gate_words import gauge_of, gauge_text, until_text, wait_text
from penstock.cli.nodes import how_to_start, node_name
from penstock.cli.retry_lines import retry_command
from penstock.cli.show_text import about, clock_time, coloured, iso, money, number, print_json, span
from penstock.cli.situation import AHEAD_AT_MOST, MINUTE, Situation, look_at
from penstock.cli.stores import JsonOption, StoreOption, find_store, reading
from penstock.model.options import DEFAULTS
from penstock.model.states import TaskStatus
from penstock.stores.contract import Gauge, WaitRow

_STALE_SECONDS = 5.0
_UNHANDLED_SECONDS = 10.0


@dataclass(slots=True)
class Answer:
    """`reason` is a stable word for machines; `until` an instant, `seconds` an estimate from now on."""

    reason: str
    lines: list[str]
    key: str | None = None
    until: float | None = None
    seconds: float | None = None
    limits: list[Gauge] = field(default_factory=list)


def why(id: IdArgument, store: StoreOption = None, json: JsonOption = False) -> None:
    """Say why a task waits, for what, and about how long."""
    path = find_store(store)
    with reading(path) as opened:
        seen = opened.read(lambda reader: look_at(reader, id, time.time(), path))
    answer = explain(seen)
    task = seen.task
    if json:
        print_json(
            {
                **task_data(task),
                "reason": answer.reason,
                "key": answer.key,
                "until": iso(answer.until),
                "expected_seconds": None if answer.seconds is None else round(answer.seconds, 1),
                "expected_start": None if answer.seconds is None else iso(seen.now + answer.seconds),
                "ahead": seen.ahead,
                **seen.order.data(task),
                "explanation": answer.lines,
                "limits": [
                    {"key": one.key, "used": one.used, "held": one.held, "limit": one.limit}
                    for one in answer.limits
                ],
            }
        )
        return
    typer.echo(f"task {task.id} ({kind(task)}) is {coloured(task.status, task.status.value)}")
    for line in answer.lines:
        typer.echo(f"  {line}")


def explain(seen: Situation) -> Answer:
    """The answer for a task in any status; pure."""
    return _BY_STATUS.get(seen.task.status, _ended)(seen)


def _in_line(seen: Situation) -> Answer:
    task = seen.task
    lines: list[str] = []
    if task.status is TaskStatus.RETRYING:
        lines.append(_last_failure(seen))
    if not task.ready and task.due_at is not None and task.due_at > seen.now:
        lines.append(f"it may start at {clock_time(task.due_at)}, in {span(task.due_at - seen.now)}")
        return _held_up(seen, Answer("due", lines, until=task.due_at))
    lines += seen.order.lines(task, seen.now)
    lines.append(_place(seen))
    answer = _held_up(seen, Answer("line", lines))
    if answer.reason not in ("paused", "nobody_dispatches"):
        _estimate(seen, answer)
        error = seen.order.error_words()
        answer.lines += [] if error is None else [error]
    return answer


def _place(seen: Situation) -> str:
    ahead, line = (seen.ahead, "line") if seen.order.flow is None else (seen.order.own_ahead, "flow")
    if not ahead:
        return f"it is the next one of its {line}"
    more = " or more" if seen.ahead >= AHEAD_AT_MOST else ""
    others = "task goes" if ahead == 1 else "tasks go"
    ids = seen.order.ahead_ids
    dots = ", ..." if ahead > len(ids) else ""
    named = f": {', '.join(ids)}{dots}" if ids else ""
    return f"{number(ahead)}{more} {others} first in its {line}{named}"


def _held_up(seen: Situation, answer: Answer) -> Answer:
    """Add what keeps the task's whole line from moving."""
    task = seen.task
    paused = [
        scope for scope in seen.pauses if scope in ("all", f"type:{task.type}", f"tenant:{task.tenant}")
    ]
    for scope in paused:
        what, undo = _PAUSES[scope.partition(":")[0]]
        answer.lines.append(f"{what}; undo it with: " + undo.format(type=task.type, tenant=task.tenant))
    if not seen.nodes:
        answer.lines.append(f"no process dispatches this store now; {how_to_start(seen.batch, seen.store)}")
    if paused or not seen.nodes:
        answer.reason = "paused" if paused else "nobody_dispatches"
        return answer
    if answer.reason == "line":
        _add_lane(seen, answer)
    return answer


_PAUSES = {
    "all": ("everything in this store is paused", "penstock resume"),
    "type": ("tasks of its type are paused", "penstock resume --type {type}"),
    "tenant": ("tasks of its tenant are paused", 'penstock resume --tenant "{tenant}"'),
}


def _add_lane(seen: Situation, answer: Answer) -> None:
    """Add what the started tasks of the same line wait for, or that none could be started."""
    if seen.lane_waits:
        counts = Counter((wait.reason, wait.key) for wait in seen.lane_waits)
        (reason, key), count = counts.most_common(1)[0]
        wait = next(one for one in seen.lane_waits if (one.reason, one.key) == (reason, key))
        answer.reason, answer.key = reason, key
        many = (
            f"{number(count)} started tasks of its line stand"
            if count > 1
            else "a started task of its line stands"
        )
        answer.lines.append(f"{many} at the gate before it; of each: {wait_text(wait)}")
        _add_limit(seen, answer, wait)
    elif seen.open_in_lane:
        answer.lines.append(f"{number(seen.open_in_lane)} of its line run now")
    elif seen.now - seen.task.created_at > _UNHANDLED_SECONDS:
        answer.reason = "not_started"
        names = ", ".join(node_name(node) for node in seen.nodes)
        answer.lines.append(
            f"none of its line run: {names} may be full, or have no handler for {seen.task.type!r}"
        )


def _add_limit(seen: Situation, answer: Answer, wait: WaitRow) -> None:
    gauge = gauge_of(seen.gauges, wait.key)
    if gauge is not None:
        answer.limits.append(gauge)
        answer.lines.append(gauge_text(gauge))
    until = until_text(wait.until, seen.now)
    if until:
        answer.lines.append(until)
    if seen.now - wait.at > _STALE_SECONDS:
        answer.lines.append(f"that was {span(seen.now - wait.at)} ago; its process has said nothing since")


def _estimate(seen: Situation, answer: Answer) -> None:
    pace = seen.pace
    if pace.ended < 1:
        answer.lines.append("how long: not known, for none of its line ended in the last minute")
        return
    share = seen.order.share
    ahead = seen.ahead if seen.order.flow is None else seen.order.own_ahead
    answer.seconds = (ahead + 1) * pace.seconds / (pace.ended * share)
    least = "at least " if seen.ahead >= AHEAD_AT_MOST else ""
    when = "minute" if pace.seconds >= MINUTE else span(pace.seconds)
    part = "" if share > 0.999 else f", of which its flow gets {100 * share:.0f} %"
    answer.lines.append(
        f"until it starts: {least}{about(answer.seconds)}, at the rate of the last {when} "
        f"({number(pace.ended)} of its line ended{part}); that is at {clock_time(seen.now + answer.seconds)}"
    )


def _running(seen: Situation) -> Answer:
    task = seen.task
    if not seen.node_lives:
        return Answer("node_lost", ["the process that ran it is gone", _after_loss(seen)])
    if seen.waits:
        wait = seen.waits[0]
        answer = Answer(wait.reason, [wait_text(wait)], key=wait.key, until=wait.until)
        _add_limit(seen, answer, wait)
        if wait.until is not None and wait.until > seen.now:
            answer.seconds = wait.until - seen.now
        return answer
    calls = [one for one in seen.held if one.state == "held"]
    if seen.kin.waits and not calls:
        return Answer(seen.kin.reason(), seen.kin.lines(seen.now))
    since = max((event.at for event in seen.events if event.kind == "started"), default=task.started_at)
    lines = [f"attempt {task.attempt} has run for {span(seen.now - (since or seen.now))}"]
    lines += [
        f"a call to {call.model} has been in flight for {span(seen.now - call.at)}; "
        f"{number(call.input_held + call.output_held)} tokens and {money(call.cost_held)} are held for it"
        for call in calls
    ]
    return Answer("in_flight" if calls else "handler", lines)


def _after_loss(seen: Situation) -> str:
    if seen.nodes:
        return "another process takes it back as soon as the lost one's lease has run out"
    return f"it goes on when a process dispatches this store; {how_to_start(seen.batch, seen.store)}"


def _paused(seen: Situation) -> Answer:
    return Answer("paused", [f"somebody paused it; undo it with: penstock resume {seen.task.id}"])


def _suspended(seen: Situation) -> Answer:
    task = seen.task
    if seen.kin.waits:
        reason, lines = seen.kin.reason(), seen.kin.lines(seen.now)
        until = [one.until for one in seen.kin.waits if one.until is not None]
        answer = Answer(reason, lines, until=min(until, default=None))
        if not seen.nodes:
            how = how_to_start(seen.batch, seen.store)
            answer.lines.append(f"no process dispatches this store now, so nobody wakes it; {how}")
        return answer
    if task.due_at is None:
        return Answer("suspended", [f"it waits for something to resume it; penstock resume {task.id} does"])
    line = f"it sleeps until {clock_time(task.due_at)}, for another {span(task.due_at - seen.now)}"
    return _held_up(seen, Answer("due", [line], until=task.due_at))


def _blocked(seen: Situation) -> Answer:
    return Answer("blocked", seen.kin.blocked_lines())


def _ended(seen: Situation) -> Answer:
    task = seen.task
    took = (
        ""
        if task.started_at is None
        else f", {span((task.finished_at or 0) - task.started_at)} after it started"
    )
    lines = [
        f"it ended at {clock_time(task.finished_at)}{took}, in attempt {task.attempt}; {money(task.cost)}"
    ]
    if task.status is not TaskStatus.COMPLETED:
        lines += [error_text(task)] if task.error else []
        again = f"penstock retry {task.id}" if seen.batch is None else retry_command(seen.batch)
        lines.append(f"to try it again: {again}")
    uncertain = sum(one.cost_held for one in seen.held if one.state == "uncertain")
    if uncertain:
        lines.append(f"{money(uncertain)} of it are uncertain; see penstock db uncertain")
    return Answer(task.status.value, lines)


def _last_failure(seen: Situation) -> str:
    task = seen.task
    options = task.options if isinstance(task.options, dict) else {}
    most = int(options.get("max_retries", DEFAULTS.max_retries)) + 1
    failed = error_text(task) or "for a reason that was not recorded"
    return f"attempt {task.attempt - 1} failed: {failed}; attempt {task.attempt} of at most {most} comes next"


_BY_STATUS: dict[TaskStatus, Callable[[Situation], Answer]] = {
    TaskStatus.QUEUED: _in_line,
    TaskStatus.RETRYING: _in_line,
    TaskStatus.RUNNING: _running,
    TaskStatus.PAUSED: _paused,
    TaskStatus.SUSPENDED: _suspended,
    TaskStatus.BLOCKED: _blocked,
}
