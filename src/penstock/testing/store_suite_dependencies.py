"""What a store promises about tasks that wait for others: blocked, freed by the last, failed with any."""

from __future__ import annotations

from penstock.errors import InvalidTask, QueueFull, TaskNotFound
from penstock.model.batch import Batch
from penstock.model.lane import Lane
from penstock.model.states import TaskStatus
from penstock.model.task import Added, Ended, Existing, Finish
from penstock.stores.contract import Retention, TaskFilter
from penstock.testing.store_probe import NOW, Probe, ids_of, rising, same, task_named, where_id

OTHER = Lane("other", "model-b")

BLOCKED, QUEUED, FAILED = TaskStatus.BLOCKED, TaskStatus.QUEUED, TaskStatus.FAILED


def check_blocked_until_the_last(probe: Probe) -> None:
    """A task waits until all of its `after` completed; the end of the last tells its lane."""
    first, second = probe.add(), probe.add()
    leaf = probe.add(after=(first.id, second.id), lane=OTHER)
    view = probe.view(leaf.id)
    same((view.status, view.ready, view.after), (BLOCKED, False, (first.id, second.id)), "the one that waits")
    same(probe.view(first.id).dependents, (leaf.id,), "dependents")
    same(probe.counts(), {QUEUED: 2, BLOCKED: 1}, "tallies")
    one, two = probe.claim(first.lane, 9)
    same(probe.claim(leaf.lane, 9), [], "claim of a blocked task")
    same(probe.end(one), Ended(True), "the first end")
    same(probe.status(leaf.id), BLOCKED, "after the first end")
    same(probe.end(two), Ended(True, (leaf.lane,)), "the last end")
    same(probe.kinds(leaf.seq), ["submitted", "unblocked"], "events")
    same(probe.counts(), {TaskStatus.COMPLETED: 2, QUEUED: 1}, "tallies at the end")
    same(probe.end(two), Ended(False), "an end that comes too late")
    same(ids_of(probe.claim(leaf.lane, 9)), [leaf.id], "claim")


def check_ends_in_one_batch(probe: Probe) -> None:
    """Several ends in one batch count each edge once, lost claims none."""
    needed = [probe.add() for _ in range(3)]
    leaf = probe.add(after=tuple(one.id for one in needed))
    claimed = probe.claim(leaf.lane, 9)
    ends = [Finish(task, TaskStatus.COMPLETED, NOW) for task in (claimed[0], claimed[1], claimed[1])]
    outcomes = probe.store.run(lambda tx: tx.finish(ends))
    same([bool(outcome) for outcome in outcomes], [True, True, False], "finish")
    same(probe.status(leaf.id), BLOCKED, "after two of three")
    probe.finish(claimed[2])
    same(probe.status(leaf.id), QUEUED, "after the last")


def check_delayed_after_it_was_blocked(probe: Probe) -> None:
    """A task freed before it is due becomes claimable when it is; one freed later at once."""
    root = probe.add()
    early, late = (probe.add(after=(root.id,), due_at=NOW + seconds) for seconds in (2, 9))
    same(probe.store.read(lambda reader: reader.next_due()), None, "due while blocked")
    same(probe.end(probe.take(root), at=NOW + 5), Ended(True, (late.lane,), NOW + 9), "the end")
    same((probe.view(early.id).ready, probe.view(late.id).ready), (True, False), "ready")
    same(probe.store.run(lambda tx: tx.promote(NOW + 9)).count, 1, "promote")
    same(probe.view(late.id).ready, True, "ready when it is due")


def check_failure_spreads(probe: Probe) -> None:
    """What waits for a task that failed fails with it, and what waits for that; each tells why."""
    batch = probe.store.run(lambda tx: tx.open_batch(Batch(0, "b", "i", "o", "e", "f", "{}", NOW)))
    root, sound = probe.add(), probe.add()
    middle = probe.add(after=(sound.id, root.id), batch=batch.id, position=1)
    leaf = probe.add(after=(middle.id, sound.id), batch=batch.id, position=2)
    task = probe.take(root)
    same(set(probe.end(task, FAILED, NOW + 1).failed), {middle.id, leaf.id}, "those that failed with it")
    for one, needed in ((middle, root), (leaf, middle)):
        view = probe.view(one.id)
        error = view.error or {}
        same((view.status, view.finished_at), (FAILED, NOW + 1), "status and end")
        same((error.get("code"), error.get("task")), ("dependency_failed", needed.id), "error")
        same(probe.kinds(one.seq), ["submitted", "finished"], "events")
    rising([probe.view(one.id).finished_no for one in (root, middle, leaf)], "finished_no")
    lines = probe.store.read(lambda reader: reader.finished_lines(batch.id, 0, 9))
    same([line.id for line in lines], [middle.id, leaf.id], "lines of the batch")
    same(probe.counts(), {FAILED: 3, QUEUED: 1}, "tallies")
    same(probe.end(probe.take(sound)), Ended(True), "the end of the other one they waited for")


def check_one_of_two_fails(probe: Probe) -> None:
    """A task whose dependencies end in one batch, one badly, fails, however the batch is ordered."""
    for statuses in ((TaskStatus.COMPLETED, FAILED), (TaskStatus.CANCELLED, TaskStatus.COMPLETED)):
        needed = [probe.add(), probe.add()]
        leaf = probe.add(after=tuple(one.id for one in needed))
        claimed = probe.claim(leaf.lane, 2)
        ends = [Finish(task, status, NOW) for task, status in zip(claimed, statuses, strict=True)]
        probe.store.run(lambda tx, ends=ends: tx.finish(ends))  # type: ignore[misc]
        same(probe.status(leaf.id), FAILED, f"after {statuses}")


def check_cancel_spreads(probe: Probe) -> None:
    """Cancelling a task that waits fails its dependents; those that are cancelled with it are cancelled."""
    root = probe.add()
    both, leaf = probe.add(after=(root.id,)), probe.add(after=(root.id,))
    answers = probe.store.run(lambda tx: tx.cancel(where_id(root.id, both.id), NOW))
    same(answers, {root.id: True, both.id: True}, "cancel")
    same((probe.status(both.id), probe.status(leaf.id)), (TaskStatus.CANCELLED, FAILED), "status")
    same((probe.view(leaf.id).error or {}).get("task"), root.id, "error")
    running = probe.running()
    waiting = probe.add(after=(running.id,))
    probe.store.run(lambda tx: tx.cancel(where_id(running.id), NOW))
    same(probe.status(waiting.id), BLOCKED, "while the cancelled one still runs")
    probe.finish(running, TaskStatus.CANCELLED)
    same(probe.status(waiting.id), FAILED, "after its end")


def check_poison_spreads(probe: Probe) -> None:
    """Dependents of a task that fails as poison fail with it; a rescued one keeps them waiting."""
    task = probe.running()
    leaf = probe.add(after=(task.id,))
    rescued = probe.store.run(lambda tx: tx.rescue(0.0, NOW, 2, [probe.node]))
    same((rescued.failed, probe.status(leaf.id)), ((), BLOCKED), "after the first crash")
    other = Probe(probe.store)
    other.claim(leaf.lane)
    rescued = probe.store.run(lambda tx: tx.rescue(0.0, NOW, 2, [other.node]))
    same((rescued.poisoned, rescued.failed), ((task.id,), (leaf.id,)), "after the second")
    same(probe.status(leaf.id), FAILED, "status")


def check_after_what_has_ended(probe: Probe) -> None:
    """Added late: behind completed tasks claimable at once, behind one that ended otherwise failed."""
    done, bad = probe.running(), probe.running()
    probe.finish(done)
    probe.finish(bad, TaskStatus.CANCELLED)
    free = probe.add(after=(done.id,))
    same((probe.status(free.id), probe.view(free.id).after), (QUEUED, (done.id,)), "behind a completed one")
    failed = probe.add(after=(done.id, bad.id))
    view = probe.view(failed.id)
    same(
        (view.status, (view.error or {}).get("code")), (FAILED, "dependency_failed"), "behind a cancelled one"
    )
    same(probe.kinds(failed.seq), ["submitted", "finished"], "events")
    chain = probe.offer(task_named("last", after=("mid",)), task_named("mid", after=(failed.id,)))
    same([type(outcome) for outcome in chain], [Added, Added], "a chain behind it")
    same([probe.status(id) for id in ("mid", "last")], [FAILED, FAILED], "fails as a whole")


def check_dependencies_in_one_batch(probe: Probe) -> None:
    """Tasks of one `add` may wait for each other in any order; only a circle or an unknown id is refused."""
    outcomes = probe.offer(
        task_named("c", after=("b", "a")),
        task_named("x", after=("y",)),
        task_named("b", after=("a", "a")),
        task_named("y", after=("x",)),
        task_named("a"),
        task_named("lost", after=("nowhere",)),
        task_named("behind", after=("lost", "a")),
        task_named("self", after=("self",)),
    )
    kinds = [Added, InvalidTask, Added, InvalidTask, Added, TaskNotFound, TaskNotFound, InvalidTask]
    same([type(outcome) for outcome in outcomes], kinds, "outcomes")
    assert "x → y → x" in str(outcomes[1]), f"the circle is not named: {outcomes[1]}"
    assert "nowhere" in str(outcomes[5]), f"the unknown id is not named: {outcomes[5]}"
    same([probe.status(id) for id in "abc"], [QUEUED, BLOCKED, BLOCKED], "status")
    leaf = probe.view("c")
    same(probe.store.read(lambda reader: reader.dependencies(leaf.seq)), ["b", "a"], "in the order given")
    for id in "abc":
        [task] = probe.claim(leaf.lane, 9)
        same(task.id, id, "whose turn it is")
        probe.finish(task)
    same(probe.store.read(lambda reader: reader.tasks(where_id("x", "lost", "self"))), [], "what was refused")


def check_dependencies_on_what_did_not_enter(probe: Probe) -> None:
    """A dependency on a task that was there under another id means that; on a refused one, nothing."""
    old = probe.add(idempotency_key="k", fingerprint="f")
    again = task_named("again", idempotency_key="k", fingerprint="f")
    twin, leaf = task_named("twin", unique_key="u"), task_named("leaf", after=("again", "twin2", old.id))
    outcomes = probe.offer(leaf, again, twin, task_named("twin2", unique_key="u"))
    same([type(outcome) for outcome in outcomes], [Added, Existing, Added, Existing], "outcomes")
    same(probe.view("leaf").after, (old.id, "twin"), "what it waits for")
    for task in probe.claim(old.lane, 9):
        probe.finish(task)
    same(probe.status("leaf"), QUEUED, "after both ended")
    outcomes = probe.offer(task_named("over"), task_named("under", after=("over",)), capacity=1)
    same([type(outcome) for outcome in outcomes], [QueueFull, TaskNotFound], "no room")


def check_results_of_dependencies(probe: Probe) -> None:
    """`results_of` tells status, result and error of many; a task's dependencies stay until it has ended."""
    large = '"' + "x" * 10_000 + '"'
    first, second = probe.running(), probe.running()
    leaf = probe.add(after=(first.id, second.id))
    probe.finish(first, result=large)
    probe.finish(second, result="2")
    rule = Retention(finished_before=NOW + 1)
    same(probe.store.run(lambda tx: tx.prune(rule, NOW)).tasks, 0, "pruned while they are needed")
    ids = [*probe.store.read(lambda reader: reader.dependencies(leaf.seq)), leaf.id, "none"]
    expected = {
        first.id: (TaskStatus.COMPLETED, large, None),
        second.id: (TaskStatus.COMPLETED, "2", None),
        leaf.id: (QUEUED, None, None),
    }
    same(probe.store.read(lambda reader: reader.results_of(ids)), expected, "results")
    probe.finish(probe.take(leaf), FAILED, error='{"code":"c"}')
    error = probe.store.read(lambda reader: reader.results_of([leaf.id]))
    same(error, {leaf.id: (FAILED, None, '{"code":"c"}')}, "of one that failed")
    same(probe.store.run(lambda tx: tx.prune(rule, NOW)).tasks, 3, "pruned after that")


def check_fan(probe: Probe) -> None:
    """One behind many and many behind one: all go on, and a large fan fails as a whole."""
    roots = [task_named() for _ in range(50)]
    middle = task_named("middle", after=tuple(task.id for task in roots))
    leaves = [task_named(after=("middle",), lane=OTHER) for _ in range(50)]
    outcomes = [one for one in probe.offer(*leaves, middle, *roots) if isinstance(one, Added)]
    same(len(outcomes), 101, "added")
    lane, other = outcomes[-1].lane, outcomes[0].lane
    claimed = probe.claim(lane, 99)
    probe.store.run(lambda tx: tx.finish([Finish(task, TaskStatus.COMPLETED, NOW) for task in claimed]))
    [task] = probe.claim(lane, 99)
    same((task.id, probe.counts().get(BLOCKED)), ("middle", 50), "after the roots")
    same(probe.end(task).lanes, (other,), "the end of the middle")
    same(len(probe.claim(other, 99)), 50, "leaves")


def check_pause_of_blocked_tasks(probe: Probe) -> None:
    """A paused task that waits for others does not start with their end, waits on for them when it is resumed
    before, and fails with them all the same."""
    root, gone = probe.add(), probe.add()
    early, late = probe.add(after=(root.id,)), probe.add(after=(root.id,))
    lost = probe.add(after=(gone.id,))
    where = TaskFilter(ids=(early.id, late.id, lost.id))
    same(probe.store.run(lambda tx: tx.pause(where, NOW)), 3, "how many were paused")
    probe.store.run(lambda tx: tx.resume(TaskFilter(ids=(early.id,)), NOW))
    same([probe.status(one.id) for one in (early, late)], [BLOCKED, TaskStatus.PAUSED], "before the end")
    same(probe.end(probe.take(root), at=NOW + 40).lanes, (root.lane,), "what the end frees")
    same([probe.status(one.id) for one in (early, late)], [QUEUED, TaskStatus.PAUSED], "after the end")
    probe.store.run(lambda tx: tx.resume(TaskFilter(ids=(late.id,)), NOW + 45))
    same(probe.status(late.id), QUEUED, "resumed after the end")
    probe.end(probe.take(gone), FAILED)
    same(probe.status(lost.id), FAILED, "paused, and what it waited for failed")
    before = probe.store.read(lambda reader: reader.totals())["queue_seconds"]
    probe.end(probe.take(early, NOW + 50), at=NOW + 60)
    waited = probe.store.read(lambda reader: reader.totals())["queue_seconds"] - before
    same(waited, 10.0, "seconds in line, of which none is spent waiting for others")


def check_blocked_tasks_are_open(probe: Probe) -> None:
    """Blocked tasks count against the capacity, are listed as waiting, may be ranked anew and cancelled."""
    root = probe.add()
    leaf = probe.add(after=(root.id,))
    same(isinstance(probe.offer(task_named(), capacity=2)[0], QueueFull), True, "capacity")
    same(set(probe.store.read(lambda reader: reader.waiting_seqs())), {root.seq, leaf.seq}, "waiting")
    probe.store.run(lambda tx: tx.cancel(TaskFilter(statuses=(BLOCKED,)), NOW))
    same(probe.status(leaf.id), TaskStatus.CANCELLED, "cancel")
    same(probe.end(probe.take(root)), Ended(True), "the end of what it waited for")
    same(probe.status(leaf.id), TaskStatus.CANCELLED, "stays")


CHECKS = (
    check_blocked_until_the_last,
    check_ends_in_one_batch,
    check_delayed_after_it_was_blocked,
    check_failure_spreads,
    check_one_of_two_fails,
    check_cancel_spreads,
    check_poison_spreads,
    check_after_what_has_ended,
    check_dependencies_in_one_batch,
    check_dependencies_on_what_did_not_enter,
    check_results_of_dependencies,
    check_fan,
    check_pause_of_blocked_tasks,
    check_blocked_tasks_are_open,
)
