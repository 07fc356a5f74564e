"""What the verbs of a store are asked with and answer: filters, outcomes and rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock.model.lane import Lane
from penstock.model.states import TaskStatus


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Which tasks: every field that is set must match. `ids` are full ids or unique beginnings of one; all of
    `tags` must be there, and in the metadata every key of `metadata` with an equal value. `program` is the
    workflow that they belong to."""

    ids: tuple[str, ...] = ()
    statuses: tuple[TaskStatus, ...] = ()
    types: tuple[str, ...] = ()
    tenant: str | None = None
    batch: int | None = None
    seqs: tuple[int, ...] = ()
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)
    priorities: tuple[int, ...] = ()
    program: str | None = None


@dataclass(frozen=True, slots=True)
class Rescued:
    """Outcome of `rescue` and `promote`: `lanes` to look at for what goes on, the tasks `poisoned`, and those
    that `failed` as expired or because of what they waited for."""

    lanes: frozenset[int] = frozenset()
    count: int = 0
    poisoned: tuple[str, ...] = ()
    uncertain: int = 0
    next_due: float | None = None
    failed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Control:
    """A request of another process to the dispatching one: `kind` cancel | stop."""

    no: int
    kind: str
    task: int | None
    at: float


@dataclass(frozen=True, slots=True)
class Spend:
    """Money and use of one quarter of an hour (`slice` = epoch // 900) by tenant and model; pico-dollars.

    `cost` is settled money; `uncertain` comes on top of it, and both lie in the slice of the settlement."""

    slice: int
    tenant: str
    model: str
    cost: int
    uncertain: int
    calls: int
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class SpendSum:
    """Money (pico-dollars) and use of a tenant and model since the store was made."""

    tenant: str
    model: str
    cost: int
    uncertain: int
    calls: int
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class WaitRow:
    """Why a task waits, as its node sees it: `reason` requests | tokens | money | concurrency | slots | retry
    | ...; `key` the limit's name; `until` an estimate in seconds since the epoch."""

    task: int
    reason: str
    key: str
    until: float | None
    at: float


@dataclass(frozen=True, slots=True)
class Gauge:
    """How full a limit is, as the dispatching node saw it at `at`. Amounts in the limit's own unit."""

    key: str
    used: float
    held: float
    limit: float
    at: float


@dataclass(frozen=True, slots=True)
class StoredLane:
    id: int
    lane: Lane


@dataclass(frozen=True, slots=True)
class Tally:
    """How many tasks of a lane and priority are in a status; read in time independent of the backlog."""

    lane: int
    type: str
    status: TaskStatus
    priority: int
    count: int


@dataclass(frozen=True, slots=True)
class NodeView:
    id: int
    name: str
    pid: int
    host: str
    started_at: float
    lease_until: float


@dataclass(frozen=True, slots=True)
class FinishedLine:
    """A finished task of a batch, as the writer of its files needs it. Texts are JSON."""

    no: int
    id: str
    position: int
    status: TaskStatus
    payload: str | None
    metadata: str | None
    result: str | None
    error: str | None
    attempt: int
    input_tokens: int
    output_tokens: int
    cost: int


@dataclass(frozen=True, slots=True)
class Retention:
    """What `prune` may remove: payload, result, journal and row of tasks that ended before `finished_before`;
    events before `events_before`; then, oldest first, ended tasks until the file holds at most `max_bytes` of
    live data. Reservations go when they are older than `reservations_before` and neither held nor
    uncertain. Of the cache the newest `max_cache_bytes` stay. What another task still waits for or works with
    stays. Results and threads of graphs whose time is over go whatever the rule says."""

    finished_before: float | None = None
    events_before: float | None = None
    reservations_before: float | None = None
    max_bytes: int | None = None
    max_cache_bytes: int | None = None
    chunk: int = 500


@dataclass(frozen=True, slots=True)
class Pruned:
    tasks: int = 0
    events: int = 0
    reservations: int = 0
    more: bool = False
    results: int = 0
    threads: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a task; of a task that was removed since, `task_id` and `tenant` are ""."""

    no: int
    task: int
    task_id: str
    at: float
    kind: str
    data: dict[str, Any] = field(default_factory=dict)
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class Count:
    """How many tasks are in a status, and their sums of seconds: before their first start, and from it to
    their end."""

    count: int
    queue_seconds: float
    run_seconds: float
