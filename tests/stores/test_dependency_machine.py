"""A state machine of tasks that wait for each other and expire, beside a model of a few lines."""

from collections import Counter
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from penstock.errors import InvalidTask, TaskNotFound
from penstock.model.states import FINAL, MOVES, TaskStatus
from penstock.model.task import Added, Finish
from penstock.stores.contract import Retention, TaskFilter
from penstock.stores.sqlite.store import SqliteStore
from penstock.testing.store_probe import LANE, NOW, Probe, task_named

BLOCKED, QUEUED, RUNNING, PAUSED, COMPLETED, FAILED, CANCELLED = (
    TaskStatus.BLOCKED,
    TaskStatus.QUEUED,
    TaskStatus.RUNNING,
    TaskStatus.PAUSED,
    TaskStatus.COMPLETED,
    TaskStatus.FAILED,
    TaskStatus.CANCELLED,
)
PICK = st.integers(0, 9)


@dataclass
class Known:
    """What the model knows of a task."""

    after: tuple[str, ...]
    expires_at: float | None
    status: TaskStatus = QUEUED
    claim: object = None
    claims: int = 0


class DependencyMachine(RuleBasedStateMachine):
    """Verbs that end tasks, against a graph."""

    @initialize()
    def begin(self):
        self.store = SqliteStore.open(":memory:")
        self.probe = Probe(self.store)
        self.lane = self.store.run(lambda tx: tx.lane(LANE))
        self.now = NOW
        self.tasks: dict[str, Known] = {}
        self.count = 0

    def move(self, id, status):
        known = self.tasks[id]
        assert status in MOVES[known.status], f"{known.status} became {status}"
        known.status, known.claim = status, None
        if status not in FINAL:
            return
        for other, task in self.tasks.items():
            if task.status in (BLOCKED, PAUSED) and id in task.after:
                if status is not COMPLETED:
                    self.move(other, FAILED)
                elif task.status is PAUSED:
                    continue
                elif all(self.tasks[need].status is COMPLETED for need in task.after):
                    task.status = QUEUED

    def pick(self, pick, *statuses):
        some = [id for id, known in self.tasks.items() if known.status in statuses]
        return some[pick % len(some)] if some else None

    @rule(
        needs=st.lists(st.lists(st.integers(-4, 8), max_size=3), min_size=1, max_size=5),
        expires=st.lists(st.sampled_from([None, None, 0.0, 1.0, 3.0]), min_size=5, max_size=5),
    )
    def add(self, needs, expires):
        """Below 0: other tasks of the same batch; from 0: tasks that are there, the newest first."""
        ids = [f"t{self.count + place}" for place in range(len(needs))]
        self.count += len(needs)
        there = list(self.tasks)[::-1]
        after = {
            id: tuple(
                dict.fromkeys(
                    ids[-1 - one] if one < 0 else there[one]
                    for one in named
                    if (-one <= len(ids) if one < 0 else one < len(there))
                )
            )
            for id, named in zip(ids, needs, strict=True)
        }
        times = {id: None if e is None else self.now + e for id, e in zip(ids, expires, strict=False)}
        new = [task_named(id, at=self.now, after=after[id], expires_at=times[id]) for id in ids]
        outcomes = dict(zip(ids, self.store.run(lambda tx: tx.add(new)), strict=True))
        left = list(ids)
        while ready := [id for id in left if not set(after[id]) & set(left)]:
            for id in ready:
                left.remove(id)
                assert isinstance(outcomes[id], Added)
                self.tasks[id] = Known(after[id], times[id])
                found = {self.tasks[need].status for need in after[id]}
                if found & {FAILED, CANCELLED}:
                    self.tasks[id].status = FAILED
                elif found - {COMPLETED}:
                    self.tasks[id].status = BLOCKED
        assert all(isinstance(outcomes[id], InvalidTask | TaskNotFound) for id in left)
        if left:
            assert any(isinstance(outcomes[id], InvalidTask) for id in left)

    @rule(width=st.integers(2, 4))
    def add_layers(self, width):
        both = [-1 - one for one in range(width)]
        self.add([[] for _ in both] + [both, [*both[:1], -1 - width]], [None] * (width + 2))

    @rule(n=st.integers(1, 4))
    def claim(self, n):
        self.expire()
        waiting = {id for id, known in self.tasks.items() if known.status is QUEUED}
        claimed = self.store.run(lambda tx: tx.claim({self.lane: n}, self.probe.node, self.now))
        assert len(claimed) == min(n, len(waiting))
        for task in claimed:
            known = self.tasks[task.id]
            assert known.status is QUEUED
            known.status, known.claim, known.claims = RUNNING, task, known.claims + 1

    @rule(
        statuses=st.lists(st.sampled_from([COMPLETED, COMPLETED, COMPLETED, FAILED, CANCELLED]), max_size=3)
    )
    def finish(self, statuses):
        running = [id for id, known in self.tasks.items() if known.status is RUNNING]
        ends = list(zip(running, statuses, strict=False))
        finishes = [Finish(self.tasks[id].claim, status, self.now, "1") for id, status in ends]
        before = {id for id, known in self.tasks.items() if known.status in (BLOCKED, PAUSED)}
        outcomes = self.store.run(lambda tx: tx.finish(finishes))
        # The good ends first: what waits for a good and a bad one fails, never runs.
        for good in (True, False):
            for id, status in ends:
                if (status is COMPLETED) is good:
                    self.tasks[id].status = status
        for id, status in ends:
            self.tasks[id].status = RUNNING
            self.move(id, status)
        freed = {id for id in before if self.tasks[id].status is QUEUED}
        failed = {id for id in before if self.tasks[id].status is FAILED}
        for outcome in outcomes:
            assert outcome
            assert outcome.lanes == ((self.lane,) if freed else ())
            assert set(outcome.failed) == failed

    @rule(
        statuses=st.lists(st.sampled_from([COMPLETED, COMPLETED, COMPLETED, FAILED]), min_size=4, max_size=9)
    )
    def work_off(self, statuses):
        self.claim(9)
        self.finish(statuses)

    @rule(pick=PICK)
    def cancel(self, pick):
        id = self.pick(pick, QUEUED, BLOCKED, PAUSED)
        if id is not None:
            self.store.run(lambda tx: tx.cancel(TaskFilter(ids=(id,)), self.now))
            self.move(id, CANCELLED)

    @rule(pick=PICK)
    def pause_or_resume(self, pick):
        id = self.pick(pick, QUEUED, PAUSED, BLOCKED)
        if id is not None:
            where = TaskFilter(ids=(id,))
            if self.tasks[id].status is PAUSED:
                self.store.run(lambda tx: tx.resume(where, self.now))
                left = [need for need in self.tasks[id].after if self.tasks[need].status is not COMPLETED]
                self.move(id, BLOCKED if left else QUEUED)
            else:
                self.store.run(lambda tx: tx.pause(where, self.now))
                self.move(id, PAUSED)

    @rule()
    def crash(self):
        rescued = self.store.run(lambda tx: tx.rescue(0.0, self.now, 2, [self.probe.node]))
        self.probe = Probe(self.store)
        for id in [id for id, known in self.tasks.items() if known.status is RUNNING]:
            self.move(id, FAILED if id in rescued.poisoned else QUEUED)

    @rule(seconds=st.sampled_from([0.0, 0.5, 2.0]), promoted=st.booleans())
    def time_passes(self, seconds, promoted):
        self.now += seconds
        if promoted:
            self.expire()
            self.store.run(lambda tx: tx.promote(self.now))
            due = self.store.read(lambda reader: reader.next_due())
            assert due is None or due > self.now

    def expire(self):
        for id, known in list(self.tasks.items()):
            late = known.expires_at is not None and known.expires_at <= self.now and not known.claims
            if late and known.status not in FINAL:
                self.move(id, FAILED)

    @rule()
    def prune(self):
        self.store.run(lambda tx: tx.prune(Retention(finished_before=self.now + 1), self.now))
        needed = {id for known in self.tasks.values() if known.status not in FINAL for id in known.after}
        for id in [id for id, known in self.tasks.items() if known.status in FINAL and id not in needed]:
            del self.tasks[id]
        for known in self.tasks.values():
            known.after = tuple(id for id in known.after if id in self.tasks)

    @invariant()
    def the_store_knows_the_same(self):
        views = self.store.read(lambda reader: reader.tasks(TaskFilter(), limit=10_000))
        assert {view.id: view.status for view in views} == {
            id: known.status for id, known in self.tasks.items()
        }
        for view in views:
            assert set(view.after) == set(self.tasks[view.id].after)
            assert view.ready == (view.status is QUEUED)
        tallies = Counter()
        for tally in self.store.read(lambda reader: reader.tallies()):
            tallies[tally.status] += tally.count
        assert +tallies == Counter(known.status for known in self.tasks.values())
        assert self.store.verify() == []

    def teardown(self):
        if hasattr(self, "store"):
            self.store.close()


TestDependencies = DependencyMachine.TestCase
TestDependencies.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
