"""What a store promises to several handles on the same data: processes, threads, and those who come later."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from penstock.errors import StoreBusy
from penstock.model.reservation import ReservationState
from penstock.model.states import TaskStatus
from penstock.model.task import Added
from penstock.stores.contract import Store
from penstock.testing.store_probe import NOW, Probe, StorePlace, rising, same, settled, step_of, task_named


@contextmanager
def probes(place: StorePlace, count: int = 2) -> Iterator[list[Probe]]:
    """That many handles on the same data, closed in the end."""
    found: list[Probe] = []
    try:
        for n in range(count):
            found.append(Probe(place.open(), f"probe-{n}"))
        yield found
    finally:
        for probe in found:
            probe.store.close()


def check_commits_are_seen(place: StorePlace) -> None:
    """One handle sees what another committed: tasks, ends, idempotency keys, fences."""
    with probes(place) as (first, second):
        added = first.add(idempotency_key="k", fingerprint="f")
        same(second.status(added.id), TaskStatus.QUEUED, "status seen by the other")
        task = second.take(added)
        same(first.claim(added.lane), [], "a second claim of the same task")
        same(first.view(added.id).node, second.node, "node seen by the first")
        same(first.put_back(task, TaskStatus.QUEUED), True, "put_back through the first")
        same(second.finish(task), False, "finish of the claim that was lost meanwhile")
        again = second.offer(task_named(idempotency_key="k", fingerprint="f"))[0]
        same(getattr(again, "id", None), added.id, "the existing task")
        same(second.store.run(lambda tx: tx.lane(task_named().lane)), added.lane, "id of the lane")


def check_changed_by_others(place: StorePlace) -> None:
    """Says once that another handle committed; silent about reads and its own commits."""
    with probes(place) as (first, second):
        first.store.changed_by_others()
        first.add()
        first.store.read(lambda reader: reader.tallies())
        second.store.read(lambda reader: reader.tallies())
        same(first.store.changed_by_others(), False, "after its own commit and a read of another")
        second.add()
        same(first.store.changed_by_others(), True, "after a commit of another")
        same(first.store.changed_by_others(), False, "asked again")
        second.store.run(lambda tx: tx.ask_control("stop", None, NOW))
        first.add()
        same(first.store.changed_by_others(), True, "after a commit of another and one of its own")


def check_changed_by_others_without_others(place: StorePlace) -> None:
    """Its own commits are no news."""
    store = place.open()
    probe = Probe(store)
    store.changed_by_others()
    probe.finish(probe.running())
    same(store.changed_by_others(), False, "after its own commits")
    store.close()


def check_data_outlives_the_handle(place: StorePlace) -> None:
    """What was committed is there for whoever opens the store later, numbers included."""
    with probes(place, 1) as (first,):
        done, held = first.running(), first.running()
        first.finish(done, result='{"r":1}')
        first.record(step_of(held, "a", b"1"))
        first.settle(settled(first.reserve(held), ReservationState.SETTLED, cost=5))
        first.reserve(held)
        node = first.node
        last = first.store.read(lambda reader: reader.last_event())
    with probes(place, 1) as (later,):
        same((later.view(done.id).result, later.status(held.id)), ({"r": 1}, TaskStatus.RUNNING), "tasks")
        same(later.booked(), (5, 0), "booked")
        rescued = later.store.run(lambda tx: tx.rescue(0.0, NOW + 1, 3, nodes=[node]))
        same((rescued.count, rescued.uncertain), (1, 1), "rescued")
        again = later.claim(held.lane)[0]
        same((again.id, again.journaled, again.attempt), (held.id, True, 2), "claimed again")
        later.finish(again)
        rising([later.view(id).finished_no for id in (done.id, held.id)], "finished_no")
        assert later.store.read(lambda reader: reader.last_event()) > last, "event numbers began anew"


def refusal(store: Store) -> str:
    """What a store says when it may not become the dispatching one."""
    try:
        store.lock_dispatch()
    except StoreBusy as busy:
        return str(busy)
    raise AssertionError("two handles hold the dispatch lock")


def check_one_dispatcher(place: StorePlace) -> None:
    """One process dispatches; the other is told so and may still add; the place is free after a close."""
    with probes(place) as (first, second):
        first.store.lock_dispatch()
        message = refusal(second.store)
        assert any(letter.isdigit() for letter in message), f"no pid is named: {message}"
        second.add()
        first.store.close()
        second.store.lock_dispatch()


def check_threads(place: StorePlace) -> None:
    """One handle serves many threads; each transaction is whole, and no task is claimed twice."""
    store = place.open()
    probe = Probe(store)
    lane = probe.add().lane

    def add_some(_: int) -> int:
        outcomes = probe.offer(*[task_named() for _ in range(5)])
        return sum(isinstance(outcome, Added) for outcome in outcomes)

    with ThreadPoolExecutor(6) as pool:
        same(sum(pool.map(add_some, range(12))), 60, "added by threads")
        claimed = [task.id for part in pool.map(lambda _: probe.claim(lane, 4), range(20)) for task in part]
        reads = list(pool.map(lambda _: probe.counts(), range(12)))
    same((len(claimed), len(set(claimed))), (61, 61), "claimed by threads, and how many different")
    same(reads, [{TaskStatus.RUNNING: 61}] * 12, "tallies read by threads")
    store.close()


def check_writers_take_turns(place: StorePlace) -> None:
    """Two handles that write at the same time lose nothing: both wait their turn."""
    with probes(place) as both, ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda probe: [probe.add() for _ in range(25)], both))
        same(both[0].counts(), {TaskStatus.QUEUED: 50}, "tallies")
        lane = both[0].store.run(lambda tx: tx.lane(task_named().lane))
        parts = pool.map(lambda probe: [task.id for _ in range(10) for task in probe.claim(lane, 3)], both)
        claimed = [id for part in parts for id in part]
        same((len(claimed), len(set(claimed))), (50, 50), "claimed by two, and how many different")


def check_backup(place: StorePlace) -> None:
    """A backup is a whole store of its own, made while others go on."""
    if place.beside is None or place.open_copy is None:
        return
    with probes(place, 1) as (probe,):
        task = probe.running()
        probe.record(step_of(task, "a", b"x" * 20_000))
        probe.store.backup(place.beside)
        probe.finish(task)
        copy = place.open_copy(place.beside)
        try:
            same(copy.verify(), [], "verify of the copy")
            view = copy.read(lambda reader: reader.task(task.id))
            assert view is not None, "the copy has not the task"
            same(view.status, TaskStatus.RUNNING, "status in the copy")
            same(
                [step.value for step in copy.read(lambda reader: reader.journal(task.seq))],
                [b"x" * 20_000],
                "journal",
            )
        finally:
            copy.close()
        same(probe.status(task.id), TaskStatus.COMPLETED, "status in the original")


ALONE = (check_changed_by_others_without_others, check_threads, check_backup)
SHARED = (
    check_commits_are_seen,
    check_changed_by_others,
    check_data_outlives_the_handle,
    check_one_dispatcher,
    check_writers_take_turns,
)
