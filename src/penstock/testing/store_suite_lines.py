"""What a store promises while tasks with and without flows wait side by side, as in the middle of a switch of
the strategy, or after it, when a task comes back that ran meanwhile: whoever claims finds every task."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from penstock.model.lane import Lane
from penstock.model.rank import Rank
from penstock.model.states import TaskStatus
from penstock.model.task import Added, Claimed
from penstock.testing.store_probe import LANE, NOW, Probe, ids_of, same, where_id

OTHER = Lane("echo", "model-b")
FLOWS = (None, "", "a", "b", "c")

Drain = Callable[[Probe, Sequence[int]], list[Claimed]]


def by_lanes(probe: Probe, lanes: Sequence[int]) -> list[Claimed]:
    """All that a dispatcher without flows gets, claim by claim, a few over all lanes at a time."""
    found: list[Claimed] = []
    while got := probe.store.run(lambda tx: tx.claim(dict.fromkeys(lanes, 4), probe.node, NOW, 5)):
        found += got
    return found


def by_flows(probe: Probe, lanes: Sequence[int]) -> list[Claimed]:
    """All that a dispatcher with flows gets: it claims of those that it is told of, until there are none."""
    found: list[Claimed] = []
    while waiting := probe.store.read(lambda reader: reader.waiting_flows()):
        wanted: dict[int, dict[str, int]] = {}
        for place, (lane, flow) in enumerate(waiting):
            wanted.setdefault(lane, {})[flow] = 1 + place % 3
        got = probe.store.run(lambda tx, wanted=wanted: tx.claim_flows(wanted, probe.node, NOW))  # type: ignore[misc]
        assert got, f"flows that give nothing are told: {waiting}"
        found += got
    return found


def _mixed(probe: Probe, chance: random.Random, count: int = 60) -> list[Added]:
    """Tasks of two lanes, with and without flows, of which some changed sides on one of all ways."""

    def flow() -> str | None:
        return chance.choice(FLOWS)

    def rank() -> Rank:
        return Rank(chance.randrange(2), float(chance.randrange(9)))

    added = [
        probe.add(lane=chance.choice((LANE, OTHER)), rank=rank(), flow=flow(), tenant=chance.choice("xy"))
        for _ in range(count)
    ]
    probe.store.run(
        lambda tx: tx.rerank([(one.seq, rank(), flow()) for one in added if chance.random() < 0.5])
    )
    lanes = sorted({one.lane for one in added})
    claimed = probe.store.run(lambda tx: tx.claim(dict.fromkeys(lanes, 8), probe.node, NOW))
    for task in claimed[:8]:
        probe.put_back(task, TaskStatus.QUEUED, rank=rank(), flow=flow())
    probe.store.run(lambda tx: tx.rescue(0.0, NOW, 9, [probe.node]))
    for one in added[::7]:
        probe.store.run(lambda tx, id=one.id: tx.pause(where_id(id), NOW))  # type: ignore[misc]
        probe.store.run(lambda tx, seq=one.seq: tx.rerank([(seq, rank(), flow())]))  # type: ignore[misc]
        probe.store.run(lambda tx, id=one.id: tx.resume(where_id(id), NOW))  # type: ignore[misc]
    return added


def _nothing_is_lost(probe: Probe, drain: Drain) -> None:
    for seed in range(3):
        added = _mixed(probe, random.Random(seed))
        lanes = sorted({one.lane for one in added})
        of_paused = {one.id for one in added if probe.view(one.id).tenant == "y"}
        probe.store.run(lambda tx: tx.set_pause("tenant:y", True))
        found = drain(probe, lanes)
        same(sorted(ids_of(found)), sorted({one.id for one in added} - of_paused), "while a tenant is paused")
        probe.store.run(lambda tx: tx.set_pause("tenant:y", False))
        rest = drain(probe, lanes)
        same(sorted(ids_of(rest)), sorted(of_paused), "after that")
        for task in found + rest:
            probe.finish(task)


def check_claims_find_all(probe: Probe) -> None:
    """Whatever flows tasks have got and lost, `claim` finds each, once."""
    _nothing_is_lost(probe, by_lanes)


def check_claims_of_flows_find_all(probe: Probe) -> None:
    """Whatever flows tasks have got and lost, `claim_flows` of the `waiting_flows` finds each, once."""
    _nothing_is_lost(probe, by_flows)


def check_claims_by_turns_find_all(probe: Probe) -> None:
    """Claims by lanes and by flows, by turns while chunks are ranked anew, give each task once."""
    chance = random.Random(5)
    added = _mixed(probe, chance)
    lanes = sorted({one.lane for one in added})
    found: list[Claimed] = []
    for target in (None, "a", None):
        waiting = [seq for seq in probe.store.read(lambda reader: reader.waiting_seqs())]
        for begin in range(0, len(waiting), 9):
            chunk = [(seq, Rank(0, float(-seq)), target) for seq in waiting[begin : begin + 9]]
            probe.store.run(lambda tx, chunk=chunk: tx.rerank(chunk))  # type: ignore[misc]
            if target is None:
                found += probe.store.run(lambda tx: tx.claim(dict.fromkeys(lanes, 1), probe.node, NOW))
            else:
                wanted = {lane: {"": 1, "a": 1, "b": 1} for lane in lanes}
                found += probe.store.run(lambda tx, n=wanted: tx.claim_flows(n, probe.node, NOW))  # type: ignore[misc]
    found += by_lanes(probe, lanes)
    same(sorted(ids_of(found)), sorted(one.id for one in added), "all of them, once")


def check_order_over_flows(probe: Probe) -> None:
    """`claim`, `heads` and `ahead` know one order over tasks with and without flows."""
    chance = random.Random(3)
    added = [probe.add(rank=Rank(0, chance.random()), flow=chance.choice(FLOWS)) for _ in range(40)]
    views = sorted((probe.view(one.id) for one in added), key=lambda view: (view.rank, view.seq))
    for place, view in enumerate(views):
        same(probe.store.read(lambda reader, n=view.seq: reader.ahead(n)), place, "ahead")  # type: ignore[misc]
    lane, best = added[0].lane, views[0]
    heads = probe.store.read(lambda reader: reader.heads([lane]))
    same(heads[lane][0], best.rank, "rank of the head")
    got: list[str] = []
    for count in (1, 5, 11, 40):
        got += ids_of(probe.claim(lane, count))
    same(got, [view.id for view in views], "order of claims")


def check_best_over_lanes_with_flows(probe: Probe) -> None:
    """`claim` with `most` takes the best-ranked over all lanes, of tasks with and without flows."""
    tasks = {
        (key, lane): probe.add(lane=lane, rank=Rank(0, key), flow=flow)
        for lane, keys in ((LANE, (1.0, 4.0, 5.0)), (OTHER, (2.0, 3.0, 6.0)))
        for key, flow in zip(keys, ("a", None, "b"), strict=True)
    }
    wanted = {one.lane: 3 for one in tasks.values()}
    got = probe.store.run(lambda tx: tx.claim(wanted, probe.node, NOW, 4))
    expected = [one.id for (key, _), one in tasks.items() if key <= 4.0]
    same(sorted(ids_of(got)), sorted(expected), "the four best")


def check_tasks_without_flow_are_a_flow(probe: Probe) -> None:
    """Tasks without a flow are told and claimed with the flow "", in one order with those that have it."""
    last, first = probe.add(rank=Rank(0, 3.0)), probe.add(rank=Rank(0, 1.0), standing='{"size":4}')
    lane = first.lane
    same(probe.store.read(lambda reader: reader.waiting_flows()), [(lane, "")], "flows, one has no name")
    middle = probe.add(rank=Rank(0, 2.0), flow="", standing='{"size":5}')
    same(probe.store.read(lambda reader: reader.waiting_flows()), [(lane, "")], "told once")
    for count, expected in ((2, [first, middle]), (2, [last]), (1, [])):
        got = probe.store.run(lambda tx, n=count: tx.claim_flows({lane: {"": n}}, probe.node, NOW))  # type: ignore[misc]
        same(ids_of(got), [one.id for one in expected], "claimed")


def check_many_with_flows_are_found(probe: Probe) -> None:
    """A claim larger than what is looked at of the flows still gives as many as there are."""
    tasks = [(one, f"flow-{one % 7}") for one in range(1_300)]
    added = [probe.add(rank=Rank(0, float(n)), flow=flow) for n, flow in tasks]
    same(len(probe.claim(added[0].lane, 1_200)), 1_200, "as many as asked")
    same(len(probe.claim(added[0].lane, 1_200)), 100, "the others")


CHECKS = (
    check_claims_find_all,
    check_claims_of_flows_find_all,
    check_claims_by_turns_find_all,
    check_order_over_flows,
    check_best_over_lanes_with_flows,
    check_tasks_without_flow_are_a_flow,
    check_many_with_flows_are_found,
)
