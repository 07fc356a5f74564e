"""The events of one task: those that are listed by task and the latest, told as if there were one list."""

import sqlite3
from collections import Counter

import pytest

from penstock.model.states import TaskStatus
from penstock.stores.contract import Retention
from penstock.stores.sql import session
from penstock.stores.sqlite import schema
from penstock.stores.sqlite.connection import STATEMENTS
from penstock.stores.sqlite.store import SqliteStore
from penstock.testing.store_probe import NOW, Probe, task_named

BEFORE = 18


def work_on(probe, rounds=4):
    """Tasks of two lives each, whose events lie apart; the last of them is still running."""
    tasks = []
    for at in range(rounds):
        tasks.append(probe.running(NOW + at))
        probe.put_back(tasks[-1], TaskStatus.QUEUED, NOW + at)
        again = probe.claim(tasks[-1].lane, 1, NOW + at)[0]
        if at < rounds - 1:
            probe.finish(again, at=NOW + at)
    return tasks


def events(store, *asked, **more):
    return store.read(lambda reader: reader.events(*asked, **more))


def assert_each_has_its_events(store, tasks):
    """Whole, from a number on, by kind and in pages: what a walk over all events finds."""
    every = events(store, 0, -1)
    assert {event.task for event in every} == {task.seq for task in tasks}
    for task in tasks:
        own = [event for event in every if event.task == task.seq]
        assert events(store, 0, -1, task.seq) == own
        starts = [event for event in own if event.kind == "started"]
        assert events(store, 0, -1, task.seq, ("started",)) == starts
        for after in range(every[-1].no + 1):
            later = [event for event in own if event.no > after]
            assert events(store, after, -1, task.seq) == later
            assert events(store, after, 2, task.seq) == later[:2]


def listed(store):
    """(task, number) of what is listed."""
    return store._writer.execute("select task, no from task_events order by no").fetchall()


def numbers(store):
    """(task, number) of every event."""
    return [(event.task, event.no) for event in events(store, 0, -1)]


@pytest.mark.parametrize("at_once", [1, 2, 3, 7, 1_000])
def test_a_task_has_all_its_events_however_many_are_listed(at_once, monkeypatch):
    monkeypatch.setattr(session, "LISTED_AT_ONCE", at_once)
    with SqliteStore.open(":memory:") as store:
        tasks = work_on(Probe(store))
        assert_each_has_its_events(store, tasks)
        found = numbers(store)
        assert listed(store) == found[: len(found) - len(found) % at_once]
        assert store.verify() == []


def test_what_is_rolled_back_is_not_listed(listed_at_once):
    with SqliteStore.open(":memory:") as store:
        tasks = work_on(Probe(store))
        before = listed(store)

        def fails(transaction):
            transaction.add([task_named() for _ in range(listed_at_once)])
            transaction.flush()
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            store.run(fails)
        assert listed(store) == before
        assert_each_has_its_events(store, tasks)


def test_lists_go_with_tasks_and_with_old_events():
    with SqliteStore.open(":memory:") as store:
        probe = Probe(store)
        tasks = work_on(probe, 8)
        store.run(lambda tx: tx.prune(Retention(finished_before=NOW + 1.5), NOW + 9))
        assert {seq for seq, _ in numbers(store)} == {task.seq for task in tasks[2:]}
        assert_each_has_its_events(store, tasks[2:])
        store.run(lambda tx: tx.prune(Retention(events_before=NOW + 3.5), NOW + 9))
        assert {seq for seq, _ in numbers(store)} == {task.seq for task in tasks[4:]}
        assert set(listed(store)) <= set(numbers(store))
        assert_each_has_its_events(store, tasks[4:])
        assert store.verify() == []


def test_a_prune_takes_events_that_are_not_listed_yet(monkeypatch):
    monkeypatch.setattr(session, "LISTED_AT_ONCE", 1_000)
    with SqliteStore.open(":memory:") as store:
        tasks = work_on(Probe(store))
        store.run(lambda tx: tx.prune(Retention(finished_before=NOW + 1.5), NOW + 9))
        assert_each_has_its_events(store, tasks[2:])


def test_an_older_store_is_listed_as_it_is_opened(tmp_path):
    path = tmp_path / "s.db"
    connection = sqlite3.connect(path, isolation_level=None)
    older = {number: script for number, script in schema.migrations().items() if number <= BEFORE}
    schema.migrate(connection, str(path), older)
    for no in range(1, 8):
        connection.execute("insert into events values (?, ?, 5, 'note', null)", (no, no % 3))
    connection.execute("update counters set n = 7 where name = 'event'")
    connection.close()
    with SqliteStore.open(path) as store:
        assert Counter(seq for seq, _ in listed(store)) == {0: 2, 1: 3, 2: 2}
        assert [event.no for event in events(store, 0, -1, 1)] == [1, 4, 7]
        assert store.verify() == []


def test_events_that_an_older_process_adds_are_found(tmp_path):
    """It has the file open as a newer one adds the lists, and knows nothing of them."""
    with SqliteStore.open(tmp_path / "s.db") as store:
        probe = Probe(store)
        tasks = work_on(probe)
        last = numbers(store)[-1][1]
        older = store._writer.execute
        for no in range(last + 1, last + 9):
            older("insert into events values (?, ?, 5, 'note', null)", (no, tasks[no % 2].seq))
        older("update counters set n = ? where name = 'event'", (last + 8,))
        assert_each_has_its_events(store, tasks)
        tasks.append(probe.add())
        assert_each_has_its_events(store, tasks)
        assert store.verify() == []


def test_the_events_of_a_task_are_found_without_a_walk_over_all():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    schema.migrate(connection, ":memory:")
    for name, count in (("events_of_task", 4), ("forget_events_of_tasks", 1), ("forget_lists_of_events", 1)):
        rows = connection.execute(f"explain query plan {STATEMENTS[name]}", [None] * count)
        plan = [row[3] for row in rows]
        assert not [line for line in plan if line.startswith("SCAN") and "json_each" not in line]
        assert not [line for line in plan if "B-TREE" in line]
    connection.close()
