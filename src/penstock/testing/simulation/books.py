"""Books kept beside the store: what every committed transaction must have done, judged by simple rules.

The store's own transaction is wrapped; what each verb was given and answered is noted, and judged when the
transaction is durable. A breach is one line of text that names the invariant of the design.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from penstock.model.reservation import Reservation, ReservationState, Settlement
from penstock.model.states import FINAL, TaskStatus
from penstock.model.step import StepRecord
from penstock.model.task import Added, Claimed, Ended, Finish, NewTask, PutBack
from penstock.stores.contract import AddOutcome, Rescued, Store, TaskFilter
from penstock.testing.simulation.loop import current_life

T = TypeVar("T")
Note = Callable[[], None]

_MOST = 10_000


@dataclass(slots=True)
class Entry:
    """A task as it must stand."""

    id: str
    tenant: str
    status: TaskStatus = TaskStatus.QUEUED
    claim_no: int = 0
    ready: bool = True


@dataclass(slots=True)
class Books:
    """`budget` in pico-dollars, judged only while `strict_money`; `say(kind, text)` is told of every verb.
    `waits`: tasks were suspended or had children, so that the end of one may move others."""

    say: Callable[[str, str], None]
    budget: int | None = None
    strict_money: bool = True
    waits: bool = False
    tasks: dict[int, Entry] = field(default_factory=dict)
    recorded: set[str] = field(default_factory=set)
    breaches: list[str] = field(default_factory=list)
    spent: int = 0
    held: dict[int, int] = field(default_factory=dict)
    transactions: int = 0

    def breach(self, text: str) -> None:
        if len(self.breaches) < 20:
            self.breaches.append(text)
            self.say("BREACH", text)

    def expect(self, held: bool, text: str) -> None:
        if not held:
            self.breach(text)

    # What transactions did, in their order

    def added(self, tasks: Sequence[NewTask], outcomes: Sequence[AddOutcome]) -> None:
        for task, outcome in zip(tasks, outcomes, strict=True):
            if isinstance(outcome, Added):
                status = TaskStatus.FAILED if task.error is not None else TaskStatus.QUEUED
                self.tasks[outcome.seq] = Entry(outcome.id, task.tenant, status, ready=task.due_at is None)
                self.say("add", f"{outcome.seq} {task.type} {task.tenant}")

    def claimed(self, tasks: Sequence[Claimed], node: int) -> None:
        for task in tasks:
            entry = self.tasks[task.seq]
            waits = entry.status in (TaskStatus.QUEUED, TaskStatus.RETRYING)
            self.expect(waits, f"2: task {task.seq} was claimed while {entry.status}")
            self.expect(task.claim_no == entry.claim_no + 1, f"7: claim {task.claim_no} of task {task.seq}")
            entry.status, entry.claim_no = TaskStatus.RUNNING, task.claim_no
            self.say("claim", f"{task.seq} no {task.claim_no} by {node}")

    def _fenced(self, verb: str, seq: int, claim_no: int, landed: bool) -> None:
        entry = self.tasks[seq]
        holds = entry.status is TaskStatus.RUNNING and entry.claim_no == claim_no
        if landed != holds:
            now = f"it is {entry.status}, claim {entry.claim_no}"
            self.breach(f"7: {verb} of task {seq} by claim {claim_no} answered {landed}; {now}")

    def finished(self, ends: Sequence[Finish], outcomes: Sequence[Ended]) -> None:
        for end, landed in zip(ends, outcomes, strict=True):
            seq, claim_no = end.task.seq, end.task.claim_no
            self._fenced("finish", seq, claim_no, bool(landed))
            if landed:
                entry = self.tasks[seq]
                self.expect(entry.status not in FINAL, f"2: task {seq} ended again, as {end.status}")
                entry.status = end.status
            self.say("finish", f"{seq} no {claim_no} {end.status} {bool(landed)}")

    def returned(self, returns: Sequence[PutBack], outcomes: Sequence[bool]) -> None:
        for back, landed in zip(returns, outcomes, strict=True):
            self._fenced("put_back", back.task.seq, back.task.claim_no, landed)
            if landed:
                entry = self.tasks[back.task.seq]
                entry.status, entry.ready = back.status, back.due_at is None
            self.say("put_back", f"{back.task.seq} no {back.task.claim_no} {back.status} {landed}")

    def stepped(self, steps: Sequence[StepRecord], outcomes: Sequence[bool]) -> None:
        for step, landed in zip(steps, outcomes, strict=True):
            self._fenced("record", step.seq, step.claim_no, landed)
            if landed and step.kind == "http":
                self.recorded.add(step.key.digest)
            self.say("record", f"{step.seq} no {step.claim_no} {step.key.name} {landed}")

    def reserved(self, intents: Sequence[Reservation], ids: Sequence[int]) -> None:
        for intent, id in zip(intents, ids, strict=True):
            self.held[id] = intent.cost_held
            self.say("reserve", f"{id} of {intent.task} {intent.input_held}+{intent.output_held}")

    def settled(self, settlements: Sequence[Settlement], outcomes: Sequence[bool]) -> None:
        for one, landed in zip(settlements, outcomes, strict=True):
            self.expect(landed == (one.id in self.held), f"4: settle of {one.id} answered {landed}")
            if landed:
                amount = self.held.pop(one.id, 0)
                uncertain = one.state is ReservationState.UNCERTAIN
                if one.state is not ReservationState.RELEASED:
                    self.spent += amount if uncertain else one.cost
            self.say("settle", f"{one.id} {one.state} {one.input_tokens}+{one.output_tokens} {landed}")

    def synchronise(
        self, verb: str, found: Mapping[int, tuple[TaskStatus, int, bool]], held: frozenset[int]
    ) -> None:
        """After a verb over many tasks: take over what the store says, if these were legal moves."""
        for seq, (status, claim_no, ready) in found.items():
            entry = self.tasks[seq]
            if status is not entry.status:
                self.expect(
                    entry.status not in FINAL, f"2: {verb} made task {seq} {status}, it was {entry.status}"
                )
                self.say(verb, f"{seq} {entry.status} -> {status}")
            self.expect(claim_no >= entry.claim_no, f"7: {verb} lowered the claim of task {seq}")
            entry.status, entry.claim_no, entry.ready = status, claim_no, ready
        self.expect(
            len(found) == len(self.tasks), f"1: {verb}: {len(found)} tasks are left of {len(self.tasks)}"
        )
        for id in [id for id in self.held if id not in held]:
            self.spent += self.held.pop(id)
            self.say("uncertain", str(id))

    def committed(self) -> None:
        self.transactions += 1
        if self.budget is not None and self.strict_money:
            committed = self.spent + sum(self.held.values())
            self.expect(
                committed <= self.budget, f"4: spent and held {committed} above the budget {self.budget}"
            )


class WatchedTransaction:
    """Every verb of a transaction, noted. Verbs that change no task and no money pass through."""

    def __init__(self, inner: Any, books: Books, notes: list[Note]) -> None:
        self._inner, self._books, self._notes = inner, books, notes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def add(self, tasks: Sequence[NewTask], capacity: int | None = None) -> list[AddOutcome]:
        outcomes: list[AddOutcome] = self._inner.add(tasks, capacity)
        self._notes.append(lambda: self._books.added(tasks, outcomes))
        return outcomes

    def claim(self, wanted: Any, node: int, now: float, most: int | None = None) -> list[Claimed]:
        return self._claimed(self._inner.claim(wanted, node, now, most), node)

    def claim_flows(self, wanted: Any, node: int, now: float) -> list[Claimed]:
        return self._claimed(self._inner.claim_flows(wanted, node, now), node)

    def _claimed(self, tasks: list[Claimed], node: int) -> list[Claimed]:
        self._notes.append(lambda: self._books.claimed(tasks, node))
        return tasks

    def finish(self, ends: Sequence[Finish]) -> list[Ended]:
        outcomes: list[Ended] = self._inner.finish(ends)
        self._notes.append(lambda: self._books.finished(ends, outcomes))
        self._follow("finish")
        return outcomes

    def put_back(self, returns: Sequence[PutBack]) -> list[bool]:
        outcomes: list[bool] = self._inner.put_back(returns)
        self._notes.append(lambda: self._books.returned(returns, outcomes))
        if any(back.status is TaskStatus.SUSPENDED for back in returns):
            self._books.waits = True
        self._follow("put_back")
        return outcomes

    def record(self, steps: Sequence[StepRecord]) -> list[bool]:
        outcomes: list[bool] = self._inner.record(steps)
        self._notes.append(lambda: self._books.stepped(steps, outcomes))
        return outcomes

    def reserve(self, intents: Sequence[Reservation]) -> list[int]:
        ids: list[int] = self._inner.reserve(intents)
        self._notes.append(lambda: self._books.reserved(intents, ids))
        return ids

    def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        outcomes: list[bool] = self._inner.settle(settlements)
        self._notes.append(lambda: self._books.settled(settlements, outcomes))
        return outcomes

    def rescue(self, dead_before: float, now: float, poison_after: int, nodes: Sequence[int] = ()) -> Rescued:
        rescued: Rescued = self._inner.rescue(dead_before, now, poison_after, nodes)
        if rescued.count or rescued.poisoned or rescued.uncertain:
            self._synchronise("rescue")
        return rescued

    def cancel(self, where: TaskFilter, now: float) -> dict[str, bool]:
        answers: dict[str, bool] = self._inner.cancel(where, now)
        self._synchronise("cancel")
        return answers

    def pause(self, where: TaskFilter, now: float) -> int:
        count: int = self._inner.pause(where, now)
        self._synchronise("pause")
        return count

    def resume(self, where: TaskFilter, now: float) -> int:
        count: int = self._inner.resume(where, now)
        self._synchronise("resume")
        return count

    def promote(self, now: float, limit: int = 1000, early: Sequence[int] = ()) -> Rescued:
        promoted: Rescued = self._inner.promote(now, limit, early)
        self._follow("promote")
        return promoted

    def deliver(self, id: str, name: str, data: str | None, sender: str, now: float) -> Any:
        outcome = self._inner.deliver(id, name, data, sender, now)
        self._follow("deliver")
        return outcome

    def adopt(self, parent: int, child: int, detached: bool = False, joined: bool = False) -> None:
        self._books.waits = True
        self._inner.adopt(parent, child, detached, joined)

    def _follow(self, verb: str) -> None:
        if self._books.waits:
            self._synchronise(verb)

    def _synchronise(self, verb: str) -> None:
        found = {
            view.seq: (view.status, view.claim_no, view.ready)
            for view in self._inner.tasks(TaskFilter(), limit=_MOST)
        }
        held = frozenset(one.id for one in self._inner.reservations(["held"], _MOST))
        self._notes.append(lambda: self._books.synchronise(verb, found, held))


class WatchedStore:
    """A store that outlives the processes that use it. `fault()` may raise in place of a commit."""

    def __init__(
        self, inner: Store, books: Books, fault: Callable[[], None], after: Callable[[], None]
    ) -> None:
        self.inner, self._books, self._fault, self._after = inner, books, fault, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def run(self, work: Callable[[Any], T]) -> T:
        notes: list[Note] = []

        def watched(transaction: Any) -> T:
            outcome = work(WatchedTransaction(transaction, self._books, notes))
            self._fault()
            return outcome

        outcome = self.inner.run(watched)
        if notes:
            life = current_life()
            self._books.say("commit", "" if life is None else f"by life {life.number}")
        for note in notes:
            note()
        self._books.committed()
        self._after()
        return outcome

    def lock_dispatch(self) -> None:
        """Several nodes at once, as after a lease was lost, are part of the simulation."""

    def changed_by_others(self) -> bool:
        return False

    def compact(self) -> None:
        """Nothing is gained in memory."""

    def close(self) -> None:
        """The store outlives the process that closes it."""
