"""What every store promises: domain verbs over batches, inside one transaction.

A store is synchronous. `run` executes one function inside one write transaction on the calling thread and
returns after it is durable; `read` does the same for a read. The committer and the manager call them from a
thread; tests call them inline.

Verbs take batches and give one outcome per item, in order. An expected outcome (a lost fence, a full queue, a
known idempotency key) is a value; an exception means the whole transaction is rolled back. Time is passed in.

Every change of a task writes its event rows and its tallies in the same transaction. Event kinds:
`submitted`, `forked` (of another task, before a step), `replaced`, `unblocked`, `started`, `step`,
`progress`, `retrying`, `put_back`, `rescued`, `paused`, `resumed`, `suspended`, `asked` (a person: {name,
question, details}), `event` (came for the task: {name, sender}), `graph` (a part of what a graph streams:
{mode, data, ...}), `finished` (its data: the `status`), `uncertain`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from penstock.errors import PenstockError
from penstock.model.api_key import ApiKey, TenantTerms
from penstock.model.batch import Batch
from penstock.model.flow_standing import FlowStanding
from penstock.model.lane import Lane
from penstock.model.order import Order, StoredFile
from penstock.model.rank import Rank
from penstock.model.reservation import Reservation, ReservationView, Settlement
from penstock.model.schedule import Schedule
from penstock.model.standing import Program
from penstock.model.states import TaskStatus
from penstock.model.step import StepKey, StepRecord
from penstock.model.task import (
    Added,
    Claimed,
    Ended,
    Existing,
    Finish,
    NewTask,
    Notice,
    PutBack,
    TaskStanding,
    TaskView,
    Waiting,
)
from penstock.stores.asks import (
    Control,
    Count,
    Event,
    FinishedLine,
    Gauge,
    NodeView,
    Pruned,
    Rescued,
    Retention,
    Spend,
    SpendSum,
    StoredLane,
    Tally,
    TaskFilter,
    WaitRow,
)
from penstock.stores.contract_budgets import BudgetReader, BudgetWriter
from penstock.stores.contract_checkpoints import CheckpointReader, CheckpointWriter
from penstock.stores.contract_groups import GroupReader, GroupWriter
from penstock.stores.contract_waits import AwaitReader, AwaitWriter

__all__ = [
    "AddOutcome",
    "Control",
    "Count",
    "Event",
    "FinishedLine",
    "Gauge",
    "NodeView",
    "Pruned",
    "Reader",
    "Rescued",
    "Retention",
    "Spend",
    "SpendSum",
    "Store",
    "StoredLane",
    "Tally",
    "TaskFilter",
    "Transaction",
    "WaitRow",
]

T = TypeVar("T")

AddOutcome = Added | Existing | PenstockError


class StandingReader(Protocol):
    """What a dispatcher asks of flows and programs."""

    def flow_heads(self, lane: int, flows: Sequence[str]) -> dict[str | None, Rank]:
        """The rank of the best-ranked claimable task of each of these flows that has one in this lane; those
        without a flow are of the flow ""."""

    def flow_standings(self) -> list[FlowStanding]:
        """Every flow that `keep_flows` wrote, by name."""

    def latest_programs(self, limit: int) -> list[Program]:
        """The programs that entered last, with what they have attained."""

    def waiting_of_program(self, program: str, after: int = 0, limit: int = 1000) -> list[Waiting]:
        """The next `limit` tasks of a program behind seq `after` that wait in any way, by seq. Costs by those
        of it that have not ended."""


class ScheduleReader(Protocol):
    """What is asked of schedules."""

    def schedule(self, name: str, tenant: str = "") -> Schedule | None:
        """The schedule of that name of a tenant."""

    def schedules(self, tenant: str | None = None) -> list[Schedule]:
        """All of them, or those of one tenant, by tenant and name."""

    def due_schedules(self, now: float, limit: int = 100) -> list[Schedule]:
        """Enabled ones whose `fire_at` has come, the earliest first."""

    def next_firing(self) -> float | None:
        """The earliest `fire_at` of those that are enabled."""


class OverviewReader(Protocol):
    """What is asked of many tasks at once."""

    def counts(self, where: TaskFilter) -> dict[TaskStatus, Count]:
        """The tasks that match, by status; costs by their number."""

    def ids(self, where: TaskFilter, after: int = 0, limit: int = 1000) -> list[tuple[int, str]]:
        """(seq, id) of the next `limit` tasks behind `after` that match, by seq."""

    def tags(self, prefix: str, before: str | None = None, limit: int = 100) -> list[str]:
        """The tags in use that begin so, from the last in order of their letters to the first; `before` is
        the last one of the page before."""


class KeyReader(Protocol):
    """What is asked of API keys."""

    def keys_version(self) -> int:
        """Rises with every change of a key or of a tenant's terms."""

    def api_keys(self) -> list[ApiKey]:
        """All of them by name, those that are revoked or expired included."""

    def tenant_terms(self) -> list[TenantTerms]:
        """What tenants are granted, of those of whom anything is said."""


class OrderReader(Protocol):
    """What clients of the gateway keep here."""

    def file(self, id: str) -> StoredFile | None: ...
    def files(self, tenant: str | None, after: str = "", limit: int = 100) -> list[StoredFile]:
        """A page of a tenant's files (`None`: everybody's), newest first; `after` is the last id before."""

    def file_bytes(self, tenant: str) -> int:
        """The size of all files of a tenant."""

    def expired_files(self, now: float, limit: int = 100) -> list[StoredFile]: ...
    def order(self, id: str) -> Order | None: ...
    def orders(self, tenant: str | None, after: str = "", limit: int = 100) -> list[Order]:
        """A page, as of `files`."""

    def open_orders(self) -> list[Order]:
        """Those that have not ended, oldest first."""


class FigureReader(Protocol):
    """What a monitor asks, at a cost that does not grow with the backlog."""

    def spend_sums(self) -> list[SpendSum]:
        """All spending by tenant and model, the most expensive first."""

    def longest_waiting(self, among: int = 10_000) -> float | None:
        """When the claimable task entered that waits longest, looking at so many of them."""


class Reader(
    StandingReader,
    ScheduleReader,
    KeyReader,
    OrderReader,
    FigureReader,
    OverviewReader,
    GroupReader,
    BudgetReader,
    AwaitReader,
    CheckpointReader,
    Protocol,
):
    """Reads; each sees one consistent state."""

    def task(self, id: str) -> TaskView | None:
        """The task of that id or unique beginning of an id, with its journal's outline in `steps`."""

    def tasks(
        self,
        where: TaskFilter,
        after: int = 0,
        limit: int = 100,
        newest: bool = True,
        whole: bool = True,
    ) -> list[TaskView]:
        """A page of tasks by `seq`; `after` is the last `seq` of the page before (0: the first page). Where
        it is not `whole`, payloads and results of more than 2 KB are left out as `OMITTED`."""

    def ahead(self, seq: int) -> int:
        """How many claimable tasks of the same lane are better-ranked (counted up to 10,000)."""

    def heads(self, lanes: Sequence[int]) -> dict[int, tuple[Rank, str | None]]:
        """Rank and flow of the best-ranked claimable task of each of these lanes that has one. Of tasks with
        flows it looks at 1,000 of a lane."""

    def waiting_flows(self) -> list[tuple[int, str]]:
        """Every (lane, flow) that has claimable tasks, those without a flow as flow ""; cost by their number,
        not by the backlog."""

    def waiting_seqs(self) -> list[int]:
        """All tasks that wait (claimable, delayed, paused, blocked, suspended), claimable ones first and best
        first within a lane."""

    def waiting(self, seqs: Sequence[int]) -> list[Waiting]:
        """Those of these tasks that still wait."""

    def program(self, id: str) -> tuple[float, float, float] | None:
        """(entered_at, size, attained) of a program."""

    def dependencies(self, seq: int) -> list[str]:
        """Ids of the tasks that a task needs, in the order given; all of them as long as it has not ended."""

    def results_of(self, ids: Sequence[str]) -> dict[str, tuple[TaskStatus, str | None, str | None]]:
        """(status, result, error) of those of these tasks that are there, by id; JSON texts."""

    def tallies(self) -> list[Tally]: ...
    def totals(self) -> dict[str, float]:
        """Sums over finished tasks: `queue_seconds` (without what they waited for others), `run_seconds`,
        `processed`."""

    def lanes(self) -> list[StoredLane]: ...
    def journal(self, seq: int) -> list[StepRecord]: ...
    def reservations(self, states: Sequence[str], limit: int = 1000) -> list[ReservationView]: ...
    def recent_reservations(self, since: float) -> list[ReservationView]:
        """Everything held, and all that was settled or became uncertain (`done_at`) at or after `since`."""

    def spend(self) -> list[Spend]: ...
    def events(
        self, after: int, limit: int = 1000, task: int | None = None, kinds: Sequence[str] = ()
    ) -> list[Event]:
        """The next `limit` events behind number `after`; with `kinds` only those."""

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
        """When `promote` has something to do next: a delayed or retrying task is due, or one expires."""

    def cached(self, tenant: str, digest: str, now: float) -> bytes | None:
        """An unexpired entry of the exact-match cache."""

    def sizes(self) -> dict[str, int]:
        """Bytes and row counts, for `penstock db show`."""


class StandingWriter(Protocol):
    """What a dispatcher keeps of flows, programs and tasks for its next life."""

    def keep_flows(self, flows: Sequence[FlowStanding]) -> None:
        """Replace how these flows stand."""

    def keep_standings(self, tasks: Sequence[TaskStanding]) -> None:
        """Replace how running tasks stand; those that are not held under this claim any more are left
        alone."""

    def serve_program(self, program: str, amount: float) -> None:
        """Add to what a program has attained, in the scarce unit."""


class ScheduleWriter(Protocol):
    """Keeping schedules, and moving them on."""

    def put_schedule(self, schedule: Schedule) -> None:
        """Keep it, in the place of the one of its tenant and name."""

    def move_schedule(self, before: Schedule, after: Schedule) -> bool:
        """Compare-and-set on (tenant, name, version, next_at) of an enabled schedule: its ticks, version and
        what it tells of firings become those of `after`. False: it was changed meanwhile; nothing is."""

    def drop_schedule(self, name: str, tenant: str = "") -> bool: ...


class KeyWriter(Protocol):
    """Keeping API keys and the terms of tenants."""

    def put_key(self, key: ApiKey) -> None:
        """Keep it, in the place of the one of its name."""

    def drop_key(self, name: str) -> bool: ...
    def put_terms(self, terms: TenantTerms) -> None:
        """Keep them, in the place of those of that tenant; forget them when they say nothing."""


class OrderWriter(Protocol):
    """Keeping what clients of the gateway keep here."""

    def put_file(self, file: StoredFile) -> None: ...
    def drop_file(self, id: str) -> bool: ...
    def put_order(self, order: Order) -> None:
        """Keep it, in the place of the one of its id."""


class Transaction(
    Reader,
    StandingWriter,
    ScheduleWriter,
    KeyWriter,
    OrderWriter,
    GroupWriter,
    BudgetWriter,
    AwaitWriter,
    CheckpointWriter,
    Protocol,
):
    """Writes; all or nothing with everything else in the same transaction."""

    def add(self, tasks: Sequence[NewTask], capacity: int | None = None) -> list[AddOutcome]:
        """Put tasks in the line (delayed ones beside it). `capacity` bounds the tasks that are not final:
        what goes beyond is answered with `QueueFull`, in order. `inherit_journal` copies the journal of
        `retry_of`; with `fork_before` only what was recorded before that step, and not inside of it. What has
        an `ended_no` enters as completed.

        A task is blocked until all tasks of its `after` completed, and enters as failed (`dependency_failed`)
        when one of them ended otherwise; one that is not there is answered with `TaskNotFound`, a circle with
        `InvalidTask`. The newest task of a tenant's `unique_key` holds it until it ends: further ones are
        answered with `Existing`, unless they are debounced and it was claimed before."""

    def claim_flows(self, wanted: Mapping[int, Mapping[str, int]], node: int, now: float) -> list[Claimed]:
        """Take up to n best-ranked claimable tasks of each flow of each lane, best first within a flow. Those
        without a flow go with the flow ""."""

    def claim(
        self, wanted: Mapping[int, int], node: int, now: float, most: int | None = None
    ) -> list[Claimed]:
        """Take up to n best-ranked claimable tasks of each lane, and at most `most` in all: then the
        best-ranked over all these lanes. Best first within a lane, whatever their flows; of tasks with flows
        it looks at 1,000 of a lane, for there are few unless the strategy is being switched."""

    def finish(self, ends: Sequence[Finish]) -> list[Ended]:
        """Compare-and-set on (seq, claim_no); a false outcome changes nothing. Tasks that waited for one that
        completed become claimable with their last one; those of one that ended otherwise fail."""

    def tell(self, items: Sequence[Notice]) -> list[bool]:
        """Write what running tasks tell as events; fenced."""

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

    def promote(self, now: float, limit: int = 1000, early: Sequence[int] = ()) -> Rescued:
        """Make claimable what is due, and what of `early` is to be later; fail what was not started before it
        expired."""

    def set_aside(self, crashes: int, until: float) -> list[int]:
        """Tasks with so many crashes that were put back to wait until some time up to `until`: an earlier
        process meant to call them before."""

    def rescue(self, dead_before: float, now: float, poison_after: int, nodes: Sequence[int] = ()) -> Rescued:
        """Take back the tasks of nodes whose lease ran out before `dead_before`, and of `nodes`; their held
        reservations become uncertain. `attempt` and `crashes` rise, but of those that lead groups, which
        only wait; a task with `poison_after` crashes and no step recorded in between fails, or with ten
        times as many attempts."""

    def cancel(self, where: TaskFilter, now: float) -> dict[str, bool]:
        """Waiting tasks end as cancelled; running ones get a control row. True: it is or will be
        cancelled."""

    def pause(self, where: TaskFilter, now: float) -> int:
        """Keep what waits from being claimed, blocked and suspended tasks too: blocked ones go on counting
        what they wait for, and fail with it; for suspended ones all that comes is kept."""

    def resume(self, where: TaskFilter, now: float) -> int:
        """Let paused tasks go on waiting: in the line, blocked as long as others have not ended, or suspended
        unless something came for them meanwhile."""

    def set_pause(self, scope: str, paused: bool) -> None:
        """Pause a whole scope: `all`, `type:NAME` or `tenant:NAME`."""

    def rerank(self, ranks: Sequence[tuple[int, Rank, str | None]]) -> None:
        """New ranks and flows, by seq, of tasks that wait; what does not wait any more is left alone."""

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
        """Remove one chunk, programs and idle flows with their last task; `more` says that another call has
        work."""


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
