"""What every store promises: domain verbs over batches, inside one transaction.

A store is synchronous. `run` executes one function inside one write transaction on the calling thread and
returns after it is durable; `read` does the same for a read. The committer and the manager call them from a
thread; tests call them inline.

Verbs take batches and give one outcome per item, in order. An expected outcome (a lost fence, a full queue, a
known idempotency key) is a value; an exception means the whole transaction is rolled back. Time is passed in.

Every change of a task writes its event rows and its tallies in the same transaction. Event kinds:
`submitted`, `started`, `step`, `retrying`, `put_back`, `rescued`, `paused`, `resumed`, `suspended`,
`finished`, `uncertain`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from penstock.errors import PenstockError
from penstock.model.batch import Batch
from penstock.model.lane import Lane
from penstock.model.rank import Rank
from penstock.model.reservation import Reservation, ReservationView, Settlement
from penstock.model.states import TaskStatus
from penstock.model.step import StepKey, StepRecord
from penstock.model.task import Added, Claimed, Existing, Finish, NewTask, PutBack, TaskView, Waiting

T = TypeVar("T")

AddOutcome = Added | Existing | PenstockError


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Which tasks: every field that is set must match. `ids` are full ids or unique beginnings of one."""

    ids: tuple[str, ...] = ()
    statuses: tuple[TaskStatus, ...] = ()
    types: tuple[str, ...] = ()
    tenant: str | None = None
    batch: int | None = None
    seqs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Rescued:
    """Outcome of `rescue` and `promote`: what goes on, by lane, and the tasks that failed as poison."""

    lanes: frozenset[int] = frozenset()
    count: int = 0
    poisoned: tuple[str, ...] = ()
    uncertain: int = 0
    next_due: float | None = None


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
    uncertain."""

    finished_before: float | None = None
    events_before: float | None = None
    reservations_before: float | None = None
    max_bytes: int | None = None
    chunk: int = 500


@dataclass(frozen=True, slots=True)
class Pruned:
    tasks: int = 0
    events: int = 0
    reservations: int = 0
    more: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    no: int
    task: int
    task_id: str
    at: float
    kind: str
    data: dict[str, Any] = field(default_factory=dict)


class Reader(Protocol):
    """Reads; each sees one consistent state."""

    def task(self, id: str) -> TaskView | None:
        """The task of that id or unique beginning of an id, with its journal's outline in `steps`."""

    def tasks(
        self, where: TaskFilter, after: int = 0, limit: int = 100, newest: bool = True
    ) -> list[TaskView]:
        """A page of tasks by `seq`; `after` is the last `seq` of the page before (0: the first page)."""

    def ahead(self, seq: int) -> int:
        """How many claimable tasks of the same lane are better-ranked (counted up to 10,000)."""

    def heads(self, lanes: Sequence[int]) -> dict[int, tuple[Rank, str | None]]:
        """Rank and flow of the best-ranked claimable task of each of these lanes that has one."""

    def waiting_flows(self) -> list[tuple[int, str]]:
        """Every (lane, flow) that has claimable tasks; cost by their number, not by the backlog."""

    def flow_sizes(self, lane: int, flow: str, limit: int) -> list[float]:
        """Sizes (`size` of the standing, 0 when unknown) of the best-ranked claimable tasks of a flow."""

    def waiting_seqs(self) -> list[int]:
        """All tasks that wait (claimable, delayed, paused, blocked, suspended), claimable ones first and best
        first within a lane."""

    def waiting(self, seqs: Sequence[int]) -> list[Waiting]:
        """Those of these tasks that still wait."""

    def program(self, id: str) -> tuple[float, float, float] | None:
        """(entered_at, size, attained) of a program."""

    def tallies(self) -> list[Tally]: ...
    def totals(self) -> dict[str, float]:
        """Sums over finished tasks: `queue_seconds`, `run_seconds`, `processed`."""

    def lanes(self) -> list[StoredLane]: ...
    def journal(self, seq: int) -> list[StepRecord]: ...
    def reservations(self, states: Sequence[str], limit: int = 1000) -> list[ReservationView]: ...
    def recent_reservations(self, since: float) -> list[ReservationView]:
        """Everything held, and all that was settled or became uncertain (`done_at`) at or after `since`."""

    def spend(self) -> list[Spend]: ...
    def events(self, after: int, limit: int = 1000, task: int | None = None) -> list[Event]: ...
    def last_event(self) -> int: ...
    def waits(self, task: int | None = None) -> list[WaitRow]: ...
    def gauges(self) -> list[Gauge]: ...
    def nodes(self) -> list[NodeView]: ...
    def pauses(self) -> list[str]: ...
    def setting(self, name: str) -> str | None: ...
    def batch(self, id: int) -> Batch | None: ...
    def batch_named(self, name: str) -> Batch | None: ...
    def batches(self) -> list[Batch]: ...
    def batch_counts(self, id: int) -> dict[TaskStatus, int]: ...
    def finished_lines(self, batch: int, after_no: int, limit: int) -> list[FinishedLine]: ...
    def next_due(self) -> float | None:
        """When the earliest delayed or retrying task becomes claimable."""

    def cached(self, tenant: str, digest: str, now: float) -> bytes | None:
        """An unexpired entry of the exact-match cache."""

    def sizes(self) -> dict[str, int]:
        """Bytes and row counts, for `penstock db show`."""


class Transaction(Reader, Protocol):
    """Writes; all or nothing with everything else in the same transaction."""

    def add(self, tasks: Sequence[NewTask], capacity: int | None = None) -> list[AddOutcome]:
        """Put tasks in the line (delayed ones beside it). `capacity` bounds the tasks that are not final:
        what goes beyond is answered with `QueueFull`, in order. `inherit_journal` copies the journal of
        `retry_of`."""

    def claim_flows(self, wanted: Mapping[int, Mapping[str, int]], node: int, now: float) -> list[Claimed]:
        """Take up to n best-ranked claimable tasks of each flow of each lane, best first within a flow."""

    def claim(
        self, wanted: Mapping[int, int], node: int, now: float, most: int | None = None
    ) -> list[Claimed]:
        """Take up to n best-ranked claimable tasks of each lane, and at most `most` in all: then the
        best-ranked over all these lanes. Best first within a lane."""

    def finish(self, ends: Sequence[Finish]) -> list[bool]:
        """Compare-and-set on (seq, claim_no); False changes nothing."""

    def put_back(self, returns: Sequence[PutBack]) -> list[bool]: ...
    def record(self, steps: Sequence[StepRecord]) -> list[bool]:
        """Journal steps; fenced. A step already recorded under the same key and occurrence keeps its first
        value."""

    def void_step(self, seq: int, key: StepKey, occurrence: int) -> bool: ...
    def reserve(self, intents: Sequence[Reservation]) -> list[int]:
        """The reservations' ids; not fenced by claims (a call about to leave is booked by whoever makes
        it)."""

    def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """Book each once: False when it was not held any more. Adds tokens and cost to the spending of its
        quarter of an hour, tenant and model, to its flow and, unless it is uncertain, to the task."""

    def release_uncertain(self, ids: Sequence[int]) -> list[bool]:
        """Give back the money of uncertain reservations that a person looked into."""

    def promote(self, now: float, limit: int = 1000) -> Rescued:
        """Make claimable what is due."""

    def rescue(self, dead_before: float, now: float, poison_after: int, nodes: Sequence[int] = ()) -> Rescued:
        """Take back the tasks of nodes whose lease ran out before `dead_before`, and of `nodes`; their held
        reservations become uncertain. `attempt` and `crashes` rise; a task with `poison_after` crashes
        fails."""

    def cancel(self, where: TaskFilter, now: float) -> dict[str, bool]:
        """Waiting tasks end as cancelled; running ones get a control row. True: it is or will be
        cancelled."""

    def pause(self, where: TaskFilter, now: float) -> int: ...
    def resume(self, where: TaskFilter, now: float) -> int: ...
    def set_pause(self, scope: str, paused: bool) -> None:
        """Pause a whole scope: `all`, `type:NAME` or `tenant:NAME`."""

    def rerank(self, ranks: Sequence[tuple[int, Rank, str | None]]) -> None:
        """New ranks and flows, by seq, of tasks that wait; what does not wait any more is left alone."""

    def serve_program(self, program: str, amount: float) -> None:
        """Add to what a program has attained, in the scarce unit."""

    def controls(self, after: int) -> list[Control]: ...
    def ask_control(self, kind: str, task: int | None, now: float) -> None: ...
    def join(self, name: str, pid: int, host: str, now: float, lease_until: float) -> int:
        """Register a node; its id."""

    def renew(self, node: int, lease_until: float) -> bool:
        """False: the node is gone, its tasks were rescued."""

    def leave(self, node: int) -> None: ...
    def lane(self, lane: Lane) -> int:
        """The lane's id; made when new."""

    def set_setting(self, name: str, value: str | None) -> None: ...
    def open_batch(self, batch: Batch) -> Batch:
        """Store a new batch (its `id` is given here)."""

    def update_batch(self, batch: Batch) -> None: ...
    def drop_written(self, batch: int, up_to_no: int) -> None:
        """Forget payloads and results of finished tasks of a batch that are in its files (keep=False)."""

    def write_waits(self, node: int, waits: Sequence[WaitRow], gauges: Sequence[Gauge]) -> None:
        """Replace what this node said before."""

    def cache(self, tenant: str, digest: str, value: bytes, expires_at: float) -> None: ...
    def shift_stamps(self, delta: float, since: float) -> None:
        """The wall clock jumped by `delta` seconds: move the stamps of reservations later than `since`
        along."""

    def prune(self, rule: Retention, now: float) -> Pruned:
        """Remove one chunk; `more` says that another call has work."""


class Store(Protocol):
    """A place where tasks live, opened by one process; thread-safe."""

    def run(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in one write transaction; durable when it returns."""

    def read(self, work: Callable[[Reader], T]) -> T: ...
    def changed_by_others(self) -> bool:
        """Whether another process committed since the last call; cheap enough to ask 40 times a second."""

    def lock_dispatch(self) -> None:
        """Become the dispatching process of an embedded store; raises `StoreBusy` naming the pid that is."""

    def compact(self) -> None:
        """Give freed space back to the file system."""

    def backup(self, target: str) -> None:
        """A consistent copy into a new file while others go on."""

    def verify(self) -> list[str]:
        """What is wrong with the data; empty when nothing is."""

    def close(self) -> None: ...
