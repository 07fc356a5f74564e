"""A job at one moment, for whoever shows it."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock.cli.run.books import Books
from penstock.manager import Manager
from penstock.model.batch import Batch
from penstock.model.states import TaskStatus
from penstock.task_types import llm_request

RATE_SECONDS = 60.0
_STANDING = frozenset(("paused", "period"))
"""Reasons to wait that no pace ends."""


@dataclass(frozen=True, slots=True)
class Meter:
    """How full a limit is, in its own unit (money in US dollars)."""

    key: str
    used: float
    limit: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`total` lines are expected (an estimate while the input is being read, `None` when nobody knows).
    `waiting` are lines by what they wait for. Rates are per minute, over the last minute; `left_seconds`
    until the end."""

    done: int
    failed: int
    running: int
    waiting: Mapping[str, int]
    read: int
    read_all: bool
    total: int | None
    requests_per_minute: float
    tokens_per_minute: float
    cost_usd: float
    rates: tuple[Meter, ...] = ()
    money: tuple[Meter, ...] = ()
    left_seconds: float | None = None
    stopping: bool = False

    @property
    def ended(self) -> int:
        return self.done + self.failed


@dataclass(slots=True)
class Pace:
    """Rates over the last minute, from samples of counters."""

    samples: deque[tuple[float, int, int, int]] = field(default_factory=deque)

    def add(self, now: float, calls: int, tokens: int, ended: int) -> None:
        if not self.samples or now - self.samples[-1][0] >= 0.2:
            self.samples.append((now, calls, tokens, ended))
        while now - self.samples[0][0] > RATE_SECONDS and len(self.samples) > 2:
            self.samples.popleft()

    def per_minute(self) -> tuple[float, float, float]:
        """Calls, tokens and ended lines a minute."""
        if len(self.samples) < 2:
            return 0.0, 0.0, 0.0
        first, last = self.samples[0], self.samples[-1]
        factor = 60.0 / max(0.001, last[0] - first[0])
        return (
            (last[1] - first[1]) * factor,
            (last[2] - first[2]) * factor,
            (last[3] - first[3]) * factor,
        )


class Observer:
    """Takes snapshots of one job. `manager` is `None` when another process dispatches."""

    def __init__(self, manager: Manager | None) -> None:
        self._manager = manager
        self._pace = Pace()

    def look(
        self, batch: Batch, books: Books, counts: Mapping[TaskStatus, int], read: int, total: int | None
    ) -> Snapshot:
        """The job now."""
        ended = batch.results_lines + batch.errors_lines
        calls = self._manager.node.services.exchange.calls if self._manager is not None else ended
        self._pace.add(time.monotonic(), calls, books.input_tokens + books.output_tokens, ended)
        requests, tokens, ends = self._pace.per_minute()
        running, waiting = self._waiting(counts)
        rates, money = self._meters()
        left = None
        if total is not None and ends and _STANDING.isdisjoint(waiting):
            missing = max(0, total - ended)
            # The burst at the start says little: a limit is paced, but for a tenth of it.
            left = max(missing * 60.0 / ends, self._least_seconds(missing))
        return Snapshot(
            done=batch.results_lines,
            failed=batch.errors_lines,
            running=running,
            waiting=waiting,
            read=read,
            read_all=total == read,
            total=total,
            requests_per_minute=requests,
            tokens_per_minute=tokens,
            cost_usd=books.cost / 1e12,
            rates=rates,
            money=money,
            left_seconds=left,
        )

    def _least_seconds(self, requests: int) -> float:
        if self._manager is None:
            return 0.0
        uses = self._manager.node.gate.usage(self._manager.clock.monotonic())
        return max(
            (
                max(0.0, requests - use.limit / 10) * use.window_seconds / use.limit
                for use in uses
                if use.key.startswith(("rp", "requests")) and ":" not in use.key
            ),
            default=0.0,
        )

    def _waiting(self, counts: Mapping[TaskStatus, int]) -> tuple[int, dict[str, int]]:
        open_tasks = counts.get(TaskStatus.RUNNING, 0)
        at_gate: Counter[str] = Counter()
        if self._manager is not None:
            at_gate.update(wait.reason for _, wait in self._manager.node.admitter.waits())
        held = min(open_tasks, sum(at_gate.values()))
        waiting = Counter(at_gate)
        queued = counts.get(TaskStatus.QUEUED, 0)
        if queued:
            waiting[self._reason_of_queued(at_gate)] += queued
        for status, reason in ((TaskStatus.RETRYING, "retry"), (TaskStatus.PAUSED, "paused")):
            if counts.get(status):
                waiting[reason] += counts[status]
        return open_tasks - held, dict(waiting)

    def _reason_of_queued(self, at_gate: Counter[str]) -> str:
        if self._manager is not None:
            dispatcher = self._manager.node.dispatcher
            if dispatcher.paused or llm_request.NAME in dispatcher.paused_types:
                return "paused"
        # The head of the line speaks for those behind it.
        return at_gate.most_common(1)[0][0] if at_gate else "turn"

    def _meters(self) -> tuple[tuple[Meter, ...], tuple[Meter, ...]]:
        if self._manager is None:
            return (), ()
        gate, now = self._manager.node.gate, self._manager.clock.monotonic()
        rates = tuple(Meter(use.key, use.used + use.held, use.limit) for use in gate.usage(now))
        money = tuple(
            Meter(use.key, (use.spent + use.uncertain + use.held) / 1e12, use.limit / 1e12)
            for use in gate.money(now)
        )
        return rates, money
