"""Stretches: when a task of a store really worked, and what it waited for in between."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, NamedTuple

from penstock.model.step import StepRecord
from penstock.model.task import TaskView
from penstock.stores.asks import Event
from penstock.stores.contract import Reader

# Records that tell of a durable wait or of a task that was started.
SLEEPS = frozenset(("sleep", "sleep_until"))
EVENT, RESULT, START = "event", "result ", "start "
# What is shorter is no wait, but the store taking its time.
LEAST_WAIT = 0.001
_PAGE = 1000
_LEFT = frozenset(("suspended", "put_back", "retrying", "rescued", "finished"))
_FREED = frozenset(("resumed", "unblocked"))


@dataclass(slots=True)
class Stretch:
    """Work without a wait of the task's own. Instants are seconds since the epoch: it could go from
    `released` on, `needs` are the ids of the tasks it waited for before; it ended at `end` and was busy for
    `seconds`, which hold no time in line between claims. Tokens as counts."""

    released: float
    end: float
    seconds: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    needs: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Work:
    """The stretches of a task, in order, and in which of them it `started` other tasks, by their numbers."""

    stretches: list[Stretch]
    started: dict[int, int] = field(default_factory=dict)


class Claim(NamedTuple):
    """A time during which a node held the task: how it was left, and from when on it could go again."""

    begin: float
    end: float
    left: str
    released: float


def is_telling(name: str) -> bool:
    """Whether a step of this name may be a durable wait, or start another task."""
    return name in SLEEPS or name == EVENT or name.startswith((RESULT, START))


def plain_work(view: TaskView, released: float) -> Work:
    """Of a task of which no more is known than when it started and ended."""
    begin, end = view.started_at or released, view.finished_at or released
    seconds = max(0.0, end - begin)
    return Work([Stretch(released, end, seconds, view.input_tokens, view.output_tokens)])


def work_of(
    reader: Reader,
    view: TaskView,
    released: float,
    ends: dict[str, float],
    led: Sequence[str],
) -> Work:
    """What the events and the journal of a task tell; `released` is when it could go at first, `ends` are the
    ends of tasks, `led` the nodes of the workflow that it leads."""
    claims = _claims(reader, view)
    rows = [row for row in reader.journal(view.seq) if row.occurrence >= 0]
    reading = _Reading(view, released, ends)
    reading.inherited([row for row in rows if row.claim_no == 0])
    for number, claim in enumerate(claims, 1):
        own = [row for row in rows if row.claim_no == number or (len(claims) == 1 and row.claim_no)]
        reading.claim(claim, own, led if number == len(claims) else ())
    return reading.work()


def _claims(reader: Reader, view: TaskView) -> list[Claim]:
    """The claims of a task; one from its first start to its end where its events are not all there."""
    claims: list[Claim] = []
    begin: float | None = None
    for event in _events(reader, view.seq):
        if event.kind == "started":
            begin = event.at
        elif event.kind in _LEFT and begin is not None:
            due = event.data.get("due_at") if event.kind == "retrying" else None
            claims.append(Claim(begin, event.at, event.kind, max(event.at, due or 0.0)))
            begin = None
        elif event.kind in _FREED and begin is None and claims:
            claims[-1] = claims[-1]._replace(released=max(claims[-1].released, event.at))
    if len(claims) == view.claim_no and claims[-1].left == "finished":
        return claims
    start, end = view.started_at or view.created_at, view.finished_at or view.created_at
    return [Claim(start, end, "finished", end)]


def _events(reader: Reader, seq: int) -> Iterator[Event]:
    after = 0
    while page := reader.events(after, _PAGE, task=seq, kinds=sorted({"started", *_LEFT, *_FREED})):
        yield from page
        after = page[-1].no


class _Reading:
    """Goes through the claims of one task and its records, and cuts a new stretch behind every wait."""

    def __init__(self, view: TaskView, released: float, ends: dict[str, float]) -> None:
        self._view, self._ends = view, ends
        self._all = [Stretch(released, released)]
        self._started: dict[int, int] = {}
        self._mark = 0.0  # until here it is known what the task did
        self._sleeps: list[float] = []

    def inherited(self, rows: Sequence[StepRecord]) -> None:
        """What an earlier task had done; its children may be waited for here."""
        for row in rows:
            self._note_start(row)

    def claim(self, claim: Claim, rows: Sequence[StepRecord], led: Sequence[str]) -> None:
        """One claim with what was recorded under it; `led` are tasks that had ended before its own end."""
        self._mark = claim.begin
        for row in rows:
            self._row(row)
        if led:
            self._after(led)
        if claim.left in ("finished", "retrying"):
            self._wake(claim.end)
            self._busy_until(claim.end)
        # Else it waited since its last record, or what it did since is lost and done again.
        if claim.left == "suspended":
            self._sleeps.clear()
        if claim.left in ("suspended", "retrying"):
            self._cut(claim.released)

    def _row(self, row: StepRecord) -> None:
        self._wake(row.at)
        name = row.key.name
        if name == EVENT or name.startswith(RESULT):
            self._came(_value(row))
        self._busy_until(row.at)
        self._note_start(row)
        last = self._all[-1]
        last.input_tokens += row.input_tokens
        last.output_tokens += row.output_tokens
        until = _value(row) if name in SLEEPS else None
        if isinstance(until, int | float) and until > row.at:
            self._sleeps.append(float(until))

    def _note_start(self, row: StepRecord) -> None:
        if row.key.name.startswith(START):
            value = _value(row)
            if isinstance(value, list) and len(value) == 2 and isinstance(value[1], int):
                self._started.setdefault(value[1], len(self._all) - 1)

    def _came(self, value: Any) -> None:
        """An event, a child's result, or the end of the patience for one."""
        if not isinstance(value, dict):
            return
        if isinstance(child := value.get("child"), str):
            self._after([child])
        elif isinstance(at := value.get("at") or value.get("timeout"), int | float):
            self._rest_until(float(at))

    def _after(self, ids: Sequence[str]) -> None:
        """These tasks have ended: the task waited for them here, or since the stretch before."""
        known = [id for id in ids if id in self._ends]
        at = max((self._ends[id] for id in known), default=-inf)
        if self._rest_until(at) or (len(self._all) > 1 and at >= self._all[-2].end):
            self._all[-1].needs.update(known)

    def _wake(self, now: float) -> None:
        """Sleeps that are over by now."""
        over = [until for until in self._sleeps if until <= now]
        if over:
            self._sleeps = [until for until in self._sleeps if until > now]
            self._rest_until(max(over))

    def _rest_until(self, at: float) -> bool:
        """The task waited since the last record until `at`; false where it did not."""
        last = self._all[-1]
        if at <= (last.end if last.seconds else self._mark) + LEAST_WAIT:
            return False
        self._cut(at)
        self._mark = max(self._mark, at)
        return True

    def _busy_until(self, at: float) -> None:
        last = self._all[-1]
        last.seconds += max(0.0, at - self._mark)
        self._mark = last.end = max(self._mark, at)

    def _cut(self, released: float) -> None:
        last = self._all[-1]
        last.end = max(last.end, last.released)
        self._all.append(Stretch(released, released))

    def work(self) -> Work:
        """What it came to; tokens that no record names belong to the last stretch."""
        last, view = self._all[-1], self._view
        last.input_tokens += max(0, view.input_tokens - sum(one.input_tokens for one in self._all))
        last.output_tokens += max(0, view.output_tokens - sum(one.output_tokens for one in self._all))
        return Work(self._all, self._started)


def _value(row: StepRecord) -> Any:
    try:
        return json.loads(row.value) if row.kind == "value" else None
    except ValueError:
        return None
