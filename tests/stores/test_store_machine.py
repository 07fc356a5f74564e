"""A state machine drives the store beside a simple model in memory; after every rule both tell the same."""

import json
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from penstock.errors import IdempotencyConflict, QueueFull
from penstock.model.batch import Batch
from penstock.model.ids import new_id
from penstock.model.lane import Lane
from penstock.model.rank import Rank
from penstock.model.reservation import Reservation, ReservationState, Settlement
from penstock.model.states import FINAL, MOVES, TaskStatus
from penstock.model.step import StepKey, StepRecord
from penstock.model.task import Added, Claimed, Existing, Finish, NewTask, PutBack
from penstock.stores.contract import Retention, TaskFilter
from penstock.stores.sqlite.store import SqliteStore

START = 1_700_000_000.0
LEASE = 20.0
POISON_AFTER = 2
LANES = (Lane("echo", "m"), Lane("echo", "n"))
HELD, SETTLED, RELEASED, UNCERTAIN = ReservationState
QUEUED, RUNNING, PAUSED, RETRYING = (
    TaskStatus.QUEUED,
    TaskStatus.RUNNING,
    TaskStatus.PAUSED,
    TaskStatus.RETRYING,
)

PICK = st.integers(0, 7)
RANKS = st.builds(Rank, st.integers(0, 1), st.sampled_from([-1.0, 0.0, 0.25, 1e9]))
DELAYS = st.sampled_from([None, None, 1.0, 3.0])
FLOWS = st.sampled_from([None, "x", "y"])
STANDINGS = st.sampled_from([None, '{"size":4}', '{"size":2.5,"level":1}'])


@dataclass
class Hold:
    """What the model knows of a reservation; `cost` is what it booked."""

    seq: int | None
    node: int
    held: int
    state: ReservationState = HELD
    cost: int = 0


@dataclass
class Known:
    """What the model knows of a task."""

    seq: int
    new: NewTask
    rank: Rank
    status: TaskStatus = QUEUED
    due_at: float | None = None  # set while it is delayed
    claim: Claimed | None = None
    attempt: int = 1
    crashes: int = 0
    claims: int = 0
    finished_no: int | None = None
    finished_at: float | None = None
    flow: str | None = None
    standing: str | None = None
    asked: bool = False  # to be cancelled, while it ran
    claim_of: dict[tuple[str, int], int] = field(default_factory=dict)  # which recorded a step
    journal: dict[tuple[str, int], bytes] = field(default_factory=dict)

    @property
    def claimable(self):
        return self.status in (QUEUED, RETRYING) and self.due_at is None

    @property
    def waits(self):
        return self.status is not RUNNING and self.status not in FINAL


def size_of(standing):
    return json.loads(standing)["size"] if standing else 0.0


class StoreMachine(RuleBasedStateMachine):
    """Verbs against a store in memory."""

    def open(self):
        return SqliteStore.open(":memory:")

    @initialize(ranks=st.lists(RANKS, min_size=4, max_size=10))
    def begin(self, ranks):
        self.store = self.open()
        self.now = START
        self.tasks: dict[str, Known] = {}
        self.pruned: set[str] = set()
        self.sizes: dict[str, float] = {}
        self.lost: list[Claimed] = []
        self.holds: dict[int, Hold] = {}
        self.finished = 0
        self.lane_ids = [self.store.run(lambda tx, lane=lane: tx.lane(lane)) for lane in LANES]
        self.leases: dict[int, float] = {}
        batch = Batch(0, "b", "i", "o", "e", "f", "{}", START)
        self.batch = self.store.run(lambda tx: tx.open_batch(batch)).id
        for _ in range(2):
            self.join()
        for rank in ranks:
            self.add_plain(rank)

    def add_plain(self, rank):
        lane = len(self.tasks) % 2
        task = NewTask(new_id(), "echo", LANES[lane], rank, self.now, payload="{}", priority=20 + lane)
        return self.entered(task, self.store.run(lambda tx: tx.add([task]))[0])

    def join(self):
        until = self.now + LEASE
        node = self.store.run(lambda tx: tx.join("n", 1, "h", self.now, until))
        assert node not in self.leases
        self.leases[node] = until

    # What the rules choose from, oldest first.

    def those(self, *statuses):
        return [known for known in self.tasks.values() if known.status in statuses]

    def running(self):
        return self.those(RUNNING)

    def a_running(self, pick):
        """A running task; one is claimed, or added and claimed, when there is none."""
        if not self.running():
            self.claim((1, 2), pick)
        if not self.running():
            self.add_plain(Rank(0, 0.0))
            self.claim((3, 3), pick)
        return self.running()[pick % len(self.running())]

    def node(self, pick):
        return list(self.leases)[pick % len(self.leases)]

    # What a move does to the model.

    def move(self, known, status, due_at=None):
        assert status in MOVES[known.status], f"{known.status} became {status}"
        if known.claim is not None:
            self.lost.append(known.claim)
            known.claim = None
        known.status, known.due_at = status, due_at
        if status in FINAL:
            known.finished_no, known.finished_at = self.seen(known).finished_no, self.now
            assert known.finished_no > self.finished
            self.finished = known.finished_no

    def seen(self, known):
        view = self.store.read(lambda reader: reader.task(known.new.id))
        assert view is not None
        return view

    def in_order_of_ending(self, known):
        """Several tasks that ended in one transaction, in the order the store gave."""
        return sorted(known, key=lambda one: self.seen(one).finished_no or 0)

    # Entering.

    @rule(
        lane=st.integers(0, 1),
        rank=RANKS,
        delay=DELAYS,
        tenant=st.sampled_from(["", "a"]),
        key=st.sampled_from([None, None, "k", "l"]),
        fingerprint=st.sampled_from(["f", "g"]),
        in_batch=st.booleans(),
        room=st.sampled_from([None, 0, 1]),
        count=st.integers(1, 3),
        flow=FLOWS,
        standing=STANDINGS,
    )
    def add(self, lane, rank, delay, tenant, key, fingerprint, in_batch, room, count, flow, standing):
        due_at = None if delay is None else self.now + delay
        new = [
            NewTask(
                new_id(),
                "echo",
                LANES[lane],
                rank,
                self.now,
                payload='{"p":1}',
                tenant=tenant,
                due_at=due_at,
                idempotency_key=key,
                fingerprint=fingerprint if key else None,
                batch=self.batch if in_batch else None,
                position=7,
                priority=20 + lane,
                flow=flow,
                standing=standing,
                program=flow,
            )
            for _ in range(count)
        ]
        opened = sum(known.status not in FINAL for known in self.tasks.values())
        capacity = None if room is None else opened + room
        outcomes = self.store.run(lambda tx: tx.add(new, capacity))
        assert len(outcomes) == count
        for task, outcome in zip(new, outcomes, strict=True):
            same_key = [
                known
                for known in self.tasks.values()
                if key and (known.new.tenant, known.new.idempotency_key) == (tenant, key)
            ]
            if same_key and same_key[0].new.fingerprint == fingerprint:
                assert isinstance(outcome, Existing)
                assert outcome.id == same_key[0].new.id
            elif same_key:
                assert isinstance(outcome, IdempotencyConflict)
            elif capacity is not None and opened >= capacity:
                assert isinstance(outcome, QueueFull)
            else:
                self.entered(task, outcome)
                opened += 1

    def entered(self, task, outcome):
        assert isinstance(outcome, Added)
        assert outcome.id == task.id
        assert all(outcome.seq > known.seq for known in self.tasks.values())
        known = Known(
            outcome.seq, task, task.rank, due_at=task.due_at, flow=task.flow, standing=task.standing
        )
        if task.program is not None:
            self.sizes[task.program] = self.sizes.get(task.program, 0.0) + size_of(task.standing)
        self.tasks[task.id] = known
        return known

    def add_already_failed(self, in_batch):
        batch = self.batch if in_batch else None
        error = '{"code":"c","message":"m"}'
        task = NewTask(
            new_id(), "echo", LANES[0], Rank(0, 0.0), self.now, error=error, batch=batch, position=8
        )
        known = self.entered(task, self.store.run(lambda tx: tx.add([task]))[0])
        self.move(known, TaskStatus.FAILED)

    @rule(pick=PICK, inherit=st.booleans(), in_batch=st.booleans())
    def retry(self, pick, inherit, in_batch):
        if not self.those(TaskStatus.FAILED):
            self.add_already_failed(in_batch)
        failed = self.those(TaskStatus.FAILED)
        old = failed[pick % len(failed)]
        task = NewTask(
            new_id(), "echo", LANES[0], Rank(0, 0.0), self.now, retry_of=old.new.id, inherit_journal=inherit
        )
        known = self.entered(task, self.store.run(lambda tx: tx.add([task]))[0])
        known.journal = dict(old.journal) if inherit else {}

    # The line.

    @rule(
        wanted=st.sampled_from([(1, 1), (2, 0), (0, 2), (1, 3), (4, 4)]),
        pick=PICK,
        most=st.sampled_from([None, 1, 3]),
    )
    def claim(self, wanted, pick, most=None):
        node = self.node(pick)
        asked = dict(zip(self.lane_ids, wanted, strict=True))
        claimed = self.store.run(lambda tx: tx.claim(asked, node, self.now, most))
        expected = []
        for lane, n in zip(LANES, wanted, strict=True):
            line = [known for known in self.tasks.values() if known.claimable and known.new.lane == lane]
            expected += sorted(line, key=lambda known: (known.rank, known.seq))[:n]
        if most is not None:
            best = sorted(expected, key=lambda known: (known.rank, known.seq))[:most]
            expected = [known for known in expected if known in best]
        by_lane = sorted(claimed, key=lambda task: self.lane_ids.index(task.lane))
        assert [task.id for task in by_lane] == [known.new.id for known in expected]
        for task in claimed:
            self.started(self.tasks[task.id], task)

    @rule(
        x=st.integers(0, 3),
        y=st.integers(0, 2),
        nameless=st.integers(0, 2),
        lanes=st.sampled_from([(0,), (1,), (0, 1)]),
        pick=PICK,
    )
    def claim_flows(self, x, y, nameless, lanes, pick):
        node = self.node(pick)
        counts = {"": nameless, "x": x, "y": y}
        asked = {self.lane_ids[lane]: counts for lane in lanes}
        expected = []
        for lane in lanes:
            for flow, n in counts.items():
                expected += self.line(LANES[lane], flow)[:n]
        claimed = self.store.run(lambda tx: tx.claim_flows(asked, node, self.now))
        of_flows = sorted(claimed, key=lambda task: (self.lane_ids.index(task.lane), task.flow or ""))
        assert [task.id for task in of_flows] == [known.new.id for known in expected]
        for task in claimed:
            self.started(self.tasks[task.id], task)

    def line(self, lane, flow):
        """The claimable tasks of a flow, best first; those without a flow are of the flow ""."""
        line = [
            one
            for one in self.tasks.values()
            if one.claimable and (one.new.lane, one.flow or "") == (lane, flow)
        ]
        return sorted(line, key=lambda known: (known.rank, known.seq))

    def started(self, known, task):
        assert RUNNING in MOVES[known.status]
        assert (task.attempt, task.crashes, task.rank) == (known.attempt, known.crashes, known.rank)
        assert (task.flow, task.standing, task.program) == (known.flow, known.standing, known.new.program)
        assert all(task.claim_no > old.claim_no for old in self.lost if old.seq == task.seq)
        assert task.journaled or not known.journal
        known.status, known.claim, known.claims = RUNNING, task, known.claims + 1

    @precondition(lambda self: any(known.claimable for known in self.tasks.values()))
    @rule(pick=PICK)
    def ahead(self, pick):
        line = [known for known in self.tasks.values() if known.claimable]
        me = line[pick % len(line)]
        better = [
            one for one in line if one.new.lane == me.new.lane and (one.rank, one.seq) < (me.rank, me.seq)
        ]
        assert self.store.read(lambda reader: reader.ahead(me.seq)) == len(better)

    @rule(seconds=st.sampled_from([0.0, 1.0, 2.0, 15.0]))
    def time_passes(self, seconds):
        self.now += seconds
        due = [
            known
            for known in self.tasks.values()
            if known.status is not PAUSED and known.due_at is not None and known.due_at <= self.now
        ]
        outcome = self.store.run(lambda tx: tx.promote(self.now))
        assert outcome.count == len(due)
        assert outcome.lanes == {self.lane_ids[LANES.index(known.new.lane)] for known in due}
        for known in due:
            known.due_at = None
            if known.status is TaskStatus.SUSPENDED:
                known.status = QUEUED
        left = [
            one.due_at for one in self.tasks.values() if one.due_at is not None and one.status is not PAUSED
        ]
        assert outcome.next_due == min(left, default=None)

    @precondition(lambda self: self.tasks)
    @rule(pick=PICK, rank=RANKS, flow=FLOWS)
    def rerank(self, pick, rank, flow):
        some = list(self.tasks.values())[pick % len(self.tasks) :: 3]
        self.store.run(lambda tx: tx.rerank([(known.seq, rank, flow) for known in some]))
        for known in some:
            if known.waits:
                known.rank, known.flow = rank, flow

    @precondition(lambda self: self.tasks)
    @rule(pick=PICK)
    def pause(self, pick):
        known = list(self.tasks.values())[pick % len(self.tasks)]
        if known.status is TaskStatus.SUSPENDED:
            return  # whether a durable wait can be paused is for no contract to say
        count = self.store.run(lambda tx: tx.pause(TaskFilter(ids=(known.new.id,)), self.now))
        assert count == (known.status in (QUEUED, RETRYING))
        if count:
            known.status = PAUSED

    @precondition(lambda self: self.those(PAUSED))
    @rule()
    def resume(self):
        paused = self.those(PAUSED)
        assert self.store.run(lambda tx: tx.resume(TaskFilter(statuses=(PAUSED,)), self.now)) == len(paused)
        for known in paused:
            view = self.seen(known)
            known.status = view.status
            assert known.status in (QUEUED, RETRYING)
            if view.ready:
                assert known.due_at is None or known.due_at <= self.now
                known.due_at = None
        self.time_passes(0.0)

    # The end of a claim.

    @rule(pick=PICK, status=st.sampled_from(sorted(FINAL)), keep=st.booleans())
    def finish(self, pick, status, keep):
        known = self.a_running(pick)
        end = Finish(known.claim, status, self.now, result='{"r":1}', keep=keep)
        outcomes = self.store.run(lambda tx: tx.finish([end, end]))
        assert [bool(outcome) for outcome in outcomes] == [True, False]
        self.move(known, status)
        if not keep:
            known.journal = {}

    @rule(
        pick=PICK,
        status=st.sampled_from([QUEUED, RETRYING, TaskStatus.SUSPENDED]),
        rank=RANKS,
        delay=DELAYS,
        flow=FLOWS,
        standing=STANDINGS,
    )
    def put_back(self, pick, status, rank, delay, flow=None, standing=None):
        known = self.a_running(pick)
        due_at = None if delay is None else self.now + delay
        back = PutBack(known.claim, status, self.now, rank, due_at, flow=flow, standing=standing)
        assert self.store.run(lambda tx: tx.put_back([back])) == [True]
        self.move(known, status, due_at)
        known.rank, known.flow = rank, flow
        known.standing = standing or known.standing
        known.attempt += status is RETRYING
        known.crashes = 0 if status is TaskStatus.SUSPENDED else known.crashes
        if known.asked:
            self.move(known, TaskStatus.CANCELLED)

    @rule(pick=PICK, verb=st.sampled_from(["finish", "put_back", "record"]))
    def lost_claim_tries(self, pick, verb):
        if not self.lost:
            self.put_back(pick, QUEUED, Rank(0, 0.0), None)
        claim = self.lost[-1 - pick % len(self.lost)]
        items = {
            "finish": Finish(claim, TaskStatus.COMPLETED, self.now, result='"lost"'),
            "put_back": PutBack(claim, TaskStatus.SUSPENDED, self.now, Rank(9, 9.0)),
            "record": StepRecord(
                claim.seq, claim.claim_no, StepKey("", "z", "d"), 0, "value", b"lost", self.now
            ),
        }
        assert not self.store.run(lambda tx: getattr(tx, verb)([items[verb]]))[0]

    @rule(pick=PICK, by_lease=st.booleans())
    def rescue(self, pick, by_lease):
        gone = (
            [node for node, until in self.leases.items() if until < self.now]
            if by_lease
            else [self.node(pick)]
        )
        nodes = [] if by_lease else gone
        dead_before = self.now if by_lease else 0.0
        lost = [known for known in self.running() if self.held_by[known.seq] in gone]
        outcome = self.store.run(lambda tx: tx.rescue(dead_before, self.now, POISON_AFTER, nodes))
        for known in lost:
            known.attempt += 1
            further = any(known.claim_of.get(key) == known.claims for key in known.journal)
            known.crashes = 1 if further else known.crashes + 1
        poisoned = [
            known for known in lost if known.crashes >= POISON_AFTER or known.attempt > 10 * POISON_AFTER
        ]
        assert set(outcome.poisoned) == {known.new.id for known in poisoned}
        for known in self.in_order_of_ending(poisoned):
            self.move(known, TaskStatus.FAILED)
        for known in lost:
            if known not in poisoned:
                self.move(known, QUEUED)
        left = [hold for hold in self.holds.values() if hold.node in gone and hold.state is HELD]
        assert outcome.uncertain == len(left)
        for hold in left:
            hold.state, hold.cost = UNCERTAIN, hold.held
        for node in gone:
            del self.leases[node]
            assert not self.store.run(lambda tx, node=node: tx.renew(node, self.now + LEASE))
            self.join()

    @rule(pick=PICK)
    def renew(self, pick):
        node = self.node(pick)
        self.leases[node] = self.now + LEASE
        assert self.store.run(lambda tx: tx.renew(node, self.now + LEASE))

    @precondition(lambda self: self.tasks)
    @rule(pick=PICK)
    def cancel(self, pick):
        known = list(self.tasks.values())[pick % len(self.tasks)]
        outcome = self.store.run(lambda tx: tx.cancel(TaskFilter(ids=(known.new.id,)), self.now))
        assert outcome.get(known.new.id, False) == (known.status not in FINAL)
        if known.status is not RUNNING and known.status not in FINAL:
            self.move(known, TaskStatus.CANCELLED)
        known.asked = known.status is RUNNING

    @rule(lane=st.integers(0, 1))
    def cancel_many(self, lane):
        where = TaskFilter(tenant="a", statuses=(QUEUED, RETRYING))
        matching = [known for known in self.those(QUEUED, RETRYING) if known.new.tenant == "a"]
        outcome = self.store.run(lambda tx: tx.cancel(where, self.now))
        assert {id for id, done in outcome.items() if done} == {known.new.id for known in matching}
        for known in self.in_order_of_ending(matching):
            self.move(known, TaskStatus.CANCELLED)

    # The journal.

    @rule(
        pick=PICK, name=st.sampled_from("ab"), occurrence=st.integers(0, 1), size=st.sampled_from([1, 20_000])
    )
    def record(self, pick, name, occurrence, size):
        known = self.a_running(pick)
        value = bytes([len(known.journal), pick]) * size
        step = StepRecord(
            known.seq, known.claim.claim_no, StepKey("", name, "d"), occurrence, "value", value, self.now
        )
        self.store.run(lambda tx: tx.record([step]))
        if (name, occurrence) not in known.journal:
            known.journal[name, occurrence] = value
            known.claim_of[name, occurrence] = known.claims

    @precondition(lambda self: any(known.journal for known in self.tasks.values()))
    @rule(pick=PICK)
    def void_step(self, pick):
        journaled = [known for known in self.tasks.values() if known.journal]
        known = journaled[pick % len(journaled)]
        name, occurrence = next(iter(known.journal))
        assert self.store.run(lambda tx: tx.void_step(known.seq, StepKey("", name, "d"), occurrence))
        del known.journal[name, occurrence]

    # Money.

    @rule(pick=PICK, tenant=st.sampled_from(["", "a"]), held=st.integers(0, 10**15))
    def reserve(self, pick, tenant, held):
        known = None if pick == 0 else self.a_running(pick)
        node = self.node(pick)
        intent = Reservation(
            known.seq if known else None,
            known.claims if known else 0,
            "call",
            "echo",
            "m",
            "e",
            tenant,
            node,
            self.now,
            10,
            5,
            held,
        )
        ids = self.store.run(lambda tx: tx.reserve([intent, intent]))
        for id in ids:
            assert id not in self.holds
            self.holds[id] = Hold(intent.task, node, held)

    @rule(pick=PICK, state=st.sampled_from([SETTLED, RELEASED, UNCERTAIN]), cost=st.integers(0, 10**15))
    def settle(self, pick, state, cost):
        if not self.holds:
            self.reserve(pick, "a", 7)
        id = list(self.holds)[-1 - pick % len(self.holds)]
        hold = self.holds[id]
        end = Settlement(id, state, self.now, self.now, 3, 2, cost)
        first, second = self.store.run(lambda tx: tx.settle([end, end]))
        assert not second
        assert first or hold.state is not HELD
        assert not first or hold.state in (HELD, UNCERTAIN)
        if first:
            hold.state = state
            hold.cost = {SETTLED: cost, RELEASED: 0, UNCERTAIN: hold.held}[state]

    @precondition(lambda self: self.holds)
    @rule(pick=PICK)
    def release_uncertain(self, pick):
        id = list(self.holds)[pick % len(self.holds)]
        hold = self.holds[id]
        assert self.store.run(lambda tx: tx.release_uncertain([id])) == [hold.state is UNCERTAIN]
        if hold.state is UNCERTAIN:
            hold.state, hold.cost = RELEASED, 0

    # Retention.

    @rule(age=st.sampled_from([0.0, 3.0]))
    def prune(self, age):
        before = self.now - age + 0.5
        more = True
        while more:
            more = self.store.run(
                lambda tx: tx.prune(Retention(finished_before=before, chunk=2), self.now)
            ).more
        there = {view.id for view in self.store.read(lambda reader: reader.tasks(TaskFilter(), limit=10_000))}
        for known in self.those(*FINAL):
            gone = known.new.id not in there
            old = known.finished_at < before
            # A store may keep a line of a batch until it is in its file.
            assert gone == old or (old and known.new.batch is not None)
            if gone:
                self.pruned.add(known.new.id)
                del self.tasks[known.new.id]
        for program in list(self.sizes):
            if all(known.new.program != program for known in self.tasks.values()):
                del self.sizes[program]

    # What must always hold.

    @invariant()
    def tasks_are_as_known(self):
        views = self.store.read(lambda reader: reader.tasks(TaskFilter(), limit=10_000, newest=False))
        assert [view.id for view in views] == list(self.tasks)
        self.held_by = {view.seq: view.node for view in views}
        for view in views:
            known = self.tasks[view.id]
            assert (view.status, view.attempt, view.crashes) == (known.status, known.attempt, known.crashes)
            assert (view.finished_no, view.finished_at) == (known.finished_no, known.finished_at)
            assert view.ready == known.claimable
            assert (view.node is not None) == (known.status is RUNNING)
            assert known.status in FINAL or view.rank == known.rank

    @invariant()
    def lines_are_as_known(self):
        heads = self.store.read(lambda reader: reader.heads(self.lane_ids))
        best = {}
        for known in sorted(self.tasks.values(), key=lambda known: (known.rank, known.seq), reverse=True):
            if known.claimable:
                best[self.lane_ids[LANES.index(known.new.lane)]] = (known.rank, known.flow)
        assert heads == best
        flows = self.store.read(lambda reader: reader.waiting_flows())
        assert sorted(flows) == [
            (id, flow)
            for id, lane in zip(self.lane_ids, LANES, strict=True)
            for flow in ("", "x", "y")
            if self.line(lane, flow)
        ]
        seqs = self.store.read(lambda reader: reader.waiting_seqs())
        assert sorted(seqs) == [known.seq for known in self.tasks.values() if known.waits]

    @invariant()
    def tallies_are_counts(self):
        tallies = self.store.read(lambda reader: reader.tallies())
        told = Counter()
        for tally in tallies:
            told[tally.lane, tally.status, tally.priority] += tally.count
        counted = Counter(
            (self.lane_ids[LANES.index(known.new.lane)], known.status, known.new.priority)
            for known in self.tasks.values()
        )
        assert +told == counted
        of_batch = Counter(self.store.read(lambda reader: reader.batch_counts(self.batch)))
        in_batch = [known for known in self.tasks.values() if known.new.batch is not None]
        assert +of_batch == Counter(known.status for known in in_batch)

    @invariant()
    def lines_of_the_batch(self):
        ended = [known for known in self.tasks.values() if known.new.batch is not None and known.finished_no]
        ended.sort(key=lambda known: known.finished_no)
        lines = self.store.read(lambda reader: reader.finished_lines(self.batch, 0, 10_000))
        assert [(line.no, line.id) for line in lines] == [
            (known.finished_no, known.new.id) for known in ended
        ]

    @invariant()
    def money_is_booked(self):
        rows = self.store.read(lambda reader: reader.spend())
        uncertain = sum(hold.cost for hold in self.holds.values() if hold.state is UNCERTAIN)
        assert sum(row.uncertain for row in rows) == uncertain
        settled = sum(hold.cost for hold in self.holds.values() if hold.state is SETTLED)
        assert sum(row.cost for row in rows) == settled
        listed = self.store.read(lambda reader: reader.reservations([HELD, UNCERTAIN], limit=10_000))
        expected = {id: hold.state for id, hold in self.holds.items() if hold.state in (HELD, UNCERTAIN)}
        assert {row.id: row.state for row in listed} == expected

    def teardown(self):
        if not hasattr(self, "store"):
            return
        for known in self.tasks.values():
            self.check_at_the_end(known)
        for program in "xy":
            found = self.store.read(lambda reader, id=program: reader.program(id))
            assert (found and found[1]) == self.sizes.get(program)
        assert self.store.verify() == []
        self.store.close()

    def check_at_the_end(self, known):
        steps = self.store.read(lambda reader: reader.journal(known.seq))
        assert {(step.key.name, step.occurrence): step.value for step in steps} == known.journal
        kinds = Counter(
            event.kind for event in self.store.read(lambda reader: reader.events(0, task=known.seq))
        )
        assert kinds["submitted"] == 1
        assert kinds["started"] == known.claims
        assert kinds["finished"] == (known.status in FINAL)
        booked = [hold for hold in self.holds.values() if hold.seq == known.seq]
        settled = sum(hold.cost for hold in booked if hold.state is SETTLED)
        assert settled <= self.seen(known).cost <= sum(max(hold.cost, hold.held) for hold in booked)


class FileMachine(StoreMachine):
    """The same on a file that is closed and opened again in between."""

    def open(self):
        if not hasattr(self, "folder"):
            self.folder = Path(tempfile.mkdtemp(prefix="penstock-machine-"))
        return SqliteStore.open(self.folder / "s.db", durability="normal")

    @rule()
    def reopen(self):
        self.store.close()
        self.store = self.open()

    def teardown(self):
        try:
            super().teardown()
        finally:
            shutil.rmtree(getattr(self, "folder", ""), ignore_errors=True)


TestInMemory = StoreMachine.TestCase
TestInMemory.settings = settings(max_examples=120, stateful_step_count=50)
TestOnAFile = FileMachine.TestCase
TestOnAFile.settings = settings(max_examples=30, stateful_step_count=40)
