"""What a store promises about flows, standings and programs: what strategies rank by and dispatchers ask."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.model.flow_standing import FlowStanding
from penstock.model.lane import Lane
from penstock.model.rank import Rank
from penstock.model.reservation import ReservationState
from penstock.model.standing import Program
from penstock.model.states import TaskStatus
from penstock.model.task import Added, Claimed, TaskStanding
from penstock.stores.contract import Retention
from penstock.testing.store_probe import LANE, NOW, Probe, ids_of, same, settled, task_named, where_id

OTHER = Lane("echo", "model-b")


def claim_flows(probe: Probe, wanted: Mapping[int, Mapping[str, int]]) -> list[Claimed]:
    return probe.store.run(lambda tx: tx.claim_flows(wanted, probe.node, NOW))


def check_claim_of_flows(probe: Probe) -> None:
    """Of each flow the best-ranked come, up to as many as asked; other flows do not stand in the way."""
    flows: dict[str, list[Added]] = {}
    for flow, keys in (("a", (3.0, 1.0, 2.0)), ("b", (9.0, 8.0)), ("c", (-5.0,))):
        flows[flow] = [probe.add(rank=Rank(0, key), flow=flow) for key in keys]
    probe.add(rank=Rank(-1, 0.0))
    lane = flows["a"][0].lane
    claimed = claim_flows(probe, {lane: {"a": 2, "b": 1, "none": 4}})
    by_flow = {name: [task.id for task in claimed if task.flow == name] for name in ("a", "b", "c")}
    same(by_flow["a"], [flows["a"][1].id, flows["a"][2].id], "two of a")
    same(by_flow["b"], [flows["b"][1].id], "one of b")
    same((by_flow["c"], len(claimed)), ([], 3), "nothing else")
    same(probe.status(flows["b"][1].id), TaskStatus.RUNNING, "status of a claimed task")
    same(probe.kinds(flows["b"][1].seq), ["submitted", "started"], "events")
    same(probe.counts(), {TaskStatus.RUNNING: 3, TaskStatus.QUEUED: 4}, "tallies")
    same(ids_of(claim_flows(probe, {lane: {"a": 5, "c": 0}})), [flows["a"][0].id], "the rest of a")
    same(claim_flows(probe, {lane: {}}), [], "no flow")


def check_flows_of_lanes_are_apart(probe: Probe) -> None:
    """The same flow in two lanes is two lines; a delayed task stands in neither."""
    one, other = probe.add(flow="a"), probe.add(flow="a", lane=OTHER)
    probe.add(flow="a", rank=Rank(-1, 0.0), due_at=NOW + 9)
    same(ids_of(claim_flows(probe, {other.lane: {"a": 9}})), [other.id], "of the other lane")
    same(ids_of(claim_flows(probe, {one.lane: {"a": 9}, other.lane: {"a": 1}})), [one.id], "of mine")


def check_claim_over_flows(probe: Probe) -> None:
    """`claim` takes the best-ranked of a lane whatever their flows, and tells them."""
    added = [probe.add(rank=Rank(0, key), flow=flow) for key, flow in ((2.0, "b"), (1.0, None), (3.0, "a"))]
    claimed = probe.claim(added[0].lane, 3)
    same(ids_of(claimed), [added[1].id, added[0].id, added[2].id], "order")
    same([task.flow for task in claimed], [None, "b", "a"], "flows")


def check_standing_is_kept(probe: Probe) -> None:
    """Flow, standing and program come back with a claim; a put-back changes rank, flow and standing."""
    added = probe.add(flow="a", standing='{"size":5}', program="p")
    task = probe.take(added)
    same((task.flow, task.standing, task.program), ("a", '{"size":5}', "p"), "as it entered")
    probe.put_back(task, TaskStatus.QUEUED, rank=Rank(1, 2.0), flow="b", standing='{"level":1}')
    [task] = claim_flows(probe, {added.lane: {"b": 1}})
    got = (task.rank, task.flow, task.standing, task.program)
    same(got, (Rank(1, 2.0), "b", '{"level":1}', "p"), "as it was put back")
    probe.put_back(task, TaskStatus.QUEUED)
    task = probe.take(added)
    same(
        (task.flow, task.standing), (None, '{"level":1}'), "put back without a flow, and with no new standing"
    )


def check_paused_tenant_in_flows(probe: Probe) -> None:
    """Tasks of a paused tenant are passed over in flows and heads as in claims."""
    paused = probe.add(tenant="x", flow="a", rank=Rank(-2, 0.0), standing='{"size":7}')
    free = probe.add(tenant="y", flow="a", standing='{"size":3}')
    only = probe.add(tenant="x", flow="b")
    lane = free.lane
    probe.store.run(lambda tx: tx.set_pause("tenant:x", True))
    same(probe.store.read(lambda reader: reader.heads([lane])), {lane: (Rank(0, NOW), "a")}, "heads")
    same(probe.store.read(lambda reader: reader.waiting_flows()), [(lane, "a")], "flows that wait")
    same(ids_of(claim_flows(probe, {lane: {"a": 5, "b": 5}})), [free.id], "claim")
    probe.store.run(lambda tx: tx.set_pause("tenant:x", False))
    claimed = claim_flows(probe, {lane: {"a": 5, "b": 5}})
    same(set(ids_of(claimed)), {paused.id, only.id}, "claim after that")


def check_heads(probe: Probe) -> None:
    """`heads` tells rank and flow of the head of each lane that has one."""
    first = probe.add(rank=Rank(0, 5.0), flow="a")
    probe.add(rank=Rank(0, 6.0), flow="b")
    probe.add(rank=Rank(0, 1.0), due_at=NOW + 9)
    other = probe.add(rank=Rank(2, -1.0), lane=OTHER)
    asked = [first.lane, other.lane, 10**6]

    def heads() -> dict[int, tuple[Rank, str | None]]:
        return probe.store.read(lambda reader: reader.heads(asked))

    same(heads(), {first.lane: (Rank(0, 5.0), "a"), other.lane: (Rank(2, -1.0), None)}, "heads")
    probe.take(other)
    probe.take(first)
    same(heads(), {first.lane: (Rank(0, 6.0), "b")}, "heads after claims")


def check_flow_heads(probe: Probe) -> None:
    """`flow_heads` tells the rank of the head of each flow that has one; what has no flow is of flow ""."""
    for key, flow in ((5.0, "a"), (4.0, "a"), (9.0, "b"), (8.0, None), (7.0, "c")):
        added = probe.add(rank=Rank(0, key), flow=flow, tenant=flow or "")
    probe.add(rank=Rank(-1, 0.0), flow="a", lane=OTHER)
    probe.add(rank=Rank(-1, 0.0), flow="b", due_at=NOW + 9)
    asked = ["a", "b", "", "none"]

    def heads() -> dict[str | None, Rank]:
        return probe.store.read(lambda reader: reader.flow_heads(added.lane, asked))

    same(heads(), {"a": Rank(0, 4.0), "b": Rank(0, 9.0), "": Rank(0, 8.0)}, "heads of flows")
    claim_flows(probe, {added.lane: {"a": 1, "b": 1, "": 1}})
    probe.store.run(lambda tx: tx.set_pause("tenant:c", True))
    asked = ["a", "b", "", "c"]
    same(heads(), {"a": Rank(0, 5.0)}, "heads of flows after claims and a pause")


def check_flow_standings(probe: Probe) -> None:
    """How flows stood is told as it was kept last, whatever else the store books of them."""

    def standings() -> list[FlowStanding]:
        return probe.store.read(lambda reader: reader.flow_standings())

    task = probe.take(probe.add(tenant="booked"))
    reserved = probe.reserve(task)
    probe.settle(settled(reserved, ReservationState.SETTLED, input_tokens=1))
    same(standings(), [], "before any was kept")
    first = [FlowStanding("b", 7.5, 3, NOW), FlowStanding("booked", 2.0, 4, None)]
    probe.store.run(lambda tx: tx.keep_flows(first))
    probe.store.run(lambda tx: tx.keep_flows([FlowStanding("b", 9.0, 5, None)]))
    same(standings(), [FlowStanding("b", 9.0, 5, None), first[1]], "what was kept")


def check_latest_programs(probe: Probe) -> None:
    """The programs that entered last come first, with what they attained."""
    for number in range(3):
        probe.add(program=f"p{number}", at=NOW + number, standing='{"size":5}')
    probe.store.run(lambda tx: tx.serve_program("p1", 2.0))
    found = probe.store.read(lambda reader: reader.latest_programs(2))
    same(found, [Program("p2", NOW + 2, 5.0), Program("p1", NOW + 1, 5.0, 2.0)], "programs")


def check_promote_early(probe: Probe) -> None:
    """What is named becomes claimable before it is due, and nothing else."""
    early, later, ready = probe.add(due_at=NOW + 60), probe.add(due_at=NOW + 60), probe.add()
    seqs = (early.seq, ready.seq, 10**6)
    promoted = probe.store.run(lambda tx: tx.promote(NOW, early=seqs))
    same((promoted.lanes, promoted.count), (frozenset((early.lane,)), 1), "what was promoted")
    same(ids_of(probe.claim(early.lane, 9)), [early.id, ready.id], "claimable")
    same(probe.view(later.id).ready, False, "the other one")


def check_waiting_flows(probe: Probe) -> None:
    """Each flow of each lane that has claimable tasks is told once."""
    lanes = {
        lane: [probe.add(lane=lane, flow=flow) for flow in flows].pop().lane
        for lane, flows in ((LANE, ("b", "a", "b", "")), (OTHER, ("b", "c")))
    }
    probe.add(flow=None)
    probe.add(flow="late", due_at=NOW + 9)
    expected = [(lanes[LANE], flow) for flow in ("", "a", "b")] + [(lanes[OTHER], flow) for flow in "bc"]

    def flows() -> list[tuple[int, str]]:
        return sorted(probe.store.read(lambda reader: reader.waiting_flows()))

    same(flows(), sorted(expected), "flows")
    claim_flows(probe, {lanes[LANE]: {"a": 1, "b": 1}})
    expected.remove((lanes[LANE], "a"))
    same(flows(), sorted(expected), "flows after claims")


def check_waiting(probe: Probe) -> None:
    """All that waits is found, claimable tasks first, best first in their lane; what runs or ended is not."""
    worse, better = probe.add(rank=Rank(1, 0.0)), probe.add(rank=Rank(0, 9.0))
    delayed, paused, asleep = probe.add(due_at=NOW + 9), probe.add(), probe.add(rank=Rank(-9, 0.0))
    probe.put_back(probe.take(asleep), TaskStatus.SUSPENDED)
    running = probe.add(rank=Rank(-9, 0.0))
    probe.take(running)
    ended = probe.add(rank=Rank(-9, 0.0))
    probe.finish(probe.take(ended))
    probe.store.run(lambda tx: tx.pause(where_id(paused.id), NOW))
    seqs = probe.store.read(lambda reader: reader.waiting_seqs())
    same(seqs[:2], [better.seq, worse.seq], "claimable ones")
    same(sorted(seqs[2:]), sorted((delayed.seq, paused.seq, asleep.seq)), "the others")
    asked = [*seqs, running.seq, ended.seq, 10**6]
    found = probe.store.read(lambda reader: reader.waiting(asked))
    same(sorted(one.seq for one in found), sorted(seqs), "those that still wait")


def check_waiting_is_whole(probe: Probe) -> None:
    """A waiting task tells everything a policy looks at."""
    fields = {"priority": 33, "deadline": NOW + 9, "tenant": "t", "standing": '{"size":2}', "program": "p"}
    added = probe.add(at=NOW + 1, **fields)
    [one] = probe.store.read(lambda reader: reader.waiting([added.seq]))
    got = {name: getattr(one, name) for name in ("seq", "entered_at", *fields)}
    same(got, {"seq": added.seq, "entered_at": NOW + 1, **fields}, "what waits")


def check_rerank_of_flows(probe: Probe) -> None:
    """New flows come with new ranks, of tasks held back too; a task that does not wait keeps what it has."""
    running = probe.take(probe.add(flow="a"))
    moved, paused = probe.add(flow="a"), probe.add(flow="a")
    probe.store.run(lambda tx: tx.pause(where_id(paused.id), NOW))
    ranks = [(seq, Rank(1, 1.0), "b") for seq in (running.seq, moved.seq, paused.seq, 10**6)]
    probe.store.run(lambda tx: tx.rerank(ranks))
    same(probe.view(running.id).rank, running.rank, "rank of the running task")
    same(claim_flows(probe, {moved.lane: {"a": 3}}), [], "the old flow")
    probe.store.run(lambda tx: tx.resume(where_id(paused.id), NOW))
    same(ids_of(claim_flows(probe, {moved.lane: {"b": 3}})), [moved.id, paused.id], "the new flow")
    probe.store.run(lambda tx: tx.rescue(0.0, NOW, 9, [probe.node]))
    probe.store.run(lambda tx: tx.rerank([(moved.seq, Rank(0, 0.0), None)]))
    same(ids_of(probe.claim(moved.lane)), [moved.id], "out of all flows")


def check_rerank_in_chunks(probe: Probe) -> None:
    """From `waiting_seqs` by `waiting` to `rerank`, chunk by chunk, nothing is left out."""
    added = [probe.add(rank=Rank(0, float(n)), tenant="t" if n % 2 else "u") for n in range(20)]
    seqs = probe.store.read(lambda reader: reader.waiting_seqs())
    for begin in range(0, len(seqs), 7):
        chunk = seqs[begin : begin + 7]
        probe.store.run(
            lambda tx, chunk=chunk: tx.rerank(  # type: ignore[misc]
                [(one.seq, Rank(0, -float(one.seq)), one.tenant) for one in tx.waiting(chunk)]
            )
        )
    flows = [task.flow for task in probe.claim(added[0].lane, 2)]
    same(flows, ["t", "u"], "flows of the new best")
    same(len(claim_flows(probe, {added[0].lane: {"t": 20, "u": 20}})), 18, "the others")


def check_programs(probe: Probe) -> None:
    """A program enters with its first task, grows by the size of each, and counts what it was served."""

    def program(id: str = "p") -> tuple[float, float, float] | None:
        return probe.store.read(lambda reader: reader.program(id))

    same(program(), None, "before it comes")
    probe.offer(
        task_named(program="p", standing='{"size":5}', idempotency_key="k", fingerprint="f"),
        task_named(program="p", standing='{"size":2.5}', at=NOW + 1),
        task_named(program="q", at=NOW + 2),
        task_named(standing='{"size":99}'),
    )
    same((program(), program("q")), ((NOW, 7.5, 0.0), (NOW + 2, 0.0, 0.0)), "as they entered")
    probe.offer(task_named(program="p", standing='{"size":5}', idempotency_key="k", fingerprint="f"))
    same(program(), (NOW, 7.5, 0.0), "after a task that was there already")
    for amount in (3.0, 1.5):
        probe.store.run(lambda tx, n=amount: tx.serve_program("p", n))  # type: ignore[misc]
    probe.store.run(lambda tx: tx.serve_program("none", 1.0))
    same((program(), program("none")), ((NOW, 7.5, 4.5), None), "after it was served")


def check_programs_go_with_their_tasks(probe: Probe) -> None:
    """A program is kept as long as any task of it, and then pruned."""
    first, second = probe.add(program="p"), probe.add(program="p")
    for left, task in ((1, first), (0, second)):
        probe.finish(probe.take(task))
        probe.store.run(lambda tx: tx.prune(Retention(finished_before=NOW + 1), NOW + 1))
        found = probe.store.read(lambda reader: reader.program("p"))
        same(found is not None, left > 0, f"whether it is there with {left} tasks")


def check_flows_go_with_their_tasks(probe: Probe) -> None:
    """How a flow stands is kept as long as any task of it, or as it has tasks waiting, and then pruned."""
    first, second = probe.add(tenant="t", flow="t"), probe.add(tenant="t", flow="t")
    waits = FlowStanding("t", 5.0, 1, NOW)
    probe.store.run(lambda tx: tx.keep_flows([waits, FlowStanding("other", 7.0, 2, None)]))
    for left, since, task in ((1, None, first), (0, NOW, second)):
        kept = FlowStanding("t", 5.0, 1, since)
        probe.store.run(lambda tx, kept=kept: tx.keep_flows([kept]))  # type: ignore[misc]
        [claimed] = claim_flows(probe, {task.lane: {"t": 1}})
        probe.finish(claimed)
        probe.store.run(lambda tx: tx.prune(Retention(finished_before=NOW + 1), NOW + 1))
        there = [one.flow for one in probe.store.read(lambda reader: reader.flow_standings())]
        same(there, ["other", "t"], f"flows with {left} tasks")
    probe.store.run(lambda tx: tx.keep_flows([FlowStanding("t", 5.0, 1, None)]))
    last = probe.add(tenant="t", flow="t")
    probe.finish(claim_flows(probe, {last.lane: {"t": 1}})[0])
    probe.store.run(lambda tx: tx.prune(Retention(finished_before=NOW + 1), NOW + 1))
    there = [one.flow for one in probe.store.read(lambda reader: reader.flow_standings())]
    same(there, ["other"], "flows that are left after the last task")


def check_waiting_of_program(probe: Probe) -> None:
    """What waits of a program comes by number, in pages, whatever it waits for; the rest does not."""
    running, ended = probe.take(probe.add(program="p")), probe.take(probe.add(program="p"))
    probe.finish(ended)
    free, delayed = probe.add(program="p"), probe.add(program="p", due_at=NOW + 9)
    blocked, paused = probe.add(program="p", after=(running.id,)), probe.add(program="p")
    probe.add(program="q")
    probe.add()
    probe.store.run(lambda tx: tx.pause(where_id(paused.id), NOW))
    all_of_it = [one.seq for one in (free, delayed, blocked, paused)]

    def found(after: int, limit: int) -> list[int]:
        waiting = probe.store.read(lambda reader: reader.waiting_of_program("p", after, limit))
        return [one.seq for one in waiting]

    same(found(0, 9), all_of_it, "what waits")
    same(found(all_of_it[0], 2), all_of_it[1:3], "the second page")
    [one] = probe.store.read(lambda reader: reader.waiting_of_program("p", 0, 1))
    same((one.program, one.entered_at), ("p", NOW), "the first")


def check_standings_of_running_tasks(probe: Probe) -> None:
    """What a running task has become outlives a crash; without its claim nothing is changed."""
    task, other = probe.take(probe.add()), probe.add()
    stands = TaskStanding(task.seq, task.claim_no, Rank(1, 7.0), '{"level":2}')
    wrong = TaskStanding(task.seq, task.claim_no + 1, Rank(0, 0.0), "{}")
    waits = TaskStanding(other.seq, 0, Rank(0, 0.0), "{}")
    probe.store.run(lambda tx: tx.keep_standings([stands, wrong, waits]))
    probe.store.run(lambda tx: tx.rescue(0.0, NOW, 9, [probe.node]))
    again = {one.id: one for one in probe.claim(other.lane, 9)}
    got = {id: (one.rank, one.standing) for id, one in again.items()}
    same(got[task.id], (Rank(1, 7.0), '{"level":2}'), "after the crash")
    same(got[other.id], (Rank(0, NOW), None), "of a task that did not run")


CHECKS = (
    check_claim_of_flows,
    check_flows_of_lanes_are_apart,
    check_claim_over_flows,
    check_standing_is_kept,
    check_paused_tenant_in_flows,
    check_heads,
    check_waiting_flows,
    check_flow_heads,
    check_flow_standings,
    check_latest_programs,
    check_promote_early,
    check_waiting,
    check_waiting_is_whole,
    check_rerank_of_flows,
    check_rerank_in_chunks,
    check_programs,
    check_programs_go_with_their_tasks,
    check_flows_go_with_their_tasks,
    check_waiting_of_program,
    check_standings_of_running_tasks,
)
