"""What a store promises about nodes: leases, rescue, poison, cancelling, requests of other processes."""

from __future__ import annotations

from penstock.model.rank import Rank
from penstock.model.states import TaskStatus
from penstock.stores.contract import Gauge, TaskFilter, WaitRow
from penstock.testing.store_probe import NOW, Probe, ids_of, rising, same, where_id


def join(probe: Probe, lease_until: float = NOW + 30) -> int:
    """Another node, which the probe is from now on."""
    probe.node = probe.store.run(lambda tx: tx.join("node", 77, "host-b", NOW, lease_until))
    return probe.node


def check_nodes(probe: Probe) -> None:
    """Nodes are listed with their leases, renewed while they are there, and gone when they leave."""
    node = join(probe)
    same(probe.store.run(lambda tx: tx.renew(node, NOW + 60)), True, "renew")
    views = {view.id: view for view in probe.store.read(lambda reader: reader.nodes())}
    same(len(views), 2, "nodes")
    view = views[node]
    same((view.name, view.pid, view.host, view.started_at), ("node", 77, "host-b", NOW), "the node")
    same(view.lease_until, NOW + 60, "its lease")
    probe.store.run(lambda tx: tx.leave(node))
    same(
        [view.id == node for view in probe.store.read(lambda reader: reader.nodes())],
        [False],
        "after it left",
    )
    same(probe.store.run(lambda tx: tx.renew(node, NOW + 90)), False, "renew of a node that left")


def check_rescue_by_lease(probe: Probe) -> None:
    """Tasks of nodes whose lease ran out go back to the line at the place they had; others stay."""
    first = probe.node
    lost = [probe.running(), probe.running()]
    behind = probe.add(rank=Rank(0, NOW + 9))
    join(probe, NOW + 1000)
    rescued = probe.store.run(lambda tx: tx.rescue(NOW + 30, NOW + 40, 3))
    same(rescued.count, 0, "rescued while the lease holds")
    held = probe.take(behind)
    rescued = probe.store.run(lambda tx: tx.rescue(NOW + 31, NOW + 40, 3))
    same((rescued.count, rescued.lanes, rescued.poisoned), (2, frozenset({held.lane}), ()), "rescued")
    same(probe.store.run(lambda tx: tx.renew(first, NOW + 99)), False, "renew of the dead node")
    same(probe.status(held.id), TaskStatus.RUNNING, "task of the living node")
    again = probe.claim(held.lane, 5, NOW + 40)
    same(ids_of(again), ids_of(lost), "claimed again")
    same(
        [(task.attempt, task.crashes, task.claim_no > 1) for task in again],
        [(2, 1, True)] * 2,
        "what it cost",
    )
    same(probe.kinds(lost[0].seq), ["submitted", "started", "rescued", "started"], "events")


def check_rescue_only_once(probe: Probe) -> None:
    """A second rescue of the same node finds nothing."""
    probe.running()
    node = probe.node
    counts = [probe.store.run(lambda tx: tx.rescue(0.0, NOW, 3, nodes=[node])).count for _ in range(2)]
    same(counts, [1, 0], "rescued")
    same(probe.counts(), {TaskStatus.QUEUED: 1}, "tallies")


def check_poison(probe: Probe) -> None:
    """A task that crashes its node for the third time fails, with a reason, and stays failed."""
    added = probe.add(idempotency_key="k", fingerprint="f")
    for crash in (1, 2, 3):
        probe.take(added)
        rescued = probe.store.run(lambda tx: tx.rescue(0.0, NOW, 3, nodes=[probe.node]))
        same(rescued.poisoned, (added.id,) if crash == 3 else (), f"poisoned after crash {crash}")
        join(probe)
    view = probe.view(added.id)
    same((view.status, view.crashes), (TaskStatus.FAILED, 3), "status and crashes")
    rising([view.finished_no], "finished_no")
    assert view.error, "a poisoned task fails without an error"
    assert view.error.get("code"), f"its error has no code: {view.error}"
    same(probe.counts(), {TaskStatus.FAILED: 1}, "tallies")
    same(probe.kinds(added.seq)[-1], "finished", "last event")
    same(probe.claim(added.lane, 5), [], "claim")


def check_cancel(probe: Probe) -> None:
    """What waits ends as cancelled; what runs is asked to; what ended is left alone."""
    done = probe.running()
    probe.finish(done)
    running = probe.running()
    waiting, delayed, paused = probe.add(), probe.add(due_at=NOW + 9), probe.add()
    probe.store.run(lambda tx: tx.pause(where_id(paused.id), NOW))
    ids = [task.id for task in (done, running, waiting, delayed, paused)]
    outcome = probe.store.run(lambda tx: tx.cancel(where_id(*ids), NOW + 1))
    same([outcome.get(id, False) for id in ids], [False, True, True, True, True], "outcome")
    expected = ["completed", "running", "cancelled", "cancelled", "cancelled"]
    same([probe.status(id).value for id in ids], expected, "statuses")
    controls = probe.store.run(lambda tx: tx.controls(0))
    same([(control.kind, control.task) for control in controls], [("cancel", running.seq)], "controls")
    rising(sorted(probe.view(id).finished_no or 0 for id in ids), "finished_no")
    same(probe.view(waiting.id).finished_at, NOW + 1, "finished_at")
    same(probe.claim(waiting.lane, 9, NOW + 99), [], "claim")
    same(probe.kinds(waiting.seq), ["submitted", "finished"], "events")
    same(
        probe.store.run(lambda tx: tx.cancel(where_id("no-such-task"), NOW)).get("no-such-task", False),
        False,
        "none",
    )


def check_cancel_by_filter(probe: Probe) -> None:
    """A filter cancels all that match and nothing else, suspended and retrying tasks included."""
    retrying, suspended = probe.running(tenant="a"), probe.running(tenant="a")
    probe.put_back(retrying, TaskStatus.RETRYING, due_at=NOW + 9)
    probe.put_back(suspended, TaskStatus.SUSPENDED)
    other = probe.add(tenant="b")
    outcome = probe.store.run(lambda tx: tx.cancel(TaskFilter(tenant="a"), NOW))
    same({id for id, done in outcome.items() if done}, {retrying.id, suspended.id}, "cancelled")
    same(probe.counts(), {TaskStatus.CANCELLED: 2, TaskStatus.QUEUED: 1}, "tallies")
    same(probe.status(other.id), TaskStatus.QUEUED, "the other tenant's task")
    same(probe.store.run(lambda tx: tx.promote(NOW + 99)).count, 0, "promote afterwards")


def check_controls(probe: Probe) -> None:
    """Requests to the dispatching process are numbered and read from where one stopped."""
    probe.store.run(lambda tx: tx.ask_control("stop", None, NOW))
    first = probe.store.run(lambda tx: tx.controls(0))
    same([(control.kind, control.task, control.at) for control in first], [("stop", None, NOW)], "controls")
    probe.store.run(lambda tx: tx.ask_control("cancel", 5, NOW + 1))
    later = probe.store.run(lambda tx: tx.controls(first[0].no))
    same([(control.kind, control.task) for control in later], [("cancel", 5)], "after the first")
    assert later[0].no > first[0].no, f"numbers do not rise: {first}, {later}"


def check_paused_scopes(probe: Probe) -> None:
    """Scopes stay paused until they are resumed; pausing twice is pausing."""
    for scope in ("all", "type:echo", "tenant:a", "all"):
        probe.store.run(lambda tx, scope=scope: tx.set_pause(scope, True))  # type: ignore[misc]
    same(sorted(probe.store.read(lambda reader: reader.pauses())), ["all", "tenant:a", "type:echo"], "pauses")
    for scope in ("all", "tenant:a", "type:none"):
        probe.store.run(lambda tx, scope=scope: tx.set_pause(scope, False))  # type: ignore[misc]
    same(probe.store.read(lambda reader: reader.pauses()), ["type:echo"], "pauses after resuming")


def check_waits_and_gauges(probe: Probe) -> None:
    """What a node says replaces what it said before, and nothing that another node said."""
    other = probe.store.run(lambda tx: tx.join("other", 2, "host", NOW, NOW + 30))
    first, second = probe.add(), probe.add()

    def say(node: int, waits: list[WaitRow], gauges: list[Gauge]) -> None:
        probe.store.run(lambda tx: tx.write_waits(node, waits, gauges))

    mine = WaitRow(first.seq, "tokens", "tpm:model-a", NOW + 3.5, NOW)
    theirs = WaitRow(second.seq, "money", "daily_limit", None, NOW)
    gauge = Gauge("rpm:model-a", 10.0, 2.5, 60.0, NOW)
    say(
        probe.node,
        [WaitRow(second.seq, "requests", "rpm:model-a", None, NOW)],
        [Gauge("old", 1.0, 1.0, 1.0, NOW)],
    )
    say(other, [theirs], [])
    say(probe.node, [mine], [gauge])
    waits = probe.store.read(lambda reader: reader.waits())
    same(sorted(waits, key=lambda row: row.task), [mine, theirs], "waits")
    same(probe.store.read(lambda reader: reader.waits(second.seq)), [theirs], "waits of one task")
    same(probe.store.read(lambda reader: reader.gauges()), [gauge], "gauges")


CHECKS = (
    check_nodes,
    check_rescue_by_lease,
    check_rescue_only_once,
    check_poison,
    check_cancel,
    check_cancel_by_filter,
    check_controls,
    check_paused_scopes,
    check_waits_and_gauges,
)
