"""Checks of groups: counts that move with each end, stops, places, and what goes with whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from penstock.model.group import Group, NewMember
from penstock.model.states import TaskStatus
from penstock.model.task import Added, Claimed, NewTask
from penstock.stores.contract import Retention, TaskFilter, Transaction
from penstock.testing.store_probe import NOW, Probe, same, task_named

QUEUED, BLOCKED, RUNNING = TaskStatus.QUEUED, TaskStatus.BLOCKED, TaskStatus.RUNNING
FAILED, CANCELLED = TaskStatus.FAILED, TaskStatus.CANCELLED


def lead(probe: Probe, *nodes: NewTask, places: int | None = None, stops: Sequence[bool] = ()) -> Claimed:
    """A running task that leads a group of these tasks, whose nodes are called as their ids."""
    leader = probe.running()

    def work(tx: Transaction) -> None:
        tx.open_group(leader.seq, places)
        grown(tx, leader.seq, nodes, stops)

    probe.store.run(work)
    return leader


def grown(tx: Transaction, id: int, nodes: Sequence[NewTask], stops: Sequence[bool] = ()) -> bool:
    added = [one for one in tx.add(nodes) if isinstance(one, Added)]
    marks = stops or [True] * len(added)
    return tx.join_group(
        id, [NewMember(one.seq, one.id, stop) for one, stop in zip(added, marks, strict=True)]
    )


def group_of(probe: Probe, leader: Claimed) -> Group:
    found = probe.store.read(lambda reader: reader.group(leader.seq))
    assert found is not None, "the group is not there"
    return found


def counted(probe: Probe, leader: Claimed) -> tuple[int, int, int, int, int]:
    group = group_of(probe, leader)
    return group.total, group.open, group.completed, group.failed, group.cancelled


def statuses(probe: Probe, *ids: str) -> list[TaskStatus | None]:
    return [probe.status(id) for id in ids]


def check_counts_of_a_group(probe: Probe) -> None:
    """A group counts its members where they end: by a handler, by cancelling, as a consequence."""
    probe.add(at=NOW - 1, id="before")
    probe.finish(probe.claim(probe.view("before").lane)[0])
    nodes = [task_named(id) for id in "abc"] + [task_named("d", after=("b",)), task_named("e", after=("d",))]
    leader = lead(probe, *nodes, stops=[False] * 5)
    same(counted(probe, leader), (5, 5, 0, 0, 0), "at first")
    a, b, c = probe.claim(leader.lane, 3)
    probe.finish(a)
    same(counted(probe, leader), (5, 4, 1, 0, 0), "one completed")
    probe.finish(b, FAILED)
    same(counted(probe, leader), (5, 1, 1, 3, 0), "one failed, and those behind it")
    probe.put_back(c, QUEUED)
    probe.store.run(lambda tx: tx.cancel(TaskFilter(ids=("c",)), NOW))
    same(counted(probe, leader), (5, 0, 1, 3, 1), "one was cancelled")
    same(group_of(probe, leader).stopped_by, None, "who stopped it")
    same(probe.store.read(lambda reader: reader.group(a.seq)), None, "a task that leads no group")
    same(probe.store.read(lambda reader: reader.group_of(c.seq)), (leader.seq, "c"), "group_of")
    same(probe.store.read(lambda reader: reader.group_of(leader.seq)), None, "group_of the leading task")


def check_members_of_a_group(probe: Probe) -> None:
    """Members are told in the order in which they joined, by pages or by name, with how they stand."""
    leader = lead(probe, task_named("a"), task_named("b", after=("a",)), stops=[True, False])
    probe.finish(probe.claim(leader.lane)[0], at=NOW + 3, result="1")
    told = probe.store.read(lambda reader: reader.members(leader.seq))
    expected = [("a", TaskStatus.COMPLETED, True), ("b", QUEUED, False)]
    same([(one.node, one.status, one.stops) for one in told], expected, "members")
    same((told[0].finished_at, told[1].freed_at), (NOW + 3, NOW + 3), "times")
    page = probe.store.read(lambda reader: reader.members(leader.seq, limit=1, after=told[0].seq))
    same([one.node for one in page], ["b"], "page")
    named = probe.store.read(lambda reader: reader.members(leader.seq, ["b", "nobody"]))
    same([one.node for one in named], ["b"], "by name")
    same(probe.store.read(lambda reader: reader.member_ids(leader.seq)), {"a": "a", "b": "b"}, "ids")
    same(probe.store.read(lambda reader: reader.member_needs(leader.seq)), {"b": ["a"]}, "needs")
    inputs = probe.store.read(lambda reader: reader.inputs_of([one.seq for one in told]))
    same(inputs, {told[1].seq: {"a": (TaskStatus.COMPLETED, "1")}}, "inputs")


def check_first_failure_stops_a_group(probe: Probe) -> None:
    """The failure of one that stops cancels what waits, asks what runs, and lets nobody join any more; what
    only failed for another stops nothing."""
    nodes = [task_named(id) for id in "abc"] + [task_named("d", after=("a",)), task_named("e", after=("b",))]
    leader = lead(probe, *nodes, stops=[False, True, True, True, True])
    a, b = probe.claim(leader.lane, 2)
    probe.finish(a, FAILED)
    same((group_of(probe, leader).stopped_by, probe.status("d")), (None, FAILED), "one that does not stop")
    running = probe.claim(leader.lane)[0]
    outcome = probe.end(b, FAILED)
    same(outcome.doomed, (running.seq,), "what is to be cancelled")
    same(statuses(probe, "c", "e"), [RUNNING, CANCELLED], "the others")
    same(group_of(probe, leader).stopped_by, "b", "who stopped it")
    asked = probe.store.run(lambda tx: [(one.kind, one.task) for one in tx.controls(0)])
    same(asked, [("cancel", running.seq)], "control rows")
    same(probe.store.run(lambda tx: grown(tx, leader.seq, [task_named("late")])), False, "joining it")
    probe.finish(running, CANCELLED)
    same(counted(probe, leader), (5, 0, 0, 3, 2), "all ended")


def check_growing_a_group(probe: Probe) -> None:
    """Members may join while it is open, behind old ones and already failed; once it is closed, none."""
    leader = lead(probe, task_named("a"), stops=[False])
    [a] = probe.claim(leader.lane)
    more = [task_named("b", after=("a",)), task_named("c")]
    same(probe.store.run(lambda tx: grown(tx, leader.seq, more, [False, False])), True, "joined")
    same(counted(probe, leader), (3, 3, 0, 0, 0), "counts")
    probe.finish(a, FAILED)
    late = [task_named("d", after=("a",))]
    same(probe.store.run(lambda tx: grown(tx, leader.seq, late)), True, "joined behind one that failed")
    same((counted(probe, leader), probe.status("d")), ((4, 1, 0, 3, 0), FAILED), "counts")
    [c] = probe.claim(leader.lane)
    same(probe.store.run(lambda tx: tx.close_group(leader.seq, NOW)), (c.seq,), "what runs")
    same(probe.store.run(lambda tx: grown(tx, leader.seq, [task_named("e")])), False, "joined a closed one")
    probe.finish(c, CANCELLED)
    same(group_of(probe, leader).stopped_by, None, "who stopped it")
    same(probe.store.run(lambda tx: grown(tx, 999, [task_named("f")])), False, "joined none")


def check_group_ends_with_its_leader(probe: Probe) -> None:
    """However the leading task ends, what is open of its group is cancelled in the same transaction."""
    leader = lead(probe, task_named("a"), task_named("b"), task_named("c", after=("a",)))
    [a] = probe.claim(leader.lane)
    same(probe.end(leader, FAILED).doomed, (a.seq,), "what is to be cancelled")
    same(statuses(probe, "a", "b", "c"), [RUNNING, CANCELLED, CANCELLED], "members")
    probe.finish(a)
    same(counted(probe, leader), (3, 0, 1, 0, 2), "counts")
    other = lead(probe, task_named("x"))
    probe.put_back(other, QUEUED)
    probe.store.run(lambda tx: tx.cancel(TaskFilter(ids=(other.id,)), NOW))
    same(statuses(probe, "x"), [CANCELLED], "where it was cancelled as it waited")


def check_places_of_a_group(probe: Probe) -> None:
    """With places only so many members are on their way, the highest priority first; each end lets the next
    one in, and so does each cancelling."""
    nodes = [task_named("a"), task_named("b"), task_named("c", priority=90), task_named("d")]
    behind = task_named("e", after=("c",), priority=95)
    leader = lead(probe, *nodes, behind, places=2, stops=[False] * 5)
    same(statuses(probe, *"abcde"), [QUEUED, BLOCKED, QUEUED, BLOCKED, BLOCKED], "at first")
    running = {task.id: task for task in probe.claim(leader.lane, 9)}
    same(set(running), {"a", "c"}, "who was claimed")
    outcome = probe.end(running["c"])
    same(outcome.lanes, (leader.lane,), "lanes to look at")
    same(statuses(probe, *"bde"), [QUEUED, BLOCKED, BLOCKED], "the first that was next")
    probe.store.run(lambda tx: tx.cancel(TaskFilter(ids=("b",)), NOW))
    same(statuses(probe, *"de"), [BLOCKED, QUEUED], "the highest priority is next")
    probe.finish(running["a"], FAILED)
    same(statuses(probe, "d"), [QUEUED], "the last one")
    [e, d] = sorted(probe.claim(leader.lane, 9), key=lambda task: -task.priority)
    probe.finish(e)
    probe.finish(d)
    same(counted(probe, leader), (5, 0, 3, 1, 1), "counts")


def check_places_and_stops(probe: Probe) -> None:
    """A group with places that is stopped starts nobody more; members that join it line up too."""
    leader = lead(probe, *(task_named(id) for id in "abc"), places=1)
    [a] = probe.claim(leader.lane, 9)
    probe.store.run(lambda tx: grown(tx, leader.seq, [task_named("d"), task_named("e", after=("d",))]))
    same(statuses(probe, *"bcde"), [BLOCKED] * 4, "while one runs")
    probe.finish(a, FAILED)
    same(statuses(probe, *"bcde"), [CANCELLED] * 4, "after it failed")
    same(counted(probe, leader), (5, 0, 0, 1, 4), "counts")


def check_poison_counts_in_its_group(probe: Probe) -> None:
    """A member that kills its process once too often is counted as failed, and stops the group."""
    leader = lead(probe, task_named("a"), task_named("b", after=("a",)))
    probe.claim(leader.lane)
    probe.store.run(lambda tx: tx.rescue(NOW, NOW, 1, [probe.node]))
    view = probe.view(leader.id)
    same((view.status, view.attempt, view.crashes), (QUEUED, 1, 0), "who leads it is not to blame")
    same(statuses(probe, "a", "b"), [FAILED, CANCELLED], "members")


def check_members_stay_with_their_leader(probe: Probe) -> None:
    """Members are not pruned before their leading task has ended; then everything goes."""
    leader = lead(probe, task_named("a"))
    probe.finish(probe.claim(leader.lane)[0], result="1")
    rule = Retention(finished_before=NOW + 1)
    same(probe.store.run(lambda tx: tx.prune(rule, NOW)).tasks, 0, "pruned while it leads")
    probe.finish(leader)
    same(probe.store.run(lambda tx: tx.prune(rule, NOW)).tasks, 2, "pruned after that")
    same(probe.store.read(lambda reader: reader.group(leader.seq)), None, "the group")
    same(probe.store.read(lambda reader: reader.member_ids(leader.seq)), {}, "its members")


def check_what_undoes_members(probe: Probe) -> None:
    """Members that completed and can be undone are told, the last end first."""
    leader = probe.running()

    def work(tx: Transaction) -> None:
        tx.open_group(leader.seq, stops=False)
        added = [one for one in tx.add([task_named(id) for id in "abcd"]) if isinstance(one, Added)]
        undo = [None, '{"type":"u"}', '{"type":"v"}', '{"type":"w"}']
        members = [NewMember(one.seq, one.id, False, how) for one, how in zip(added, undo, strict=True)]
        tx.join_group(leader.seq, members)

    probe.store.run(work)
    a, b, c, d = probe.claim(leader.lane, 4)
    for task in (c, a, b):
        probe.finish(task)
    probe.finish(d, FAILED)
    told = probe.store.read(lambda reader: reader.undoable(leader.seq))
    same([(one.node, one.undo) for one in told], [("b", '{"type":"u"}'), ("c", '{"type":"v"}')], "undoable")
    same(group_of(probe, leader).stops, False, "what was kept")


def check_members_that_are_tried_again(probe: Probe) -> None:
    """Members that try others again are told, in groups that came later and whose leader does so too."""
    first = lead(probe, task_named("a"))
    probe.finish(probe.claim(first.lane)[0])
    [old] = probe.store.read(lambda reader: reader.members(first.seq))
    lead(probe, replace(task_named("b"), retry_of=old.id))  # its leader tries nothing again

    def run_again(tx: Transaction) -> int:
        leader, again = replace(task_named("r"), retry_of=first.id), replace(task_named("c"), retry_of=old.id)
        added = [one for one in tx.add([leader, again, task_named("d")]) if isinstance(one, Added)]
        tx.open_group(added[0].seq)
        tx.join_group(added[0].seq, [NewMember(one.seq, one.id, True) for one in added[1:]])
        return added[0].seq

    later = probe.store.run(run_again)
    told = probe.store.read(lambda reader: reader.repeated_members(first.seq))
    same(told, [(later, "c", "c", old.id)], "those of the run after it")
    same(probe.store.read(lambda reader: reader.repeated_members(later)), [], "of none after the last")


CHECKS = (
    check_counts_of_a_group,
    check_members_of_a_group,
    check_first_failure_stops_a_group,
    check_growing_a_group,
    check_group_ends_with_its_leader,
    check_places_of_a_group,
    check_places_and_stops,
    check_poison_counts_in_its_group,
    check_members_stay_with_their_leader,
    check_what_undoes_members,
    check_members_that_are_tried_again,
)
