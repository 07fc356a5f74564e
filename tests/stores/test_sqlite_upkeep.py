"""Backup while writing, pruning that gives space back, large values once by content, what verify finds."""

import threading

import pytest

from penstock.errors import StoreError
from penstock.model.lane import Lane
from penstock.model.states import TaskStatus
from penstock.model.step import StepKey
from penstock.stores.contract import Retention
from penstock.stores.sqlite.store import SqliteStore
from penstock.testing.store_probe import NOW, Probe, step_of, where_id

LARGE = '"' + "long " * 2000 + '"'


@pytest.fixture
def store(tmp_path):
    with SqliteStore.open(tmp_path / "s.db", "normal") as store:
        yield store


def sizes(store):
    return store.read(lambda reader: reader.sizes())


def end_some(probe, count, **fields):
    for _ in range(count):
        task = probe.take(probe.add(**fields))
        assert probe.finish(task)


def prune_all(store, rule):
    while store.run(lambda tx: tx.prune(rule, NOW)).more:
        pass


def test_a_backup_while_others_write_is_one_state(store, tmp_path):
    probe = Probe(store)
    stop = threading.Event()

    def write():
        while not stop.is_set():
            end_some(probe, 5, payload=LARGE)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(3):
            copy = tmp_path / f"copy{number}.db"
            store.backup(str(copy))
            with SqliteStore.open(copy) as copied:
                assert copied.verify() == []
    finally:
        stop.set()
        writer.join()
    assert store.verify() == []


def test_a_backup_never_overwrites(store, tmp_path):
    (tmp_path / "copy.db").write_text("precious")
    with pytest.raises(StoreError, match="exists already"):
        store.backup(str(tmp_path / "copy.db"))
    assert (tmp_path / "copy.db").read_text() == "precious"


def test_a_store_in_memory_can_be_backed_up(tmp_path):
    with SqliteStore.open(":memory:") as store:
        added = Probe(store).add()
        store.backup(str(tmp_path / "copy.db"))
    with SqliteStore.open(tmp_path / "copy.db") as copied:
        assert copied.read(lambda reader: reader.task(added.id)).id == added.id


def test_pruning_gives_space_back(store, tmp_path):
    probe = Probe(store)
    end_some(probe, 200, payload='"' + "x" * 1900 + '"')
    store.compact()
    before = (tmp_path / "s.db").stat().st_size
    rule = Retention(finished_before=NOW + 1, events_before=NOW + 1, chunk=7)
    prune_all(store, rule)
    store.compact()
    assert (tmp_path / "s.db").stat().st_size < before / 2
    assert (tmp_path / "s.db-wal").stat().st_size == 0
    assert (sizes(store)["tasks"], sizes(store)["events"]) == (0, 0)
    assert store.verify() == []


def test_pruning_by_size_takes_the_oldest_ended(store):
    probe = Probe(store)
    waiting = probe.add(tenant="keep", lane=Lane("other"))
    end_some(probe, 200, payload='"' + "x" * 1900 + '"')
    limit = sizes(store)["live_bytes"] // 2
    prune_all(store, Retention(max_bytes=limit, chunk=10))
    assert sizes(store)["live_bytes"] <= limit
    assert 0 < sizes(store)["tasks"] < 200
    assert store.read(lambda reader: reader.task(waiting.id)) is not None
    assert store.verify() == []


def test_a_large_value_is_kept_once(store):
    probe = Probe(store)
    tasks = [probe.take(probe.add(payload=LARGE)) for _ in range(5)]
    for task in tasks:
        assert task.payload == LARGE
        assert store.run(lambda tx, task=task: tx.record([step_of(task, "say", LARGE.encode())])) == [True]
    assert sizes(store)["contents"] == 1
    assert store.run(lambda tx: tx.void_step(tasks[0].seq, StepKey("", "say", "d" * 32), 0))
    assert all(probe.finish(task, keep=False) for task in tasks)
    assert sizes(store)["contents"] == 0
    assert store.verify() == []


def test_a_lost_finish_leaves_no_large_value_behind(store):
    probe = Probe(store)
    task = probe.take(probe.add())
    assert probe.finish(task)
    assert not probe.finish(task, result=LARGE)
    assert sizes(store)["contents"] == 0


def test_a_text_that_looks_like_a_reference_is_kept_as_it_is(store):
    probe = Probe(store)
    assert probe.take(probe.add(payload="@" + "0" * 32)).payload == "@" + "0" * 32
    assert store.verify() == []


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        ("update tally set n = n + 1", "tally of lane 1"),
        ("update counters set n = 9 where name = 'open'", "9 open tasks"),
        ("update contents set refs = refs + 1", "large value"),
        ("delete from contents", "large value"),
        ("update tasks set finished_no = null where status = 'completed'", "finished_no is unset"),
        ("update tasks set ready = 1 where status = 'completed'", "but claimable"),
        ("delete from lanes", "which does not exist"),
        ("delete from task_events", "event 1 of task number 1 is not in the list"),
        (
            "insert into steps select 99, 77, 1, '', 'lost', 'd', 0, 'value', 0, 0, 0, 0, null, x''",
            "step lost",
        ),
    ],
)
def test_verify_finds_what_is_wrong(store, damage, found):
    probe = Probe(store)
    end_some(probe, 2, payload=LARGE)
    probe.add()
    assert store.verify() == []
    store._writer.execute(damage)
    assert any(found in fault for fault in store.verify()), store.verify()


def test_reads_do_not_wait_for_a_write(store):
    probe = Probe(store)
    added = probe.add()

    def work(tx):
        tx.cancel(where_id(added.id), NOW)
        seen: list[TaskStatus] = []
        reading = threading.Thread(
            target=lambda: seen.append(store.read(lambda reader: reader.task(added.id)).status)
        )
        reading.start()
        reading.join(timeout=30)
        return seen

    assert store.run(work) == [TaskStatus.QUEUED]
    assert store.read(lambda reader: reader.task(added.id)).status is TaskStatus.CANCELLED


def test_a_change_of_another_handle_is_noticed_once(store):
    assert store.changed_by_others() is False
    Probe(store).add()
    assert store.changed_by_others() is False
    with SqliteStore.open(store.path) as other:
        Probe(other)
        Probe(store)  # an own commit in between hides nothing
        assert store.changed_by_others() is True
        assert store.changed_by_others() is False


def test_a_change_is_noticed_while_a_commit_runs(store):
    """Who asks does not wait for a commit that runs; the commit itself looked before it began."""
    with SqliteStore.open(store.path) as other:
        Probe(other)
    answers = []

    def work(tx):
        asking = threading.Thread(target=lambda: answers.append(store.changed_by_others()))
        asking.start()
        asking.join(timeout=30)

    store.run(work)
    assert answers == [True]
