"""What a store promises of durable waits: events, approvals, children, suspended tasks."""

from __future__ import annotations

from typing import Any

from penstock.errors import EventRefused, TaskNotFound
from penstock.model.states import TaskStatus
from penstock.model.task import Added, Claimed, Finish
from penstock.model.waits import Effects, Letter, Wait
from penstock.stores.contract import Retention
from penstock.testing.store_probe import NOW, Probe, same, step_of, task_named, where_id

SUSPENDED, QUEUED, RUNNING = TaskStatus.SUSPENDED, TaskStatus.QUEUED, TaskStatus.RUNNING
CANCELLED, COMPLETED, FAILED = TaskStatus.CANCELLED, TaskStatus.COMPLETED, TaskStatus.FAILED

ASKED = Wait("event:approval:deploy", None, '{"question":"Deploy?","details":null}')


def begin(probe: Probe, task: Claimed, what: str, **fields: Any) -> bool:
    return probe.store.run(lambda tx: tx.begin_wait(task.seq, task.claim_no, Wait(what, **fields), NOW))


def send(probe: Probe, id: str, name: str, data: str | None = "1", now: float = NOW) -> tuple[Any, Effects]:
    """The outcome of `deliver`, and what it set off."""
    return probe.store.run(lambda tx: (tx.deliver(id, name, data, "me", now), tx.effects()))


def take(probe: Probe, task: Claimed, name: str) -> str | None:
    """The data of the event taken."""
    letter = probe.store.run(lambda tx: tx.take(task.seq, name))
    return None if letter is None else letter.data


def mother(probe: Probe, children: int = 2, detached: bool = False) -> tuple[Claimed, list[Added]]:
    """A running task, and tasks that it started."""
    parent = probe.running()

    def bear(tx: Any) -> list[Added]:
        born = tx.add([task_named() for _ in range(children)])
        for one in born:
            tx.adopt(parent.seq, one.seq, detached)
        return list(born)

    return parent, probe.store.run(bear)


def family(probe: Probe, parent: int, child: int) -> Any:
    """The children of the one, and the parent of the other."""
    return probe.store.read(lambda reader: (reader.children(parent), reader.parent(child)))


def check_events_are_kept(probe: Probe) -> None:
    """Events wait for the task that takes them, in order, by name, large ones too; nobody else gets them."""
    task, large = probe.running(), '"' + "x" * 9_000 + '"'
    for data in ("1", large, None):
        outcome, effects = send(probe, task.id, "go", data)
        same((type(outcome), effects), (Letter, Effects()), "deliver to one that does not wait")
    same(take(probe, task, "other"), None, "another name")
    same([take(probe, task, "go") for _ in range(4)], ["1", large, None, None], "in order")
    same(probe.kinds(task.seq)[2:], ["event"] * 3, "events")


def check_events_wake(probe: Probe) -> None:
    """An event makes a suspended task claimable with its rank, and tells of a running one that waits."""
    first, second = probe.running(), probe.running(now=NOW + 1)
    same([begin(probe, one, "event:go") for one in (first, second)], [True, True], "begin_wait")
    same(probe.put_back(first, SUSPENDED), True, "put_back")
    same(send(probe, first.id, "stop")[1], Effects(), "another event")
    same(send(probe, first.id, "go")[1], Effects(lanes=(first.lane,)), "what it set off")
    view = probe.view(first.id)
    same((view.status, view.ready, view.rank), (QUEUED, True, first.rank), "woken")
    same(send(probe, second.id, "go")[1], Effects(woken=((second.seq, "event:go"),)), "of a running one")
    same(probe.store.run(lambda tx: tx.woken()), [(second.seq, "event:go")], "told to others")
    begin(probe, second, "event:go")
    same(probe.store.run(lambda tx: tx.woken()), [], "once it looks")


def check_no_wake_is_lost(probe: Probe) -> None:
    """A task that is suspended after its event came is queued instead, once."""
    task = probe.running()
    begin(probe, task, "event:go", until=NOW + 9)
    send(probe, task.id, "go")

    def suspend(held: Claimed) -> Effects:
        probe.put_back(held, SUSPENDED, due_at=NOW + 9)
        return Effects()

    suspend(task)
    same(probe.status(task.id), QUEUED, "the first time")
    (again,) = probe.claim(task.lane)
    suspend(again)
    same(probe.status(task.id), SUSPENDED, "the second time")
    same(probe.store.run(lambda tx: tx.promote(NOW + 9)).count, 1, "when its time comes")
    same(probe.status(task.id), QUEUED, "at last")


def check_waits_are_fenced(probe: Probe) -> None:
    """Who lost the claim begins no wait; a wait begun again keeps the instant at which it was asked."""
    task = probe.running()
    lost = probe.store.run(lambda tx: tx.begin_wait(task.seq, task.claim_no + 1, Wait("event:go"), NOW))
    same((lost, probe.store.run(lambda tx: tx.holds(task.seq, task.claim_no))), (False, True), "fence")
    begin(probe, task, "event:go")
    probe.store.run(lambda tx: tx.begin_wait(task.seq, task.claim_no, Wait("event:go", NOW + 7), NOW + 5))
    (wait,) = probe.store.read(lambda reader: reader.awaits(task.seq))
    same((wait.what, wait.asked_at, wait.until, wait.status), ("event:go", NOW, NOW + 7, RUNNING), "awaits")
    probe.store.run(lambda tx: tx.end_wait(task.seq, "event:go"))
    same(probe.store.read(lambda reader: reader.awaits(task.seq)), [], "ended")


def check_events_are_refused(probe: Probe) -> None:
    """No event goes to a task that has ended, or that there is not; what it had not taken goes with it."""
    task = probe.running()
    begin(probe, task, "event:go")
    send(probe, task.id, "other", '"' + "y" * 9_000 + '"')
    same(isinstance(send(probe, "nobody", "go")[0], TaskNotFound), True, "unknown")
    probe.finish(task)
    same(isinstance(send(probe, task.id, "go")[0], EventRefused), True, "ended")
    same(probe.store.read(lambda reader: reader.awaits(task.seq)), [], "waits")


def check_no_flood_is_in_the_way(probe: Probe) -> None:
    """A task that takes no more events still takes the one it waits for, once."""
    task = probe.running()
    probe.store.run(lambda tx: [tx.deliver(task.id, "noise", None, "me", NOW) for _ in range(10_000)])
    same(isinstance(send(probe, task.id, "noise")[0], EventRefused), True, "one too many")
    same(isinstance(send(probe, task.id, "go")[0], EventRefused), True, "nobody waits for it")
    begin(probe, task, "event:go")
    same([isinstance(send(probe, task.id, "go")[0], Letter) for _ in range(2)], [True, False], "awaited")
    same(take(probe, task, "go"), "1", "what came")


def check_approvals(probe: Probe) -> None:
    """An approval is listed until somebody answers; nobody answers twice, nor what nobody asked."""

    def decide(name: str | None, id: str) -> Any:
        return probe.store.run(lambda tx: tx.decide(id, name, '{"approved":true}', "me", NOW))

    task = probe.running(tenant="red")
    same(isinstance(decide(None, task.id), EventRefused), True, "before it is asked")
    probe.store.run(lambda tx: tx.begin_wait(task.seq, task.claim_no, ASKED, NOW))
    probe.put_back(task, SUSPENDED)
    (asked,) = probe.store.read(lambda reader: reader.approvals("red"))
    same((asked.id, asked.what, asked.question), (task.id, ASKED.what, ASKED.question), "listed")
    same(probe.store.read(lambda reader: reader.approvals("blue")), [], "for others")
    same(isinstance(decide("else", task.id), EventRefused), True, "another name")
    same(isinstance(decide(None, task.id), Letter), True, "answered")
    same(probe.store.read(lambda reader: reader.approvals()), [], "listed no more")
    same(isinstance(decide("deploy", task.id), EventRefused), True, "answered twice")
    (again,) = probe.claim(task.lane)
    same(take(probe, again, "approval:deploy"), '{"approved":true}', "the answer")
    same("asked" in probe.kinds(task.seq), True, "event")


def check_several_approvals(probe: Probe) -> None:
    """Of several approvals an answer names one."""
    task = probe.running()
    for name in ("a", "b"):
        begin(probe, task, f"event:approval:{name}", question='{"question":"?"}')
    outcome = probe.store.run(lambda tx: tx.decide(task.id, None, "{}", "", NOW))
    same((type(outcome), "a, b" in str(outcome)), (EventRefused, True), "without a name")
    same(type(probe.store.run(lambda tx: tx.decide(task.id, "b", "{}", "", NOW))), Letter, "with one")


def check_ends_wake(probe: Probe) -> None:
    """The end of a task, whatever it is, wakes who waits for it."""
    for status in (COMPLETED, FAILED, CANCELLED):
        parent, (child,) = mother(probe, 1)
        begin(probe, parent, f"task:{child.seq}")
        probe.put_back(parent, SUSPENDED)
        if status is CANCELLED:
            probe.store.run(lambda tx, id=child.id: tx.cancel(where_id(id), NOW))  # type: ignore[misc]
        else:
            probe.finish(probe.take(child), status)
        same(probe.status(parent.id), QUEUED, f"after {status}")
        probe.finish(probe.claim(parent.lane)[0])


def check_children_are_cancelled(probe: Probe) -> None:
    """Children go with a parent that fails or is cancelled, at any depth; not with one that completed, and
    not detached ones."""
    parent, (waiting, running) = mother(probe)
    held = probe.claim(waiting.lane)[0]
    grandchild = probe.add()
    probe.store.run(lambda tx: tx.adopt(held.seq, grandchild.seq))
    effects = probe.store.run(lambda tx: (tx.finish([Finish(parent, FAILED, NOW)]), tx.effects()))
    same(probe.status(running.id), CANCELLED, "the one that waited")
    asked = probe.store.run(lambda tx: tx.controls(0))
    same([(one.kind, one.task) for one in asked], [("cancel", held.seq)], "the one that runs")
    same(effects[0][0].doomed or effects[1].doomed, (held.seq,), "told at once")
    probe.finish(held, CANCELLED)
    same(probe.status(grandchild.id), CANCELLED, "the grandchild")
    for end, detached, then in ((COMPLETED, False, QUEUED), (FAILED, True, QUEUED)):
        parent, (child,) = mother(probe, 1, detached)
        same(family(probe, parent.seq, child.seq), ([(child.id, detached)], parent.id), "family")
        probe.finish(parent, end)
        same(probe.status(child.id), then, f"parent {end}, detached {detached}")
        probe.finish(probe.take(child))


def check_cancel_while_it_leaves(probe: Probe) -> None:
    """A task that was asked to cancel while it ran is cancelled when it comes back from there."""
    for status in (SUSPENDED, QUEUED):
        task = probe.running()
        probe.store.run(lambda tx, id=task.id: tx.cancel(where_id(id), NOW))  # type: ignore[misc]
        probe.put_back(task, status)
        same(probe.status(task.id), CANCELLED, f"put back as {status}")


def check_pause_of_suspended_tasks(probe: Probe) -> None:
    """A paused task is woken by nothing, neither what comes for it nor its time; resumed, it is suspended
    again, unless something came: then it waits its turn."""
    still, woken, timed, late = (probe.running(now=NOW + number) for number in range(4))
    for task, until in ((still, None), (woken, None), (timed, NOW + 50), (late, NOW + 900)):
        begin(probe, task, "event:go", until=until)
        probe.put_back(task, SUSPENDED, due_at=until)
    where = where_id(*(task.id for task in (still, woken, timed, late)))
    same(probe.store.run(lambda tx: tx.pause(where, NOW + 10)), 4, "paused")
    same(send(probe, woken.id, "go", now=NOW + 20)[1], Effects(), "an event sets nothing off")
    same(probe.store.run(lambda tx: tx.promote(NOW + 60)).count, 0, "nor does the time")
    same(probe.counts(), {TaskStatus.PAUSED: 4}, "tallies while paused")
    same(probe.store.run(lambda tx: tx.resume(where, NOW + 100)), 4, "resumed")
    statuses = [probe.status(task.id) for task in (still, woken, timed, late)]
    same(statuses, [SUSPENDED, QUEUED, SUSPENDED, SUSPENDED], "statuses")
    same(probe.counts(), {SUSPENDED: 3, QUEUED: 1}, "tallies")
    probe.store.run(lambda tx: tx.promote(NOW + 100))
    same([probe.status(task.id) for task in (timed, late)], [QUEUED, SUSPENDED], "whose time has come")
    same(send(probe, still.id, "go", now=NOW + 110)[1], Effects(lanes=(still.lane,)), "it wakes again")
    claimed = {task.id: task for task in probe.claim(woken.lane, 9, now=NOW + 200)}
    same(sorted(claimed), sorted(task.id for task in (still, woken, timed)), "claimed")
    same(take(probe, claimed[woken.id], "go"), "1", "the event was kept")
    before = probe.store.read(lambda reader: reader.totals()).get("run_seconds", 0.0)
    probe.finish(claimed[woken.id], at=NOW + 205)
    ran = probe.store.read(lambda reader: reader.totals())["run_seconds"] - before
    # From its start at NOW + 1 without the time from its put-back, at NOW, to the resume.
    same(ran, 104.0, "suspended and paused time is no run time")
    same(probe.store.verify(), [], "verify")


def check_pause_after_the_clock_was_set_back(probe: Probe) -> None:
    """Who was woken at an instant before its suspension waits its turn, and does so after a pause too."""
    task = probe.running()
    begin(probe, task, "event:go")
    probe.put_back(task, SUSPENDED)
    send(probe, task.id, "go", now=NOW - 500)
    where = where_id(task.id)
    same(probe.store.run(lambda tx: tx.pause(where, NOW - 400)), 1, "paused")
    same(probe.store.run(lambda tx: tx.resume(where, NOW - 300)), 1, "resumed")
    same(probe.status(task.id), QUEUED, "its status")


def check_time_away(probe: Probe) -> None:
    """The time in which a task was suspended is no run time."""
    task = probe.running()
    begin(probe, task, "event:go")
    probe.put_back(task, SUSPENDED, NOW + 1)
    send(probe, task.id, "go", now=NOW + 1_001)
    probe.finish(probe.claim(task.lane, now=NOW + 1_002)[0], at=NOW + 1_004)
    same(probe.store.read(lambda reader: reader.totals())["run_seconds"], 4.0, "run time")


def check_suspended_in_peace(probe: Probe) -> None:
    """Who was suspended since is not to blame for crashes before."""
    task = probe.running()
    for crashes in (1, 2, 1):
        if crashes == 1:
            probe.put_back(task, SUSPENDED, NOW, due_at=NOW)
            probe.store.run(lambda tx: tx.promote(NOW))
            (task,) = probe.claim(task.lane)
            same(task.crashes, 0, "crashes after it was suspended")
        probe.store.run(lambda tx: tx.rescue(0.0, NOW, 3, [probe.node]))
        (task,) = probe.claim(task.lane)
        same(task.crashes, crashes, "crashes")


def check_waiting_keeps(probe: Probe) -> None:
    """As long as its parent has not ended, a child is kept; pruned tasks take their rows along."""
    parent, (child,) = mother(probe, 1)
    probe.finish(probe.take(child))
    rule = Retention(finished_before=NOW + 100)
    same(probe.store.run(lambda tx: tx.prune(rule, NOW + 200)).tasks, 0, "while the parent runs")
    probe.finish(parent)
    same(probe.store.run(lambda tx: tx.prune(rule, NOW + 200)).tasks, 2, "after its end")


def check_retry_starts_failed_children_again(probe: Probe) -> None:
    """A retry inherits the journal; of children that came to nothing only a note."""
    parent, (good, bad) = mother(probe)
    for place, (child, end) in enumerate(((good, COMPLETED), (bad, FAILED))):
        probe.finish(probe.take(child), end)
        started = f'["{child.id}",{child.seq}]'.encode()
        ended = f'{{"child":"{child.id}","status":"{end}"}}'.encode()
        probe.record(step_of(parent, "start echo", started, occurrence=place))
        probe.record(step_of(parent, "result echo", ended, occurrence=place))
    probe.finish(parent, FAILED)
    again = probe.add(retry_of=parent.id, inherit_journal=True)
    kept = probe.store.read(lambda reader: reader.journal(again.seq))
    same(
        [(one.key.name, one.occurrence, one.kind) for one in kept],
        [
            ("start echo", 0, "value"),
            ("result echo", 0, "value"),
            ("start echo", -1, "unfinished"),
            ("result echo", -1, "unfinished"),
        ],
        "journal",
    )


CHECKS = (
    check_events_are_kept,
    check_events_wake,
    check_no_wake_is_lost,
    check_waits_are_fenced,
    check_events_are_refused,
    check_no_flood_is_in_the_way,
    check_approvals,
    check_several_approvals,
    check_ends_wake,
    check_children_are_cancelled,
    check_cancel_while_it_leaves,
    check_pause_of_suspended_tasks,
    check_pause_after_the_clock_was_set_back,
    check_time_away,
    check_suspended_in_peace,
    check_waiting_keeps,
    check_retry_starts_failed_children_again,
)
