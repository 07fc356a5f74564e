"""What a store promises about the line: order, lanes, and what pauses and new ranks do to it."""

from __future__ import annotations

import random

from penstock.model.lane import Lane
from penstock.model.rank import Rank
from penstock.model.states import TaskStatus
from penstock.stores.contract import TaskFilter
from penstock.testing.store_probe import LANE, NOW, Probe, ids_of, same, task_named, where_id

OTHER = Lane("echo", "model-b")


def check_claim_order(probe: Probe) -> None:
    """A lane gives its tasks by band, then key, ties in the order of entering."""
    chance = random.Random(7)
    tasks = [
        task_named(rank=Rank(chance.randrange(3), chance.choice([-1e9, 0.0, 0.5, 1.7e9]))) for _ in range(60)
    ]
    added = probe.offer(*tasks)
    lane = probe.store.run(lambda tx: tx.lane(LANE))
    expected = [task.id for task in sorted(tasks, key=lambda task: task.rank)]
    got: list[str] = []
    for n in (1, 2, 7, 20, 100):
        got += ids_of(probe.claim(lane, n))
    same(got, expected, "order of claims")
    same(len(added), len(got), "how many")
    same(probe.claim(lane, 5), [], "an empty lane")


def check_claimed_task(probe: Probe) -> None:
    """A claimed task is whole, running, held by its node, and its fence and attempt count from 1."""
    added = probe.add(
        priority=33, tenant="t", metadata='{"a":1}', options='{"keep":false}', deadline=NOW + 99
    )
    task = probe.take(added, NOW + 5)
    same((task.seq, task.type, task.lane, task.tenant), (added.seq, "echo", added.lane, "t"), "what it is")
    same((task.priority, task.rank, task.deadline), (33, Rank(0, NOW), NOW + 99), "priority, rank, deadline")
    same((task.payload, task.metadata, task.options), ('{"text":"hi"}', '{"a":1}', '{"keep":false}'), "texts")
    same((task.attempt, task.claim_no, task.crashes), (1, 1, 0), "attempt, claim_no, crashes")
    same((task.created_at, task.entered_at), (NOW, NOW), "when it came")
    same((task.started_at, task.claimed_at), (NOW + 5, NOW + 5), "when it was claimed")
    view = probe.view(added.id)
    same((view.status, view.node, view.started_at), (TaskStatus.RUNNING, probe.node, NOW + 5), "view")
    same(probe.kinds(task.seq), ["submitted", "started"], "events")


def check_lanes_are_apart(probe: Probe) -> None:
    """A claim asks for lanes by id; tasks of others neither come nor stand in the way."""
    blocked = [probe.add(lane=OTHER, rank=Rank(-5, float(n))) for n in range(20)]
    mine = [probe.add(rank=Rank(0, float(n))) for n in range(4)]
    same(ids_of(probe.claim(mine[0].lane, 3)), [task.id for task in mine[:3]], "claim of one lane")
    both = probe.store.run(lambda tx: tx.claim({mine[0].lane: 2, blocked[0].lane: 2}, probe.node, NOW))
    same(len(both), 3, "claim of two lanes")
    same([task.id for task in both if task.lane == mine[0].lane], [mine[3].id], "of my lane")
    same([task.id for task in both if task.lane != mine[0].lane], [b.id for b in blocked[:2]], "of the other")
    same(probe.claim(10**6, 5), [], "a lane that does not exist")
    same(probe.store.run(lambda tx: tx.claim({}, probe.node, NOW)), [], "no lane")
    same(probe.claim(blocked[0].lane, 0), [], "none of a lane")


def check_most_of_all_lanes(probe: Probe) -> None:
    """`most` bounds a claim over several lanes: then the best-ranked of them all are taken."""
    mine = [probe.add(rank=Rank(0, key)) for key in (1.0, 4.0, 5.0)]
    others = [probe.add(lane=OTHER, rank=Rank(0, key)) for key in (2.0, 3.0, 6.0)]

    def claim(most: int) -> set[str]:
        wanted = {mine[0].lane: 2, others[0].lane: 3}
        return set(ids_of(probe.store.run(lambda tx: tx.claim(wanted, probe.node, NOW, most))))

    same(claim(0), set(), "most 0")
    same(claim(3), {mine[0].id, others[0].id, others[1].id}, "most 3")
    same(claim(9), {mine[1].id, mine[2].id, others[2].id}, "more than there are")


def check_paused_tenant(probe: Probe) -> None:
    """Tasks of a paused tenant are not claimed and stand in nobody's way, until the tenant is resumed."""
    paused = [probe.add(tenant="a", rank=Rank(-1, float(n))) for n in range(3)]
    free = probe.add(tenant="b")
    probe.store.run(lambda tx: tx.set_pause("tenant:a", True))
    same(ids_of(probe.claim(free.lane, 2)), [free.id], "claim while one tenant is paused")
    probe.store.run(lambda tx: tx.set_pause("tenant:a", False))
    same(ids_of(probe.claim(free.lane, 5)), [task.id for task in paused], "claim after that")


def check_ahead(probe: Probe) -> None:
    """`ahead` counts the claimable tasks of the lane that are better-ranked, ties by order of entering."""
    added = [probe.add(rank=Rank(band, key)) for band, key in ((1, 0.0), (0, 5.0), (0, 5.0), (0, 7.0))]
    probe.add(rank=Rank(0, 1.0), due_at=NOW + 60)
    probe.add(rank=Rank(0, 1.0), lane=OTHER)
    counts = [probe.store.read(lambda reader, seq=one.seq: reader.ahead(seq)) for one in added]  # type: ignore[misc]
    same(counts, [3, 0, 1, 2], "tasks ahead")


def check_rerank(probe: Probe) -> None:
    """New ranks change the order of what waits, delayed tasks included, and nothing else."""
    first, second, late = probe.add(), probe.add(), probe.add(due_at=NOW + 10)
    running = probe.take(first)
    ranks = [
        (second.seq, Rank(1, 0.0), None),
        (late.seq, Rank(0, 3.0), None),
        (running.seq, Rank(9, 9.0), None),
        (10**6, Rank(0, 0.0), None),
    ]
    probe.store.run(lambda tx: tx.rerank(ranks))
    same(probe.view(second.id).rank, Rank(1, 0.0), "rank of a waiting task")
    same(probe.status(first.id), TaskStatus.RUNNING, "status of a running task")
    probe.store.run(lambda tx: tx.promote(NOW + 10))
    same(ids_of(probe.claim(first.lane, 5, NOW + 10)), [late.id, second.id], "order after new ranks")


def check_pause_and_resume(probe: Probe) -> None:
    """A paused task is not claimed until it is resumed, at the place it had; running tasks are left alone."""
    first, second, third = probe.add(), probe.add(), probe.add()
    running = probe.take(first)
    paused = probe.store.run(lambda tx: tx.pause(where_id(first.id, second.id), NOW))
    same(paused, 1, "how many were paused")
    same([probe.status(task.id).value for task in (first, second)], ["running", "paused"], "statuses")
    same(probe.counts().get(TaskStatus.PAUSED), 1, "tally of paused tasks")
    same(probe.store.run(lambda tx: tx.pause(where_id(second.id), NOW)), 0, "paused again")
    same(
        probe.store.run(lambda tx: tx.resume(where_id(second.id, third.id), NOW)), 1, "how many were resumed"
    )
    same(ids_of(probe.claim(first.lane, 5)), [second.id, third.id], "order after it was resumed")
    same(probe.kinds(second.seq), ["submitted", "paused", "resumed", "started"], "events")
    same(probe.finish(running), True, "the running task ends")


def check_pause_keeps_the_delay(probe: Probe) -> None:
    """A delayed task that was paused and resumed is still delayed; promotion does not resume a paused one."""
    added = probe.add(due_at=NOW + 10)
    probe.store.run(lambda tx: tx.pause(where_id(added.id), NOW))
    probe.store.run(lambda tx: tx.promote(NOW + 20))
    same(probe.status(added.id), TaskStatus.PAUSED, "status after promote")
    same(probe.claim(added.lane, 1, NOW + 20), [], "claim of a paused task")
    probe.store.run(lambda tx: tx.resume(where_id(added.id), NOW + 1))
    same(probe.claim(added.lane, 1, NOW + 1), [], "claim before it is due")
    probe.store.run(lambda tx: tx.promote(NOW + 10))
    probe.take(added, NOW + 10)


def check_pause_of_a_retrying_task(probe: Probe) -> None:
    """Its attempts are not forgotten."""
    task = probe.running()
    probe.put_back(task, TaskStatus.RETRYING, error='{"code":"x","message":"y"}')
    for verb in ("pause", "resume"):
        count = probe.store.run(lambda tx, verb=verb: getattr(tx, verb)(where_id(task.id), NOW))  # type: ignore[misc]
        same(count, 1, verb)
    assert probe.status(task.id) in (TaskStatus.RETRYING, TaskStatus.QUEUED), probe.status(task.id)
    same([again.attempt for again in probe.claim(task.lane)], [2], "attempt")


def check_filters(probe: Probe) -> None:
    """Every field of a filter that is set must match."""
    a = probe.add(id="a" * 32, tenant="a")
    b = probe.add(id="b" * 32, tenant="b", lane=Lane("other", "model-a"))
    probe.take(a)

    def found(where: TaskFilter) -> list[str]:
        return ids_of(probe.store.read(lambda reader: reader.tasks(where)))

    same(found(TaskFilter()), [b.id, a.id], "no filter, newest first")
    same(found(TaskFilter(tenant="b")), [b.id], "by tenant")
    same(found(TaskFilter(types=("other", "none"))), [b.id], "by type")
    same(found(TaskFilter(statuses=(TaskStatus.RUNNING, TaskStatus.FAILED))), [a.id], "by status")
    same(found(TaskFilter(ids=(a.id,))), [a.id], "by id")
    same(found(where_id(b.id[:6])), [b.id], "by the beginning of an id")
    same(found(TaskFilter(tenant="b", statuses=(TaskStatus.RUNNING,))), [], "by both")
    same(found(TaskFilter(batch=1)), [], "by batch")


def check_pages(probe: Probe) -> None:
    """Pages by seq, newest or oldest first, miss nothing and repeat nothing."""
    ids = [probe.add().id for _ in range(7)]
    for newest, expected in ((True, ids[::-1]), (False, ids)):
        after, got = 0, list[str]()
        while page := probe.store.read(
            lambda reader, a=after, n=newest: reader.tasks(TaskFilter(), after=a, limit=3, newest=n)  # type: ignore[misc]
        ):
            got += ids_of(page)
            after = page[-1].seq
            assert len(got) <= 7, f"pages repeat: {got}"
        same(got, expected, f"pages, newest={newest}")


CHECKS = (
    check_claim_order,
    check_claimed_task,
    check_lanes_are_apart,
    check_most_of_all_lanes,
    check_paused_tenant,
    check_ahead,
    check_rerank,
    check_pause_and_resume,
    check_pause_keeps_the_delay,
    check_pause_of_a_retrying_task,
    check_filters,
    check_pages,
)
