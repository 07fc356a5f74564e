"""What a store promises about entering: identity, capacity, idempotency, delay, inherited journals, lanes."""

from __future__ import annotations

import json
from typing import Any

from penstock.errors import IdempotencyConflict, QueueFull
from penstock.model.lane import Lane
from penstock.model.rank import Rank
from penstock.model.states import TaskStatus
from penstock.model.task import Added, Existing
from penstock.testing.store_probe import LANE, NOW, Probe, ids_of, same, step_of, task_named


def check_added_task_is_there(probe: Probe) -> None:
    """What was added is read back whole, queued, by its id and by a beginning of it."""
    task = task_named(
        priority=40, tenant="acme", deadline=NOW + 60, metadata='{"row":7}', options='{"max_retries":1}',
        rank=Rank(2, 5.5),
    )  # fmt: skip
    outcome = probe.offer(task)[0]
    assert isinstance(outcome, Added), f"add refused a new task: {outcome!r}"
    same(outcome.id, task.id, "id of the outcome")
    view = probe.view(task.id)
    same((view.seq, view.lane), (outcome.seq, outcome.lane), "seq and lane")
    same((view.status, view.ready, view.claim_no), (TaskStatus.QUEUED, True, 0), "status, ready, claim_no")
    same((view.type, view.model, view.tenant, view.priority), ("echo", "model-a", "acme", 40), "what it is")
    same((view.rank, view.created_at, view.deadline), (Rank(2, 5.5), NOW, NOW + 60), "rank and times")
    same((view.payload, view.metadata), ({"text": "hi"}, {"row": 7}), "payload and metadata, read from JSON")
    same((view.started_at, view.finished_at, view.finished_no), (None, None, None), "what has not happened")
    same(probe.view(task.id[:-2]).id, task.id, "task by the beginning of its id")
    missing = probe.store.read(lambda reader: reader.task("no-such-task"))
    same(missing, None, "a task that was never added")


def check_one_outcome_per_task_in_order(probe: Probe) -> None:
    """A batch gives one outcome per item, in order, and seqs rise in that order."""
    tasks = [task_named() for _ in range(50)]
    outcomes = probe.offer(*tasks)
    same([getattr(outcome, "id", outcome) for outcome in outcomes], [task.id for task in tasks], "outcomes")
    seqs = [outcome.seq for outcome in outcomes if isinstance(outcome, Added)]
    assert seqs == sorted(set(seqs)), f"seqs do not rise strictly: {seqs}"
    same(probe.offer(), [], "outcomes of an empty batch")
    same(probe.counts(), {TaskStatus.QUEUED: 50}, "tallies")


def check_idempotency_key(probe: Probe) -> None:
    """Same key and data: the task that is there. Other data: a conflict. Tenants are apart."""
    key: dict[str, Any] = {"idempotency_key": "k", "fingerprint": "f"}
    first = probe.add(**key, position=3)
    again, other, elsewhere = probe.offer(
        task_named(**key),
        task_named(idempotency_key="k", fingerprint="other"),
        task_named(**key, tenant="acme"),
    )
    assert isinstance(again, Existing), f"same key, same data: {again!r}"
    same((again.id, again.position), (first.id, 3), "the existing task")
    assert isinstance(other, IdempotencyConflict), f"same key, other data: {other!r}"
    assert isinstance(elsewhere, Added), f"same key, another tenant: {elsewhere!r}"
    same(probe.counts(), {TaskStatus.QUEUED: 2}, "tallies")
    probe.finish(probe.take(first))
    late = probe.offer(task_named(**key))[0]
    assert isinstance(late, Existing), f"the key is kept as long as the task: {late!r}"


def check_idempotency_key_twice_in_one_batch(probe: Probe) -> None:
    """The second of two equal tasks in one batch is the first."""
    key: dict[str, Any] = {"idempotency_key": "k", "fingerprint": "f"}
    first, second, conflict = probe.offer(
        task_named(**key), task_named(**key), task_named(idempotency_key="k", fingerprint="g")
    )
    assert isinstance(first, Added), repr(first)
    assert isinstance(second, Existing), repr(second)
    same(second.id, first.id, "the existing task")
    assert isinstance(conflict, IdempotencyConflict), repr(conflict)


def check_capacity(probe: Probe) -> None:
    """Tasks that are not final are counted; what goes beyond is refused, in order, and leaves nothing."""
    outcomes = probe.offer(*[task_named(due_at=NOW + 9 if n else None) for n in range(5)], capacity=3)
    same([isinstance(outcome, Added) for outcome in outcomes], [True] * 3 + [False] * 2, "who came in")
    assert all(isinstance(outcome, QueueFull) for outcome in outcomes[3:]), repr(outcomes[3:])
    same(probe.counts(), {TaskStatus.QUEUED: 3}, "tallies")
    assert isinstance(outcomes[0], Added)
    task = probe.take(outcomes[0])
    same(
        isinstance(probe.offer(task_named(), capacity=3)[0], QueueFull),
        True,
        "a running task takes its place",
    )
    probe.finish(task)
    same(
        isinstance(probe.offer(task_named(), capacity=3)[0], Added),
        True,
        "an ended task gives its place back",
    )


def check_existing_task_needs_no_room(probe: Probe) -> None:
    """A known idempotency key is answered when the queue is full, too."""
    key: dict[str, Any] = {"idempotency_key": "k", "fingerprint": "f"}
    first = probe.add(**key)
    again = probe.offer(task_named(**key), capacity=1)[0]
    assert isinstance(again, Existing), f"full queue, known key: {again!r}"
    same(again.id, first.id, "the existing task")


def check_delayed_task(probe: Probe) -> None:
    """A task with a due time stands beside the line until it is due and promoted."""
    added = probe.add(due_at=NOW + 10)
    same(probe.view(added.id).ready, False, "ready before it is due")
    same(probe.store.read(lambda reader: reader.next_due()), NOW + 10, "next_due")
    early = probe.store.run(lambda tx: tx.promote(NOW + 9.5))
    same((early.lanes, early.next_due), (frozenset(), NOW + 10), "promote before it is due")
    same(probe.claim(added.lane, 5, NOW + 9.5), [], "claim before it is due")
    due = probe.store.run(lambda tx: tx.promote(NOW + 10))
    same((due.lanes, due.count, due.next_due), (frozenset({added.lane}), 1, None), "promote when it is due")
    same(probe.store.read(lambda reader: reader.next_due()), None, "next_due after that")
    probe.take(added, NOW + 10)


def check_set_aside(probe: Probe) -> None:
    """Those are told that crashed so often and were put back to wait; not what is tried again later."""
    added = [probe.add() for _ in range(4)]
    for _ in range(2):
        probe.claim(added[0].lane, 4)
        probe.store.run(lambda tx: tx.rescue(NOW, NOW, 9, [probe.node]))
    near, far, now, tried = probe.claim(added[0].lane, 4)
    probe.put_back(near, TaskStatus.QUEUED, due_at=NOW + 9)
    probe.put_back(far, TaskStatus.QUEUED, due_at=NOW + 30)
    probe.put_back(now, TaskStatus.QUEUED)
    probe.put_back(tried, TaskStatus.RETRYING, due_at=NOW + 9)
    same(probe.store.run(lambda tx: tx.set_aside(2, NOW + 10)), [near.seq], "set aside after two crashes")
    same(probe.store.run(lambda tx: tx.set_aside(3, NOW + 10)), [], "set aside after three")


def check_promote_in_pieces(probe: Probe) -> None:
    """`limit` bounds one promotion, earliest first, and `next_due` says that more are due."""
    added = [probe.add(due_at=NOW + n) for n in (3, 1, 2)]
    first = probe.store.run(lambda tx: tx.promote(NOW + 5, limit=2))
    same((first.count, first.next_due), (2, NOW + 3), "first piece")
    same(set(ids_of(probe.claim(added[0].lane, 5, NOW + 5))), {added[1].id, added[2].id}, "claimable by then")
    same(probe.store.run(lambda tx: tx.promote(NOW + 5, limit=2)).count, 1, "second piece")


def check_task_that_enters_failed(probe: Probe) -> None:
    """A task added with an error is final from the start and is never claimed."""
    added = probe.add(error='{"code":"invalid_line","message":"line 3 is no JSON"}')
    view = probe.view(added.id)
    same(view.status, TaskStatus.FAILED, "status")
    same(view.error, {"code": "invalid_line", "message": "line 3 is no JSON"}, "error")
    assert view.finished_no is not None, "a task that enters as failed has no finished_no"
    same(probe.claim(added.lane, 5), [], "claim")
    same(probe.counts(), {TaskStatus.FAILED: 1}, "tallies")
    outcome = probe.offer(task_named(), capacity=1)[0]
    assert isinstance(outcome, Added), f"an ended task takes no place: {outcome!r}"


def check_tasks_that_enter_completed(probe: Probe) -> None:
    """A task added with an `ended_no` is completed from the start, with its result; what needs it does not
    wait, and several count as ended in the order of those numbers."""
    large = json.dumps("x" * 100_000)
    second = task_named(result=large, ended_no=9)
    first = task_named(result="1", ended_no=4)
    last = task_named(after=(second.id, first.id))
    outcomes = probe.offer(second, first, last, capacity=1)
    assert all(isinstance(one, Added) for one in outcomes), f"they take no place: {outcomes!r}"
    views = [probe.view(one.id) for one in (second, first)]
    same([view.status for view in views], [TaskStatus.COMPLETED] * 2, "statuses")
    same([view.result for view in views], [json.loads(large), 1], "results")
    assert (views[0].finished_no or 0) > (views[1].finished_no or 0) > 0, "the order of their ends"
    same(probe.view(last.id).status, TaskStatus.QUEUED, "what needs them")
    same(probe.counts(), {TaskStatus.COMPLETED: 2, TaskStatus.QUEUED: 1}, "tallies")
    same(probe.store.verify(), [], "verify")


def check_inherited_journal(probe: Probe) -> None:
    """A retry of a failed task may start with a copy of its journal, and says where it came from."""
    old = probe.running()
    probe.record(step_of(old, "a", b"1"), step_of(old, "b", b"2"))
    probe.finish(old, TaskStatus.FAILED, error='{"code":"x","message":"y"}')
    heir = probe.running(retry_of=old.id, inherit_journal=True)
    assert heir.journaled, "a task that inherited a journal is claimed with journaled=False"
    steps = probe.store.read(lambda reader: reader.journal(heir.seq))
    same(sorted((step.key.name, step.value) for step in steps), [("a", b"1"), ("b", b"2")], "journal")
    same({step.seq for step in steps}, {heir.seq}, "whose steps they are")
    same(probe.view(heir.id).retry_of, old.id, "retry_of")
    probe.record(step_of(heir, "c", b"3"))
    same(len(probe.store.read(lambda reader: reader.journal(old.seq))), 2, "steps of the old task")
    fresh = probe.running(retry_of=old.id)
    same(probe.store.read(lambda reader: reader.journal(fresh.seq)), [], "journal when not inherited")


def check_lanes(probe: Probe) -> None:
    """Equal lanes have one id, by `lane` and by `add`; they are read back as they were."""
    pools = Lane("echo", "model-a", (("gpu", 2), ("browser", 1)))
    made = probe.store.run(lambda tx: tx.lane(pools))
    same(probe.store.run(lambda tx: tx.lane(Lane(pools.type, pools.model, pools.pools))), made, "asked again")
    same(probe.add(lane=pools).lane, made, "lane of an added task")
    other = probe.add(lane=LANE).lane
    found = {row.id: row.lane for row in probe.store.read(lambda reader: reader.lanes())}
    same(found, {made: pools, other: LANE}, "lanes")


def check_texts_of_any_kind(probe: Probe) -> None:
    """Large payloads, foreign scripts and signs that mean something to a database come back unchanged."""
    for text in ("", "x" * 300_000, "Grüße 你好 🎉 \u0000 ' \" ; -- %s ? :a @b", "@" + "0" * 64):
        added = probe.add(
            payload=json.dumps({"t": text}), tenant="o'brien%", idempotency_key=text[:40] or "e"
        )
        task = probe.take(added)
        same(json.loads(task.payload or "null"), {"t": text}, "payload of the claimed task")
        same(probe.view(added.id).payload, {"t": text}, "payload of the view")
        probe.finish(task, result=json.dumps(text))
        same(probe.view(added.id).result, text, "result")


def check_failing_transaction_leaves_nothing(probe: Probe) -> None:
    """An exception rolls back everything, and the store goes on."""
    task = task_named()

    class Boom(Exception):
        pass

    def fail(tx):  # type: ignore[no-untyped-def]
        tx.add([task])
        tx.set_setting("s", "1")
        raise Boom

    try:
        probe.store.run(fail)
    except Boom:
        pass
    else:
        raise AssertionError("run swallowed the exception of its work")
    same(probe.store.read(lambda reader: reader.task(task.id)), None, "the task of a failed transaction")
    same(probe.store.read(lambda reader: reader.setting("s")), None, "the setting of a failed transaction")
    same(probe.counts(), {}, "tallies")
    probe.offer(task)
    probe.view(task.id)


CHECKS = (
    check_added_task_is_there,
    check_one_outcome_per_task_in_order,
    check_idempotency_key,
    check_idempotency_key_twice_in_one_batch,
    check_capacity,
    check_existing_task_needs_no_room,
    check_delayed_task,
    check_set_aside,
    check_promote_in_pieces,
    check_task_that_enters_failed,
    check_tasks_that_enter_completed,
    check_inherited_journal,
    check_lanes,
    check_texts_of_any_kind,
    check_failing_transaction_leaves_nothing,
)
