"""What a store promises of schedules: kept whole, and each tick fired by one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from penstock.model.schedule import Due, Schedule
from penstock.model.task import Added
from penstock.runtime.cron import Firing
from penstock.testing.store_probe import NOW, Probe, StorePlace, same, task_named


def schedule_named(name: str, **fields: Any) -> Schedule:
    """An hourly schedule that is due at `NOW`."""
    given: dict[str, Any] = {"when": "every hour", "zone": "UTC", "type": "echo", "created_at": NOW - 3600}
    return Schedule(name, **given | {"next_at": NOW, "fire_at": NOW} | fields)


def put(probe: Probe, *schedules: Schedule) -> None:
    def work(store: Any) -> None:
        for one in schedules:
            store.put_schedule(one)

    probe.store.run(work)


def stored(probe: Probe, name: str, tenant: str = "") -> Schedule | None:
    return probe.store.read(lambda reader: reader.schedule(name, tenant))


def check_schedules(probe: Probe) -> None:
    """Every field of a schedule is kept; its name is its tenant's own; a second one takes its place."""
    full = schedule_named(
        "full", zone="Europe/Berlin", jitter_seconds=2.5, missed="all", data='{"a":1}', priority=33,
        tenant="t", details='{"tags":["x"]}', fire_at=NOW + 1.25, enabled=False, version=4, last_at=NOW - 1,
        last_task="id", last_error="full", fired=7,
    )  # fmt: skip
    mine = schedule_named("full")
    put(probe, full, mine, schedule_named("another"))
    same(stored(probe, "full", "t"), full, "schedule read again")
    same(stored(probe, "full"), mine, "the one of the other tenant")
    same(stored(probe, "none"), None, "a schedule that is not there")
    changed = replace(full, data=None, version=5)
    put(probe, changed)
    listed = probe.store.read(lambda reader: (reader.schedules(), reader.schedules("t")))
    same([one.name for one in listed[0]], ["another", "full", "full"], "all, by tenant and name")
    same(listed[1], [changed], "those of a tenant")
    dropped = probe.store.run(lambda tx: [tx.drop_schedule("full", "t"), tx.drop_schedule("full", "t")])
    same(dropped, [True, False], "drop_schedule, twice")
    same(stored(probe, "full"), mine, "the one of the other tenant, after the drop")


def check_due_schedules(probe: Probe) -> None:
    """Those whose time has come, the earliest first, and when the next one is due; paused ones never."""
    same(probe.store.read(lambda reader: reader.next_firing()), None, "next_firing of nothing")
    put(
        probe,
        schedule_named("late", fire_at=NOW + 5),
        schedule_named("early", fire_at=NOW - 5),
        schedule_named("now"),
        schedule_named("paused", fire_at=NOW - 9, enabled=False),
    )
    due = probe.store.read(lambda reader: reader.due_schedules(NOW))
    same([one.name for one in due], ["early", "now"], "due_schedules")
    due = probe.store.read(lambda reader: reader.due_schedules(NOW, 1))
    same([one.name for one in due], ["early"], "due_schedules, at most one")
    same(probe.store.read(lambda reader: reader.next_firing()), NOW - 5, "next_firing")


def check_move_schedule(probe: Probe) -> None:
    """A compare-and-set: whoever comes second, or behind a change, moves nothing."""
    before = schedule_named("s", data="1")
    put(probe, before)
    after = replace(before, next_at=NOW + 9, fire_at=NOW + 10, version=2, last_at=NOW, last_task="a", fired=1)
    moves = probe.store.run(lambda tx: [tx.move_schedule(before, after), tx.move_schedule(before, after)])
    same(moves, [True, False], "move_schedule, twice")
    same(stored(probe, "s"), after, "schedule after the move")
    put(probe, replace(after, enabled=False, version=3))
    moved = probe.store.run(lambda tx: tx.move_schedule(after, replace(after, next_at=NOW + 99)))
    same(moved, False, "move_schedule of a version that is gone")
    paused = replace(after, enabled=False, version=3)
    moved = probe.store.run(lambda tx: tx.move_schedule(paused, replace(paused, next_at=NOW + 99)))
    same(moved, False, "move_schedule of a paused one")
    same(stored(probe, "s"), paused, "schedule after moves that came too late")


def check_one_firing_per_tick(place: StorePlace) -> None:
    """Two handles that fire the same ticks at the same time: each tick has one task, made by one of them."""
    ticks = [NOW + 60 * tick for tick in range(40)]
    handles = [place.open(), place.open()]
    probes = [Probe(store, f"probe-{n}") for n, store in enumerate(handles)]
    put(probes[0], schedule_named("s", when="every minute"))

    def fire_all(probe: Probe) -> list[str]:
        made = []
        for tick in ticks:
            schedule = stored(probe, "s")
            assert schedule is not None, "the schedule is gone"
            task = task_named(at=tick, idempotency_key=schedule.key(tick), fingerprint="f")
            firing = Firing(
                replace(schedule, next_at=tick), Due((tick,), tick + 60, False), [task], None, tick
            )
            fired = probe.store.run(firing.fire)
            if fired is not None:
                made += [one.id for one in fired.outcomes if isinstance(one, Added)]
        return made

    try:
        with ThreadPoolExecutor(2) as pool:
            parts = list(pool.map(fire_all, probes))
        ids = [id for part in parts for id in part]
        counts = probes[0].counts()
        same((len(ids), len(set(ids)), sum(counts.values())), (len(ids),) * 3, "tasks made, and in the store")
        last = stored(probes[1], "s")
        assert last is not None, "the schedule is gone"
        same(last.fired, len(ids), "firings counted")
        same(last.next_at, ticks[-1] + 60, "next tick")
        same(len(ids), len(ticks), "tasks, one for each tick")
    finally:
        for store in handles:
            store.close()


CHECKS = (check_schedules, check_due_schedules, check_move_schedule)
SHARED = (check_one_firing_per_tick,)
