"""What a store promises about intents and money: every reservation is booked once, and none is forgotten."""

from __future__ import annotations

from penstock.model.reservation import ReservationState, ReservationView
from penstock.model.states import TaskStatus
from penstock.stores.contract import Spend
from penstock.testing.store_probe import NOW, Probe, same, settled, where_id

HELD, SETTLED, RELEASED, UNCERTAIN = (
    ReservationState.HELD, ReservationState.SETTLED, ReservationState.RELEASED, ReservationState.UNCERTAIN,
)  # fmt: skip
SLICE = int(NOW // 900)


def listed(probe: Probe, *states: ReservationState) -> list[ReservationView]:
    return probe.store.read(lambda reader: reader.reservations(states))


def check_reserve(probe: Probe) -> None:
    """An intent is read back whole, with and without a task; ids are new and in order."""
    task = probe.running(tenant="t")
    first = probe.reserve(task, tenant="t", step="summary")
    second = probe.reserve()
    assert first != second, "two reservations have one id"
    rows = {row.id: row for row in listed(probe, HELD)}
    same(set(rows), {first, second}, "held reservations")
    view = rows[first]
    same(
        (view.task, view.task_id, view.claim_no, view.step),
        (task.seq, task.id, task.claim_no, "summary"),
        "whose",
    )
    same((view.type, view.model, view.endpoint, view.tenant), ("echo", "model-a", "e", "t"), "what for")
    same((view.node, view.at, view.sent_at, view.done_at), (probe.node, NOW, None, None), "node and times")
    same((view.input_held, view.output_held, view.cost_held), (100, 50, 7_000), "what it holds")
    same((rows[second].task, rows[second].task_id), (None, None), "task of a call outside any task")
    same(probe.booked(), (0, 0), "money booked by holding")


def check_settle(probe: Probe) -> None:
    """Settling books tokens and cost to the reservation, to the task and to its quarter of an hour."""
    task = probe.running(tenant="t")
    id = probe.reserve(task, tenant="t")
    same(
        probe.settle(settled(id, SETTLED, NOW + 2, input_tokens=90, output_tokens=10, cost=4_000)),
        [True],
        "settle",
    )
    row = listed(probe, SETTLED)[0]
    same((row.id, row.sent_at, row.done_at), (id, NOW + 2, NOW + 2), "id and times")
    same((row.input_tokens, row.output_tokens, row.cost), (90, 10, 4_000), "what it booked")
    same(listed(probe, HELD), [], "held")
    view = probe.view(task.id)
    same((view.input_tokens, view.output_tokens, view.cost), (90, 10, 4_000), "task")
    spend = probe.store.read(lambda reader: reader.spend())
    same(spend, [Spend(SLICE, "t", "model-a", 4_000, 0, 1, 90, 10)], "spend")


def check_settle_once(probe: Probe) -> None:
    """A second settlement, in one batch or later, books nothing; nor does one of nothing."""
    id = probe.reserve()
    end = settled(id, SETTLED, cost=5)
    same(probe.settle(end, end), [True, False], "twice in one batch")
    same(probe.settle(settled(id, UNCERTAIN), settled(id, RELEASED)), [False, False], "later")
    same(probe.settle(settled(id + 1000, SETTLED, cost=5)), [False], "a reservation that is not there")
    same(probe.booked(), (5, 0), "spent and uncertain")


def check_spend_by_slice_tenant_and_model(probe: Probe) -> None:
    """Spending is summed by quarter of an hour, tenant and model."""
    ends = []
    for n, (tenant, model, later) in enumerate(
        (("a", "m", 0), ("a", "m", 1), ("a", "n", 0), ("b", "m", 0), ("a", "m", 900))
    ):
        id = probe.reserve(tenant=tenant, model=model, at=NOW + later)
        ends.append(settled(id, SETTLED, NOW + later, input_tokens=1, output_tokens=2, cost=10**n))
    same(probe.settle(*ends), [True] * 5, "settle")
    rows = {
        (row.slice, row.tenant, row.model): row for row in probe.store.read(lambda reader: reader.spend())
    }
    costs = {key: row.cost for key, row in rows.items()}
    expected = {
        (SLICE, "a", "m"): 11,
        (SLICE, "a", "n"): 100,
        (SLICE, "b", "m"): 1_000,
        (SLICE + 1, "a", "m"): 10_000,
    }
    same(costs, expected, "costs")
    both = rows[SLICE, "a", "m"]
    same((both.calls, both.input_tokens, both.output_tokens), (2, 2, 4), "calls and tokens")


def check_release(probe: Probe) -> None:
    """A released reservation books nothing, whatever amounts are given with it."""
    task = probe.running()
    same(probe.settle(settled(probe.reserve(task), RELEASED, input_tokens=9, cost=9)), [True], "release")
    same((len(listed(probe, RELEASED)), len(listed(probe, HELD))), (1, 0), "released and held")
    same(probe.booked(), (0, 0), "spent and uncertain")
    same(probe.view(task.id).cost, 0, "cost of the task")


def check_uncertain(probe: Probe) -> None:
    """An uncertain call is booked as held, listed, announced, and releasable once."""
    task = probe.running()
    id = probe.reserve(task)
    same(probe.settle(settled(id, UNCERTAIN, NOW + 1, cost=1)), [True], "settle")
    row = listed(probe, UNCERTAIN)[0]
    same((row.id, row.cost_held, row.done_at), (id, 7_000, NOW + 1), "the reservation")
    same(sum(probe.booked()), 7_000, "money booked")
    same(probe.booked()[1], 7_000, "of it uncertain")
    same("uncertain" in probe.kinds(task.seq), True, "event")
    same(
        probe.store.run(lambda tx: tx.release_uncertain([id, id + 1000])), [True, False], "release_uncertain"
    )
    same(probe.store.run(lambda tx: tx.release_uncertain([id])), [False], "released again")
    same((probe.booked(), listed(probe, UNCERTAIN)), ((0, 0), []), "booked and listed after that")


def check_only_uncertain_is_released_by_hand(probe: Probe) -> None:
    """`release_uncertain` touches neither what is held nor what is settled."""
    held, done = probe.reserve(), probe.reserve()
    probe.settle(settled(done, SETTLED, cost=5))
    same(probe.store.run(lambda tx: tx.release_uncertain([held, done])), [False, False], "outcomes")
    same((probe.booked(), len(listed(probe, HELD))), ((5, 0), 1), "booked and held")


def check_settlement_needs_no_claim(probe: Probe) -> None:
    """A call is booked though its task was put back, ended or cancelled meanwhile."""
    back, ended = probe.running(), probe.running()
    ids = [probe.reserve(back), probe.reserve(ended)]
    probe.put_back(back, TaskStatus.QUEUED)
    probe.finish(ended, TaskStatus.CANCELLED)
    ends = [settled(id, SETTLED, NOW + 1, input_tokens=1, output_tokens=1, cost=3) for id in ids]
    same(probe.settle(*ends), [True, True], "settle")
    same([probe.view(task.id).cost for task in (back, ended)], [3, 3], "cost of the tasks")
    same(probe.booked(), (6, 0), "booked")


def check_holds_of_a_rescued_node(probe: Probe) -> None:
    """What a dead node held becomes uncertain; what it settles later is not booked twice."""
    task = probe.running()
    ids = [probe.reserve(task), probe.reserve()]
    other = probe.store.run(lambda tx: tx.join("other", 2, "host", NOW, NOW + 1000))
    kept = probe.reserve(node=other)
    rescued = probe.store.run(lambda tx: tx.rescue(0.0, NOW + 1, 3, nodes=[probe.node]))
    same(rescued.uncertain, 2, "how many became uncertain")
    same(sorted(row.id for row in listed(probe, UNCERTAIN)), sorted(ids), "which")
    same([row.id for row in listed(probe, HELD)], [kept], "still held")
    same(probe.booked()[1], 14_000, "uncertain money")
    late = probe.settle(settled(ids[0], SETTLED, NOW + 2, cost=100))
    expected = (100, 7_000) if late == [True] else (0, 14_000)
    same(probe.booked(), expected, f"booked after a late settlement answered {late}")


def check_recent_reservations(probe: Probe) -> None:
    """Everything held, however old, and what ended at or after `since` and counts in a window."""
    old_held = probe.reserve(at=NOW - 5_000)
    ends = {}
    for state in (SETTLED, UNCERTAIN, RELEASED):
        for at in (NOW - 100, NOW - 60, NOW - 10):
            ends[state, at] = probe.reserve(at=NOW - 200)
            probe.settle(settled(ends[state, at], state, at, cost=1))
    got = {row.id for row in probe.store.read(lambda reader: reader.recent_reservations(NOW - 60))}
    expected = {old_held} | {
        id for (state, at), id in ends.items() if state is not RELEASED and at >= NOW - 60
    }
    same(got - {id for (state, _), id in ends.items() if state is RELEASED}, expected, "recent reservations")


def check_reservations_page(probe: Probe) -> None:
    """`limit` bounds the list, and no state asked for gives none."""
    for _ in range(5):
        probe.reserve()
    same(len(probe.store.read(lambda reader: reader.reservations([HELD], limit=3))), 3, "rows")
    same(listed(probe), [], "no state")


def check_shift_stamps(probe: Probe) -> None:
    """After a jump of the wall clock the stamps later than `since` move along, older ones stay."""
    for delta in (3600.0, -30.0):
        old, new = probe.reserve(at=NOW - 100), probe.reserve(at=NOW - 5)
        probe.settle(settled(old, SETTLED, NOW - 90), settled(new, SETTLED, NOW - 1))
        probe.store.run(lambda tx, delta=delta: tx.shift_stamps(delta, NOW - 60))  # type: ignore[misc]
        rows = {row.id: (row.at, row.sent_at, row.done_at) for row in listed(probe, SETTLED)}
        same(rows[old], (NOW - 100, NOW - 90, NOW - 90), "stamps before `since`")
        same(rows[new], (NOW - 5 + delta, NOW - 1 + delta, NOW - 1 + delta), "stamps after `since`")


def check_cancelled_task_keeps_its_books(probe: Probe) -> None:
    """Money outlives the task it was spent for."""
    task = probe.running()
    probe.settle(settled(probe.reserve(task), SETTLED, cost=11))
    probe.put_back(task, TaskStatus.QUEUED)
    probe.store.run(lambda tx: tx.cancel(where_id(task.id), NOW))
    same((probe.booked(), probe.view(task.id).cost), ((11, 0), 11), "booked, and cost of the task")


CHECKS = (
    check_reserve,
    check_settle,
    check_settle_once,
    check_spend_by_slice_tenant_and_model,
    check_release,
    check_uncertain,
    check_only_uncertain_is_released_by_hand,
    check_settlement_needs_no_claim,
    check_holds_of_a_rescued_node,
    check_recent_reservations,
    check_reservations_page,
    check_shift_stamps,
    check_cancelled_task_keeps_its_books,
)
