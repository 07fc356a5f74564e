"""Firing: a year in virtual time by two at once, races of real processes, refusals, and nothing by halves."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter

from penstock.errors import InvalidTask
from penstock.model.clock import iso_time
from penstock.model.ids import new_id
from penstock.model.lane import Lane
from penstock.model.rank import Rank
from penstock.model.schedule import RETRY_SECONDS, Schedule, begun
from penstock.model.task import NewTask
from penstock.runtime.committer import Committer
from penstock.runtime.cron import Cron, firing_of
from penstock.stores.contract import TaskFilter
from penstock.stores.sqlite.store import SqliteStore
from penstock.testing.clock import VirtualClock

BEGIN = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
END = datetime(2027, 1, 1, tzinfo=UTC).timestamp()
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe")
EXPRESSIONS = ("0 9 * * *", "30 2 * * *", "45 1 * * 1-5", "0 */6 * * SUN", "0 18 L * *")


def hourly(name="s", **fields):
    given = {"when": "hourly", "zone": "UTC", "type": "work", "created_at": BEGIN} | fields
    return begun(Schedule(name, **given), BEGIN)


def task_of(schedule, tick):
    metadata = json.dumps({"schedule": schedule.name, "at": tick})
    return NewTask(
        new_id(), "work", Lane("work", ""), Rank(0, tick), tick, entered_at=tick, metadata=metadata,
        idempotency_key=schedule.key(tick), fingerprint="f",
    )  # fmt: skip


def put(store, *schedules):
    def work(tx):
        for one in schedules:
            tx.put_schedule(one)

    store.run(work)


def stored(store, name="s"):
    return store.read(lambda reader: reader.schedule(name))


def fired(store):
    """(schedule, tick) of every task."""
    views = store.read(lambda reader: reader.tasks(TaskFilter(), 0, 100_000, newest=False))
    return [(view.metadata["schedule"], view.metadata["at"]) for view in views]


@pytest.fixture
def clock():
    return VirtualClock(BEGIN)


@pytest.fixture
async def firer(clock):
    """Makes things that fire a store's schedules: `await firer(store)`."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(store, capacity=None):
            committer = Committer(store, capacity)
            await committer.start()
            stack.push_async_callback(committer.stop)
            return Cron(committer, clock)

        yield make


@pytest.fixture
def store():
    with SqliteStore.open(":memory:") as opened:
        yield opened


def reference(expression, zone):
    """A year by croniter, without the second pass through a repeated hour for times that are named."""
    source = croniter(expression, datetime.fromtimestamp(BEGIN, ZoneInfo(zone)))
    while (at := source.get_next(datetime)).timestamp() <= END:
        if at.fold == 0:
            yield at.timestamp()


async def test_a_year_in_three_zones_fired_by_two_at_once(tmp_path, clock, firer):
    expected = Counter()
    with contextlib.ExitStack() as stack:
        path = tmp_path / "work.db"
        stores = [stack.enter_context(SqliteStore.open(path, durability="normal")) for _ in range(2)]
        for zone in ZONES:
            for expression in EXPRESSIONS:
                name = f"{expression} {zone}"
                put(stores[0], hourly(name, when=expression, zone=zone))
                expected.update((name, tick) for tick in reference(expression, zone))
        firers = [await firer(one) for one in stores]
        while clock.wall() <= END:
            due = await asyncio.gather(*(one.fire_due(task_of) for one in firers))
            clock.advance(min(due) - clock.wall())
        assert set(expected.values()) == {1}
        assert Counter(fired(stores[0])) == expected
        assert len(expected) > 3_000
        counted = stores[0].read(lambda reader: sum(one.fired for one in reader.schedules()))
        assert counted == len(expected)


RACE = """
import sys
sys.path[:0] = sys.argv[3:]
import asyncio
from test_cron import VirtualClock, task_of
from penstock.model.task import Added
from penstock.runtime.committer import Committer
from penstock.runtime.cron import Cron
from penstock.stores.sqlite.store import SqliteStore

async def main(path, begin):
    clock, made = VirtualClock(begin), 0
    store = SqliteStore.open(path, durability="normal")
    committer = Committer(store)
    await committer.start()
    cron = Cron(committer, clock)

    def hear(outcomes, tasks):
        nonlocal made
        made += sum(isinstance(one, Added) for one in outcomes)

    cron.open(task_of, hear)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    for _ in range(60):
        await cron.fire_due(task_of)
        clock.advance(60)
    await committer.stop()
    store.close()
    print(made)

asyncio.run(main(sys.argv[1], float(sys.argv[2])))
"""


def test_two_processes_fire_each_tick_once(tmp_path):
    path = str(tmp_path / "work.db")
    with SqliteStore.open(path, durability="normal") as store:
        put(store, *(hourly(name, when="every minute", missed="all") for name in "abcde"))
        command = [sys.executable, "-c", RACE, path, str(BEGIN + 60)]
        folders = [str(Path(__file__).parent), *sys.path]
        processes = [
            subprocess.Popen(
                [*command, *folders], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ
            )
            for _ in range(2)
        ]
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        made = [int(process.communicate(timeout=60)[0]) for process in processes]
        assert [process.returncode for process in processes] == [0, 0]
        assert sum(made) == 5 * 60
        assert Counter(fired(store)) == Counter(
            (name, BEGIN + 60 * n) for name in "abcde" for n in range(1, 61)
        )


async def test_firing_is_whole_or_not_at_all(store):
    schedule = hourly()
    put(store, schedule)
    firing = firing_of(schedule, task_of, BEGIN + 3600)

    def dies(tx):
        firing.fire(tx)
        raise RuntimeError("the process dies before the commit")

    with pytest.raises(RuntimeError):
        store.run(dies)
    assert stored(store) == schedule
    assert fired(store) == []
    assert store.run(firing.fire) is not None
    assert store.run(firing.fire) is None
    assert fired(store) == [("s", BEGIN + 3600)]


async def test_a_schedule_that_was_changed_meanwhile_is_not_fired(store):
    schedule = hourly()
    put(store, schedule)
    firing = firing_of(schedule, task_of, BEGIN + 3600)
    put(store, replace(schedule, data="2", version=2))
    assert store.run(firing.fire) is None
    assert fired(store) == []


async def test_a_tick_that_fired_before_is_not_fired_by_a_schedule_made_anew(store):
    put(store, hourly())
    assert store.run(firing_of(stored(store), task_of, BEGIN + 3600).fire)
    put(store, hourly())
    again = store.run(firing_of(stored(store), task_of, BEGIN + 3600).fire)
    assert again.schedule.next_at == BEGIN + 7200
    assert again.schedule.last_error is None
    assert len(fired(store)) == 1

    def other(schedule, tick):
        return replace(task_of(schedule, tick), fingerprint="of other data")

    put(store, hourly())
    assert store.run(firing_of(stored(store), other, BEGIN + 3600).fire).schedule.last_error is None
    assert len(fired(store)) == 1


@pytest.mark.parametrize(("missed", "made"), [("skip", [2]), ("once", [1, 2]), ("all", [1, 2])])
async def test_a_full_queue_is_told_and_follows_the_rule(store, clock, firer, caplog, missed, made):
    put(store, hourly(missed=missed))
    store.run(lambda tx: tx.add([task_of(replace(hourly(), name="in the way"), BEGIN)]))
    full = await firer(store, capacity=1)
    clock.advance(3600)
    await full.fire_due(task_of)
    refused = stored(store)
    assert "the queue is full" in refused.last_error
    assert "schedule s: a firing was refused" in caplog.text
    assert refused.fired == 0
    clock.advance(RETRY_SECONDS - 1)
    roomy = await firer(store, capacity=9)
    await roomy.fire_due(task_of)
    assert stored(store) == refused
    clock.advance(1)
    await roomy.fire_due(task_of)
    clock.advance(3600 - RETRY_SECONDS)
    await roomy.fire_due(task_of)
    assert [tick for name, tick in fired(store) if name == "s"] == [BEGIN + 3600 * hour for hour in made]
    assert stored(store).last_error is None


async def test_of_many_missed_ones_as_many_go_in_as_there_is_room(store, clock, firer):
    put(store, hourly(missed="all"))
    full = await firer(store, capacity=2)
    clock.advance(5 * 3600)
    assert await full.fire_due(task_of) == clock.wall() + RETRY_SECONDS
    assert [tick for _, tick in fired(store)] == [BEGIN + 3600, BEGIN + 7200]
    assert (stored(store).next_at, stored(store).fired) == (BEGIN + 10_800, 2)
    clock.advance(RETRY_SECONDS)
    await (await firer(store)).fire_due(task_of)
    assert [tick for _, tick in fired(store)] == [BEGIN + 3600 * hour for hour in range(1, 6)]


@pytest.mark.parametrize("error", [InvalidTask("no such city"), ValueError("no such city")])
async def test_a_refusal_at_the_door_hurts_no_other_schedule(store, clock, firer, error):
    put(store, hourly("bad"), hourly("good"))

    def door(schedule, tick):
        if schedule.name == "bad":
            raise error
        return task_of(schedule, tick)

    clock.advance(3600)
    assert await (await firer(store)).fire_due(door) == clock.wall() + RETRY_SECONDS
    assert fired(store) == [("good", BEGIN + 3600)]
    assert "no such city" in stored(store, "bad").last_error


async def test_a_zone_that_is_gone_is_told_and_tried_again(store, clock, firer):
    put(store, replace(hourly(), zone="Atlantis/Capital"), hourly("good"))
    clock.advance(3600)
    cron = await firer(store)
    assert await cron.fire_due(task_of) == clock.wall() + RETRY_SECONDS
    assert "there is no time zone" in stored(store).last_error
    assert fired(store) == [("good", BEGIN + 3600)]


async def test_more_than_fit_in_one_go_all_fire(store, clock, firer):
    put(store, *(hourly(f"n{n}") for n in range(250)))
    clock.advance(3600)
    assert await (await firer(store)).fire_due(task_of) == BEGIN + 7200
    assert len(set(fired(store))) == 250


async def test_a_clock_that_is_set_back_fires_nothing_again(store, clock, firer):
    put(store, hourly())
    cron = await firer(store)
    clock.advance(3600)
    await cron.fire_due(task_of)
    clock.jump_wall(-1800)
    await cron.fire_due(task_of)
    clock.advance(1800)
    await cron.fire_due(task_of)
    assert fired(store) == [("s", BEGIN + 3600)]


async def test_the_looper_waits_for_the_next_firing_and_looks_when_told(store, clock, firer):
    heard = []
    cron = await firer(store)
    assert await cron.tick() == cron.idle_seconds
    cron.open(task_of, lambda outcomes, tasks: heard.extend(tasks))
    assert await cron.tick() == cron.idle_seconds
    put(store, hourly())
    assert await cron.tick() == cron.idle_seconds  # nobody told it
    cron.look()
    assert await cron.tick() == cron.interval
    clock.advance(3599.5)
    assert await cron.tick() == pytest.approx(0.5)
    clock.advance(0.5)
    assert await cron.tick() == cron.interval
    assert [task.idempotency_key for task in heard] == [f"schedule:s:{iso_time(BEGIN + 3600)}"]


async def test_after_a_store_that_failed_it_looks_again(store, clock, firer, monkeypatch):
    put(store, hourly())
    cron = await firer(store)
    cron.open(task_of, lambda outcomes, tasks: None)
    cron.look()
    clock.advance(3600)
    with monkeypatch.context() as patch:
        patch.setattr(type(store), "read", lambda self, work: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await cron.tick()
    assert await cron.tick() == cron.interval
    assert fired(store) == [("s", BEGIN + 3600)]
