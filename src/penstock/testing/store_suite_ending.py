"""What a store promises about the end of a claim: one final state, fences, retries, the journal."""

from __future__ import annotations

from penstock.model.rank import Rank
from penstock.model.states import FINAL, TaskStatus
from penstock.model.step import StepKey, StepRecord
from penstock.model.task import Claimed, Finish
from penstock.testing.store_probe import NOW, Probe, ids_of, rising, same, step_of, where_id


def check_finish(probe: Probe) -> None:
    """A task ends in each final state with what belongs to it; `finished_no` rises."""
    numbers = []
    for status in sorted(FINAL):
        task = probe.running()
        done = probe.finish(task, status, NOW + 3, result='{"r":1}', error='{"code":"c","message":"m"}')
        same(done, True, f"finish as {status}")
        view = probe.view(task.id)
        same((view.status, view.finished_at, view.node), (status, NOW + 3, None), "status, finished_at, node")
        same((view.result, view.error), ({"r": 1}, {"code": "c", "message": "m"}), "result and error")
        same(probe.kinds(task.seq), ["submitted", "started", "finished"], "events")
        numbers.append(view.finished_no)
    rising(numbers, "finished_no")
    same(probe.counts(), dict.fromkeys(FINAL, 1), "tallies")


def check_finish_only_once(probe: Probe) -> None:
    """The second end of a task, in one batch or later, changes nothing."""
    task = probe.running()
    ends = [Finish(task, TaskStatus.COMPLETED, NOW, "1"), Finish(task, TaskStatus.FAILED, NOW, "2")]
    outcomes = probe.store.run(lambda tx: tx.finish(ends))
    same([bool(outcome) for outcome in outcomes], [True, False], "two ends in one batch")
    same(probe.finish(task, TaskStatus.CANCELLED), False, "a third, later")
    view = probe.view(task.id)
    same((view.status, view.result), (TaskStatus.COMPLETED, 1), "what it ended as")
    assert_fenced(probe, task)
    same(probe.store.run(lambda tx: tx.cancel(where_id(task.id), NOW)).get(task.id, False), False, "cancel")
    same(probe.status(task.id), TaskStatus.COMPLETED, "status")


def check_totals(probe: Probe) -> None:
    """Sums over finished tasks: seconds from entering to the start, seconds from there to the end."""
    for wait, work in ((2.0, 5.0), (1.0, 0.5)):
        task = probe.take(probe.add(), NOW + wait)
        probe.finish(task, at=NOW + wait + work)
    totals = probe.store.read(lambda reader: reader.totals())
    same([totals[name] for name in ("processed", "queue_seconds", "run_seconds")], [2, 3.0, 5.5], "totals")


def assert_fenced(probe: Probe, lost: Claimed) -> None:
    """What a lost claim tries changes nothing: not the task, not its journal, not its events."""
    before = (probe.view(lost.id), probe.kinds(lost.seq), probe.counts())
    same(probe.finish(lost, result="9"), False, "finish of a lost claim")
    for status in (TaskStatus.RETRYING, TaskStatus.QUEUED, TaskStatus.SUSPENDED):
        same(probe.put_back(lost, status, rank=Rank(8, 8.0)), False, f"put_back of a lost claim as {status}")
    same(probe.record(step_of(lost, "of-a-lost-claim")), [False], "record of a lost claim")
    same((probe.view(lost.id), probe.kinds(lost.seq), probe.counts()), before, "the task afterwards")


def check_fence_after_put_back(probe: Probe) -> None:
    """A claim that was put back holds nothing, before and after the task is claimed anew."""
    old = probe.running()
    probe.put_back(old, TaskStatus.QUEUED)
    assert_fenced(probe, old)
    new = probe.claim(old.lane)[0]
    assert new.claim_no > old.claim_no, f"claim_no did not rise: {old.claim_no}, then {new.claim_no}"
    assert_fenced(probe, old)
    same(probe.finish(new, result="1"), True, "finish of the claim that holds")


def check_fence_after_rescue(probe: Probe) -> None:
    """A node that lost its claim to a rescue changes nothing, even while nobody else has claimed."""
    old = probe.running()
    probe.store.run(lambda tx: tx.rescue(0.0, NOW + 1, 3, nodes=[probe.node]))
    assert_fenced(probe, old)
    probe.node = probe.store.run(lambda tx: tx.join("second", 2, "host", NOW, NOW + 30))
    new = probe.claim(old.lane)[0]
    assert_fenced(probe, old)
    same(probe.finish(new), True, "finish of the claim that holds")


def check_fence_of_a_mixed_batch(probe: Probe) -> None:
    """In one batch the lost claims fail alone."""
    first, second = probe.running(), probe.running()
    probe.put_back(first, TaskStatus.SUSPENDED)
    steps = [step_of(first, "s"), step_of(second, "s")]
    same(probe.record(*steps), [False, True], "record")
    ends = [Finish(task, TaskStatus.COMPLETED, NOW) for task in (first, second)]
    outcomes = probe.store.run(lambda tx: tx.finish(ends))
    same([bool(outcome) for outcome in outcomes], [False, True], "finish")


def check_put_back_to_retry(probe: Probe) -> None:
    """A failed attempt goes back with its error and its new rank; the next attempt counts one more."""
    task = probe.running()
    error = '{"code":"rate_limit","message":"slow down"}'
    same(
        probe.put_back(task, TaskStatus.RETRYING, rank=Rank(0, 4.0), due_at=NOW + 5, error=error),
        True,
        "put_back",
    )
    view = probe.view(task.id)
    same(
        (view.status, view.ready, view.due_at), (TaskStatus.RETRYING, False, NOW + 5), "status, ready, due_at"
    )
    same(
        (view.rank, view.node, view.error),
        (Rank(0, 4.0), None, {"code": "rate_limit", "message": "slow down"}),
        "view",
    )
    same(probe.claim(task.lane, 1, NOW + 4), [], "claim before it is due")
    same(probe.store.run(lambda tx: tx.promote(NOW + 5)).count, 1, "promote")
    again = probe.claim(task.lane, 1, NOW + 5)[0]
    same((again.id, again.attempt, again.started_at), (task.id, 2, NOW), "id, attempt, first start")
    same(probe.kinds(task.seq), ["submitted", "started", "retrying", "started"], "events")


def check_put_back_to_the_line(probe: Probe) -> None:
    """A task put back costs a claim, no attempt, and may be claimed at once."""
    task = probe.running()
    behind = probe.add(rank=Rank(0, NOW + 1))
    same(probe.put_back(task, TaskStatus.QUEUED), True, "put_back")
    same((probe.status(task.id), probe.view(task.id).ready), (TaskStatus.QUEUED, True), "status and ready")
    first, second = probe.claim(task.lane, 2)
    same([first.id, second.id], [task.id, behind.id], "order")
    same((first.attempt, first.claim_no > task.claim_no), (1, True), "attempt, and whether claim_no rose")
    same(probe.kinds(task.seq), ["submitted", "started", "put_back", "started"], "events")


def check_put_back_to_sleep(probe: Probe) -> None:
    """A suspended task with a due time wakes by promotion; without one it stays."""
    sleeper, waiter = probe.running(), probe.running()
    probe.put_back(sleeper, TaskStatus.SUSPENDED, due_at=NOW + 5)
    probe.put_back(waiter, TaskStatus.SUSPENDED)
    same(probe.counts(), {TaskStatus.SUSPENDED: 2}, "tallies")
    same(probe.kinds(waiter.seq), ["submitted", "started", "suspended"], "events")
    same(probe.claim(sleeper.lane, 5, NOW + 1), [], "claim of suspended tasks")
    same(probe.store.read(lambda reader: reader.next_due()), NOW + 5, "next_due")
    same(probe.store.run(lambda tx: tx.promote(NOW + 10**6)).count, 1, "promote")
    same(ids_of(probe.claim(sleeper.lane, 5, NOW + 5)), [sleeper.id], "claim after that")
    same(probe.status(waiter.id), TaskStatus.SUSPENDED, "status of the other")


def check_journal(probe: Probe) -> None:
    """Steps come back as recorded, oldest first, to the claim that follows; the view outlines them."""
    task = probe.running()
    large = bytes(range(256)) * 400
    steps = [
        step_of(task, "a", b'{"x":1}'),
        step_of(task, "b", large),
        step_of(task, "c", large),
        step_of(task, "d", b""),
    ]
    steps[1].kind, steps[1].input_tokens, steps[1].output_tokens, steps[1].cost = "http", 7, 8, 9
    same(probe.record(*steps), [True] * 4, "record")
    same(probe.store.read(lambda reader: reader.journal(task.seq)), steps, "journal")
    same(len(probe.view(task.id).steps), 4, "steps of the view")
    same(probe.kinds(task.seq), ["submitted", "started"] + ["step"] * 4, "events")
    probe.put_back(task, TaskStatus.QUEUED)
    again = probe.claim(task.lane)[0]
    assert again.journaled, "a task with recorded steps is claimed with journaled=False"
    same(probe.store.read(lambda reader: reader.journal(again.seq)), steps, "journal after the next claim")


def check_first_record_counts(probe: Probe) -> None:
    """A step recorded again, in the same batch or later, keeps its first value; occurrences are apart."""
    task = probe.running()
    probe.record(step_of(task, "a", b"first"), step_of(task, "a", b"second"))
    probe.record(step_of(task, "a", b"third"), step_of(task, "a", b"next", occurrence=1))
    steps = probe.store.read(lambda reader: reader.journal(task.seq))
    same([(step.occurrence, step.value) for step in steps], [(0, b"first"), (1, b"next")], "journal")


def check_step_keys_are_apart(probe: Probe) -> None:
    """Scope, name, digest and task each tell steps apart."""
    task, other = probe.running(), probe.running()
    keys = [StepKey("", "n", "d"), StepKey("s", "n", "d"), StepKey("", "m", "d"), StepKey("", "n", "e")]
    steps = [
        StepRecord(task.seq, task.claim_no, key, 0, "value", b"%d" % n, NOW) for n, key in enumerate(keys)
    ]
    probe.record(*steps, StepRecord(other.seq, other.claim_no, keys[0], 0, "value", b"other", NOW))
    same(probe.store.read(lambda reader: reader.journal(task.seq)), steps, "journal")
    found = probe.store.read(lambda reader: reader.journal(other.seq))
    same([step.value for step in found], [b"other"], "journal of the other task")


def check_void_step(probe: Probe) -> None:
    """One record can be voided; then it may be recorded anew."""
    task = probe.running()
    probe.record(step_of(task, "a", b"bad"), step_of(task, "b", b"good"))
    key = step_of(task, "a").key
    same(probe.store.run(lambda tx: tx.void_step(task.seq, key, 0)), True, "void")
    same(probe.store.run(lambda tx: tx.void_step(task.seq, key, 0)), False, "void again")
    probe.record(step_of(task, "a", b"better"))
    steps = {step.key.name: step.value for step in probe.store.read(lambda reader: reader.journal(task.seq))}
    same(steps, {"a": b"better", "b": b"good"}, "journal")


def check_keep_nothing(probe: Probe) -> None:
    """A task that is not kept ends without payload, journal and result; its row and error stay."""
    task = probe.running()
    probe.record(step_of(task, "secret", b"x" * 50_000))
    probe.finish(task, TaskStatus.FAILED, result='"secret"', error='{"code":"c","message":"m"}', keep=False)
    view = probe.view(task.id)
    same((view.payload, view.result, view.steps), (None, None, []), "payload, result, steps")
    same(probe.store.read(lambda reader: reader.journal(task.seq)), [], "journal")
    same((view.status, view.error), (TaskStatus.FAILED, {"code": "c", "message": "m"}), "status and error")


CHECKS = (
    check_finish,
    check_finish_only_once,
    check_totals,
    check_fence_after_put_back,
    check_fence_after_rescue,
    check_fence_of_a_mixed_batch,
    check_put_back_to_retry,
    check_put_back_to_the_line,
    check_put_back_to_sleep,
    check_journal,
    check_first_record_counts,
    check_step_keys_are_apart,
    check_void_step,
    check_keep_nothing,
)
