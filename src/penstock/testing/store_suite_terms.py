"""What a store promises about terms of tasks: unique keys, debounce, expiry, result ttl, tags, notices."""

from __future__ import annotations

from typing import Any

from penstock.model.batch import Batch
from penstock.model.states import TaskStatus
from penstock.model.task import Added, Existing, Notice
from penstock.stores.contract import Retention, TaskFilter
from penstock.testing.store_probe import NOW, Probe, ids_of, same, task_named

FAILED, QUEUED = TaskStatus.FAILED, TaskStatus.QUEUED


def check_unique_key(probe: Probe) -> None:
    """While a task with a unique key has not ended, another is answered with it; per tenant."""
    first = probe.add(unique_key="k", fingerprint="a", position=4)
    same(probe.view(first.id).unique_key, "k", "unique_key")
    again = probe.offer(task_named(unique_key="k", fingerprint="b"), task_named(unique_key="k", tenant="t"))
    same(again[0], Existing(first.id, 4), "a second one")
    same(isinstance(again[1], Added), True, "of another tenant")
    task = next(task for task in probe.claim(first.lane, 9) if task.id == first.id)
    same(probe.offer(task_named(unique_key="k")), [Existing(first.id, 4)], "while it runs")
    probe.finish(task)
    pair = probe.offer(task_named("n", unique_key="k"), task_named(unique_key="k"))
    same(isinstance(pair[0], Added), True, "after its end")
    same(pair[1], Existing("n"), "twice in one batch")
    probe.store.run(lambda tx: tx.cancel(TaskFilter(ids=("n",)), NOW))
    probe.store.run(lambda tx: tx.prune(Retention(finished_before=NOW + 1), NOW))
    same(isinstance(probe.offer(task_named(unique_key="k"))[0], Added), True, "after it was pruned")


def check_debounce(probe: Probe) -> None:
    """A debounced task that still waits takes on newer data and starts that much later."""
    large = '"' + "x" * 9_000 + '"'
    fields: dict[str, Any] = {"unique_key": "k", "debounce": 5.0}
    first = probe.add(payload=large, metadata='{"v":1}', **fields)
    view = probe.view(first.id)
    same((view.ready, view.due_at), (False, NOW + 5), "the first")
    newer = task_named(at=NOW + 3, payload=large + " ", metadata='{"v":2}', fingerprint="g", **fields)
    same(probe.offer(newer), [Existing(first.id, None, NOW + 8)], "a newer one")
    same(probe.store.run(lambda tx: tx.promote(NOW + 5)).count, 0, "promote too early")
    same(probe.store.run(lambda tx: tx.promote(NOW + 8)).count, 1, "promote")
    last = task_named(at=NOW + 9, payload='"last"', metadata='{"v":3}', **fields)
    same(probe.offer(last), [Existing(first.id, None, NOW + 14)], "while it is claimable")
    same(probe.claim(first.lane, 9, NOW + 9), [], "claim")
    same(probe.kinds(first.seq), ["submitted", "replaced", "replaced"], "events")
    probe.store.run(lambda tx: tx.promote(NOW + 14))
    [task] = probe.claim(first.lane, 9, NOW + 14)
    same((task.id, task.payload, task.metadata), (first.id, '"last"', '{"v":3}'), "what is claimed")
    beside = probe.add(at=NOW + 15, payload='"beside"', **fields)
    same(probe.offer(task_named(unique_key="k")), [Existing(beside.id)], "who holds the key then")
    probe.put_back(task, TaskStatus.RETRYING, NOW + 15)
    newest = task_named(at=NOW + 16, payload='"newest"', **fields)
    same(probe.offer(newest), [Existing(beside.id, None, NOW + 21)], "while the older waits again")
    same([probe.view(id).payload for id in (first.id, beside.id)], ["last", "newest"], "payloads")


def check_debounce_in_one_batch(probe: Probe) -> None:
    """Of debounced tasks of one batch the first enters, with the data of the last."""
    fields: dict[str, Any] = {"unique_key": "k", "debounce": 2.0}
    tasks = [task_named(id, at=NOW + place, payload=f'"{id}"', **fields) for place, id in enumerate("abc")]
    outcomes = probe.offer(*tasks)
    same([type(outcome) for outcome in outcomes], [Added, Existing, Existing], "outcomes")
    view = probe.view("a")
    same((view.payload, view.due_at), ("c", NOW + 4), "payload and due_at")


def check_expiry(probe: Probe) -> None:
    """A task not started at `expires_at` fails as expired, with what waits for it; a started one goes on."""
    started, late, safe = (probe.add(expires_at=NOW + seconds) for seconds in (5, 5, 50))
    leaf = probe.add(after=(late.id,))
    plain = probe.add()
    same(probe.store.read(lambda reader: reader.next_due()), NOW + 5, "next_due")
    probe.put_back(probe.take(started, NOW + 4), QUEUED, NOW + 4)
    same(probe.store.run(lambda tx: tx.promote(NOW + 4.9)).failed, (), "promote before")
    outcome = probe.store.run(lambda tx: tx.promote(NOW + 5))
    same((set(outcome.failed), outcome.count), ({late.id, leaf.id}, 0), "promote")
    same(outcome.next_due, NOW + 50, "next_due after that")
    view = probe.view(late.id)
    same((view.status, (view.error or {}).get("code")), (FAILED, "expired"), "the late one")
    same((view.finished_at, view.expires_at), (NOW + 5, NOW + 5), "its end")
    same(probe.kinds(late.seq), ["submitted", "finished"], "its events")
    same((probe.view(leaf.id).error or {}).get("task"), late.id, "what waited for it")
    same(set(ids_of(probe.claim(plain.lane, 9, NOW + 6))), {started.id, safe.id, plain.id}, "claim")
    same(probe.store.run(lambda tx: tx.promote(NOW + 50)).failed, (), "when a running one expires")


def check_claims_refuse_what_expired(probe: Probe) -> None:
    """A claim passes over tasks that expired and gives as many others; `promote` tells of them later."""
    for flow in (None, "f"):
        late = [probe.add(at=NOW - 1, expires_at=NOW + 5, flow=flow) for _ in range(3)]
        fresh = [probe.add(flow=flow, expires_at=NOW + 99) for _ in range(2)]
        lane = fresh[0].lane
        if flow is None:
            claimed = probe.claim(lane, 2, NOW + 5)
        else:
            wanted = {lane: {flow: 2}}
            claimed = probe.store.run(lambda tx, wanted=wanted: tx.claim_flows(wanted, probe.node, NOW + 5))  # type: ignore[misc]
        same(ids_of(claimed), [one.id for one in fresh], f"claim, flow {flow}")
        same([probe.status(one.id) for one in late], [FAILED] * 3, "those that expired")
        outcome = probe.store.run(lambda tx: tx.promote(NOW + 6))
        same((set(outcome.failed), outcome.lanes), ({one.id for one in late}, {lane}), "promote")
        same(probe.store.run(lambda tx: tx.promote(NOW + 7)).failed, (), "promote again")


def check_many_expire_at_once(probe: Probe) -> None:
    """However many expire at once, no claim gives one of them, and each is told of once."""
    probe.offer(*(task_named(at=NOW - 1, expires_at=NOW + 5) for _ in range(1_100)))
    lane = probe.add().lane
    claimed = probe.claim(lane, 300, NOW + 5)
    assert all(task.created_at == NOW for task in claimed), "a claim gave a task that had expired"
    told: list[str] = []
    while failed := probe.store.run(lambda tx: tx.promote(NOW + 5, 400)).failed:
        told += failed
    same((len(told), len(set(told))), (1_100, 1_100), "told of")
    same(len(claimed) + len(probe.claim(lane, 9, NOW + 5)), 1, "the one that is left")


def check_expiry_of_what_does_not_wait_in_line(probe: Probe) -> None:
    """Paused, delayed and blocked tasks expire too; what ended before does not."""
    root = probe.add()
    paused, gone = probe.add(expires_at=NOW + 5), probe.add(expires_at=NOW + 5)
    delayed = probe.add(expires_at=NOW + 5, due_at=NOW + 9)
    blocked = probe.add(expires_at=NOW + 5, after=(root.id,))
    probe.store.run(lambda tx: tx.pause(TaskFilter(ids=(paused.id,)), NOW))
    probe.store.run(lambda tx: tx.cancel(TaskFilter(ids=(gone.id,)), NOW))
    failed = probe.store.run(lambda tx: tx.promote(NOW + 5)).failed
    same(set(failed), {paused.id, delayed.id, blocked.id}, "those that expire")
    same(probe.status(gone.id), TaskStatus.CANCELLED, "the one that was cancelled")
    same(probe.end(probe.take(root)).lanes, (), "the end of what the blocked one waited for")


def check_result_ttl(probe: Probe) -> None:
    """A result is dropped when its time is over, the task stays; not while a file or a task needs it."""
    batch = probe.store.run(lambda tx: tx.open_batch(Batch(0, "b", "i", "o", "e", "f", "{}", NOW)))
    fields: dict[str, Any] = {"result_ttl": 10.0}
    plain, kept = probe.running(**fields), probe.running()
    filed, needed = probe.running(batch=batch.id, **fields), probe.running(**fields)
    leaf = probe.add(after=(needed.id,))
    for task in (plain, kept, filed, needed):
        probe.finish(task, at=NOW + 1, result='"' + "r" * 5_000 + '"')

    def prune(now: float) -> int:
        return probe.store.run(lambda tx: tx.prune(Retention(), now)).results

    same(prune(NOW + 10.9), 0, "before")
    same(prune(NOW + 11), 1, "after")
    view = probe.view(plain.id)
    told = (view.status, view.result, view.result_expired)
    same(told, (TaskStatus.COMPLETED, None, True), "the task")
    for task in (kept, filed, needed):
        view = probe.view(task.id)
        same((len(view.result), view.result_expired), (5_000, False), "what stays")
    line = probe.store.read(lambda reader: reader.finished_lines(batch.id, 0, 1))[0]
    batch.written_no = line.no
    probe.store.run(lambda tx: tx.update_batch(batch))
    probe.finish(probe.take(leaf))
    same(prune(NOW + 11), 2, "when nobody needs them any more")


def check_tags(probe: Probe) -> None:
    """Tags are kept, and a filter finds the tasks that have all of them."""
    both = probe.add(tags=("b", "a", "b"))
    only = probe.add(tags=("a",))
    probe.add()
    same(probe.view(both.id).tags, ("a", "b"), "tags")

    def found(*tags: str, **fields: Any) -> list[str]:
        where = TaskFilter(tags=tags, **fields)
        return ids_of(probe.store.read(lambda reader: reader.tasks(where, newest=False)))

    same(found("a"), [both.id, only.id], "tagged a")
    same(found("b", "a"), [both.id], "tagged a and b")
    same(found("a", statuses=(TaskStatus.RUNNING,)), [], "and running")
    same(found("c"), [], "tagged c")
    where = TaskFilter(tags=("b",))
    same(probe.store.run(lambda tx: tx.cancel(where, NOW)), {both.id: True}, "cancel by tag")


def check_metadata(probe: Probe) -> None:
    """A filter finds tasks by top-level equality of their metadata, whatever the keys and values."""
    texts = ['{"a":1,"b":"x","a.b\\"":null}', '{"a":1.0,"c":{"d":[1,2]}}', '{"a":"1"}', '{"a":true}', "[1]"]
    ids = [probe.add(metadata=text).id for text in [*texts, None]]

    def found(**wanted: Any) -> list[int]:
        where = TaskFilter(metadata=wanted)
        return [ids.index(one) for one in ids_of(probe.store.read(lambda r: r.tasks(where, newest=False)))]

    same(found(a=1), [0, 1], "a number")
    same(found(a="1"), [2], "a text")
    same(found(a=True), [3], "a truth value")
    same(found(a=1, b="x"), [0], "two keys")
    same(found(c={"d": [1, 2]}), [1], "an object")
    same(found(**{'a.b"': None}), [0], "an odd key without a value")
    same(found(z=1), [], "a key that nobody has")


def check_tell(probe: Probe) -> None:
    """What a running task tells becomes events, its progress the last of it; fenced."""
    task = probe.running()
    data = [{"current": current, "total": 3, "message": "m"} for current in (1, 2)]
    items = [Notice(task.seq, task.claim_no, NOW + 1, "progress", one) for one in data]
    note = Notice(task.seq, task.claim_no, NOW + 2, "note", {"text": "é"})
    lost = Notice(task.seq, task.claim_no + 1, NOW, "progress", {"current": 9})
    same(probe.store.run(lambda tx: tx.tell([*items, note, lost])), [True, True, True, False], "tell")
    same(probe.view(task.id).progress, data[1], "progress")

    def told(kinds: tuple[str, ...], seq: int | None = None, after: int = 0, limit: int = 9) -> list[Any]:
        events = probe.store.read(lambda reader: reader.events(after, limit, seq, kinds))
        return [(event.kind, event.data) for event in events]

    expected = [("progress", data[0]), ("progress", data[1]), ("note", {"text": "é"})]
    same(told(("progress", "note"), task.seq), expected, "events of the task")
    same(told(("note",)), expected[2:], "events of a kind")
    same(told(("progress",), limit=1), expected[:1], "with a limit")
    last = probe.store.read(lambda reader: reader.last_event())
    same(told(("progress",), after=last), [], "after the last")
    probe.finish(task)
    same(told(("finished",)), [("finished", {"status": "completed"})], "the end")
    same(probe.store.run(lambda tx: tx.tell(items)), [False, False], "tell after the end")
    same(probe.view(task.id).progress, data[1], "progress stays")


CHECKS = (
    check_unique_key,
    check_debounce,
    check_debounce_in_one_batch,
    check_expiry,
    check_claims_refuse_what_expired,
    check_many_expire_at_once,
    check_expiry_of_what_does_not_wait_in_line,
    check_result_ttl,
    check_tags,
    check_metadata,
    check_tell,
)
