"""Random groups under random verbs: counts, places and statuses always agree, and every group comes to its
end."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.model.group import NewMember
from penstock.model.states import TaskStatus
from penstock.stores.asks import TaskFilter
from penstock.stores.sqlite.store import SqliteStore
from penstock.testing.store_probe import NOW, Probe, task_named

ENDS = (TaskStatus.COMPLETED, TaskStatus.COMPLETED, TaskStatus.COMPLETED, TaskStatus.FAILED)


class Machine:
    """One group of random nodes, and a node that works on it."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.probe = Probe(SqliteStore.open(":memory:"))
        self.leader = self.probe.running()
        self.places = self.chance.choice([None, 1, 2, 5])
        self.stops = self.chance.random() < 0.3
        self.names = []
        self.held = {}
        self.now = NOW
        self.probe.store.run(lambda tx: tx.open_group(self.leader.seq, self.places))
        self.grow(self.chance.randint(1, 15))

    def grow(self, count):
        nodes = []
        for _ in range(count):
            known = self.names + [one.id for one in nodes]
            after = tuple(self.chance.sample(known, min(len(known), self.chance.randint(0, 3))))
            id = f"t{len(known)}"
            nodes.append(task_named(id, after=after, priority=self.chance.randint(0, 100)))

        def work(tx):
            seqs = [one.seq for one in tx.add(nodes)]
            members = [NewMember(seq, one.id, self.stops) for seq, one in zip(seqs, nodes, strict=True)]
            if not tx.join_group(self.leader.seq, members):
                raise Closed
            return True

        try:
            self.probe.store.run(work)
            self.names += [one.id for one in nodes]
        except Closed:
            pass

    def step(self):
        self.now += 1
        verb = self.chance.choice(
            ["claim", "claim", "end", "end", "end", "cancel", "pause", "resume", "grow", "back"]
        )
        getattr(self, verb if verb != "grow" else "_grow_some")()

    def _grow_some(self):
        self.grow(self.chance.randint(1, 3))

    def claim(self):
        for task in self.probe.claim(self.leader.lane, self.chance.randint(1, 4), self.now):
            self.held[task.id] = task

    def end(self):
        if self.held:
            task = self.held.pop(self.chance.choice(sorted(self.held)))
            self.probe.finish(task, self.chance.choice(ENDS), self.now)

    def back(self):
        if self.held:
            task = self.held.pop(self.chance.choice(sorted(self.held)))
            self.probe.put_back(task, TaskStatus.QUEUED, self.now)

    def some(self):
        return TaskFilter(ids=(self.chance.choice(self.names),))

    def cancel(self):
        if self.chance.random() < 0.3:
            self.probe.store.run(lambda tx: tx.cancel(self.some(), self.now))

    def pause(self):
        self.probe.store.run(lambda tx: tx.pause(self.some(), self.now))

    def resume(self):
        self.probe.store.run(lambda tx: tx.resume(self.some(), self.now))

    def check(self):
        assert self.probe.store.verify() == []
        group = self.probe.store.read(lambda reader: reader.group(self.leader.seq))
        members = self.probe.store.read(lambda reader: reader.members(self.leader.seq))
        found = [one.status for one in members]
        assert group.total == len(self.names) == len(found)
        for status in (TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED):
            assert getattr(group, status.value) == found.count(status)
        if self.places is not None and not group.closed:
            assert found.count(TaskStatus.RUNNING) <= self.places
        return group

    def run_out(self):
        """Everything that may still start is started and completed."""
        for _ in range(200):
            if not self.check().open:
                return
            self.probe.store.run(lambda tx: tx.resume(TaskFilter(statuses=(TaskStatus.PAUSED,)), self.now))
            for task in [*self.held.values(), *self.probe.claim(self.leader.lane, 50, self.now)]:
                self.probe.finish(task, TaskStatus.COMPLETED, self.now)
            self.held = {}
        raise AssertionError("the group never ends")


class Closed(Exception):
    """Nothing can join; the transaction is rolled back."""


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9))
def test_groups_under_random_verbs(seed):
    machine = Machine(seed)
    for _ in range(25):
        machine.step()
        machine.check()
    machine.run_out()
    machine.probe.store.close()
