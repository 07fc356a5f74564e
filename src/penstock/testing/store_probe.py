"""What a check holds in its hands: a fresh place for a store, and short words for what one does to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from penstock.model.ids import new_id
from penstock.model.lane import Lane
from penstock.model.rank import Rank
from penstock.model.reservation import Reservation, ReservationState, Settlement
from penstock.model.states import TaskStatus
from penstock.model.step import StepKey, StepRecord
from penstock.model.task import Added, Claimed, Ended, Finish, NewTask, PutBack, TaskView
from penstock.stores.contract import AddOutcome, Store, TaskFilter

NOW = 1_700_000_000.0
LANE = Lane("echo", "model-a")
LEASE = 30.0


@dataclass(frozen=True, slots=True)
class StorePlace:
    """A fresh, empty place for the store of one check.

    `open` gives a handle on it; called again, another handle on the same data, unless `shared` is false.
    `beside` is the path of a file that does not exist, for a backup; `open_copy` opens what was backed up
    there. Without them backups are not checked.
    """

    open: Callable[[], Store]
    shared: bool = True
    beside: str | None = None
    open_copy: Callable[[str], Store] | None = None


def task_named(id: str | None = None, *, at: float = NOW, lane: Lane = LANE, **fields: Any) -> NewTask:
    """A task that entered at `at`, ranked by that instant unless `rank` is given."""
    given: dict[str, Any] = {"type": lane.type, "rank": Rank(0, at), "created_at": at, "entered_at": at}
    given |= {"id": id or new_id(), "lane": lane, "payload": '{"text":"hi"}'}
    return NewTask(**given | fields)


def settled(id: int, state: ReservationState, at: float = NOW, **amounts: int) -> Settlement:
    """The end of reservation `id` at `at`; `amounts`: input_tokens, output_tokens, cost."""
    return Settlement(id, state, at, at, **amounts)


def step_of(
    task: Claimed, name: str, value: bytes = b"1", *, occurrence: int = 0, at: float = NOW
) -> StepRecord:
    """A step of `task` as its claim would record it."""
    return StepRecord(task.seq, task.claim_no, StepKey("", name, "d" * 32), occurrence, "value", value, at)


class Probe:
    """One handle on a store and one node of it; every verb is a transaction of its own."""

    def __init__(self, store: Store, name: str = "probe", now: float = NOW) -> None:
        self.store = store
        self.node = store.run(lambda tx: tx.join(name, 1, "host", now, now + LEASE))

    def offer(self, *tasks: NewTask, capacity: int | None = None) -> list[AddOutcome]:
        """Outcomes of `add`."""
        return self.store.run(lambda tx: tx.add(tasks, capacity))

    def add(self, **fields: Any) -> Added:
        """A new task that the store must take."""
        outcome = self.offer(task_named(**fields))[0]
        assert isinstance(outcome, Added), f"add refused a plain new task: {outcome!r}"
        return outcome

    def claim(self, lane: int, n: int = 1, now: float = NOW) -> list[Claimed]:
        return self.store.run(lambda tx: tx.claim({lane: n}, self.node, now))

    def take(self, added: Added, now: float = NOW) -> Claimed:
        """Claim the head of the task's lane, which must be that task."""
        claimed = self.claim(added.lane, 1, now)
        assert [task.id for task in claimed] == [added.id], f"claim gave {claimed}, expected task {added.id}"
        return claimed[0]

    def running(self, now: float = NOW, **fields: Any) -> Claimed:
        """A new task, claimed by this node; its lane must have been empty."""
        return self.take(self.add(at=now, **fields), now)

    def finish(
        self, task: Claimed, status: TaskStatus = TaskStatus.COMPLETED, at: float = NOW, **fields: Any
    ) -> bool:
        return bool(self.end(task, status, at, **fields))

    def end(
        self, task: Claimed, status: TaskStatus = TaskStatus.COMPLETED, at: float = NOW, **fields: Any
    ) -> Ended:
        """The whole outcome of `finish`."""
        return self.store.run(lambda tx: tx.finish([Finish(task, status, at, **fields)]))[0]

    def put_back(self, task: Claimed, status: TaskStatus, at: float = NOW, **fields: Any) -> bool:
        fields = {"rank": task.rank} | fields
        return self.store.run(lambda tx: tx.put_back([PutBack(task, status, at, **fields)]))[0]

    def record(self, *steps: StepRecord) -> list[bool]:
        return self.store.run(lambda tx: tx.record(steps))

    def reserve(self, task: Claimed | None = None, **fields: Any) -> int:
        """The id of a new reservation: 100 + 50 tokens and 7,000 pico-dollars at `NOW` by default."""
        values = {
            "task": task.seq if task else None,
            "claim_no": task.claim_no if task else 0,
            "step": "call",
            "type": "echo",
            "model": "model-a",
            "endpoint": "e",
            "tenant": "",
            "node": self.node,
            "at": NOW,
            "input_held": 100,
            "output_held": 50,
            "cost_held": 7_000,
        } | fields
        return self.store.run(lambda tx: tx.reserve([Reservation(**values)]))[0]

    def settle(self, *settlements: Settlement) -> list[bool]:
        return self.store.run(lambda tx: tx.settle(settlements))

    def view(self, id: str) -> TaskView:
        """The task of that id, which must be there."""
        found = self.store.read(lambda reader: reader.task(id))
        assert found is not None, f"task {id} is gone"
        return found

    def status(self, id: str) -> TaskStatus:
        return self.view(id).status

    def counts(self) -> dict[TaskStatus, int]:
        """Tasks by status, as the tallies tell; without zeros."""
        found: dict[TaskStatus, int] = {}
        for tally in self.store.read(lambda reader: reader.tallies()):
            if tally.count:
                found[tally.status] = found.get(tally.status, 0) + tally.count
        return found

    def kinds(self, seq: int) -> list[str]:
        """Kinds of the events of one task, in order."""
        return [event.kind for event in self.store.read(lambda reader: reader.events(0, task=seq))]

    def booked(self) -> tuple[int, int]:
        """(spent, uncertain) over everything, in pico-dollars."""
        rows = self.store.read(lambda reader: reader.spend())
        return sum(row.cost for row in rows), sum(row.uncertain for row in rows)


def where_id(*ids: str) -> TaskFilter:
    return TaskFilter(ids=ids)


def same(got: Any, expected: Any, what: str) -> None:
    """Raise `AssertionError` naming both when they differ."""
    assert got == expected, f"{what}: got {got!r}, expected {expected!r}"


def rising(numbers: Sequence[int | None], what: str) -> None:
    """Raise `AssertionError` unless each number is there and above the one before."""
    found = [number for number in numbers if number is not None]
    assert found == sorted(set(found)), f"{what} do not rise strictly: {numbers}"
    assert len(found) == len(numbers), f"{what} are missing: {numbers}"


def ids_of(tasks: Sequence[Claimed] | Sequence[TaskView]) -> list[str]:
    return [task.id for task in tasks]
