"""A full disk, a read-only file, a locked file, a damaged file: a clear error, nothing acknowledged lost."""

import os
import re
import sqlite3
import subprocess
import sys

import pytest

from penstock.errors import (
    ConfigurationError,
    InvalidTask,
    StoreBusy,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreReadOnly,
)
from penstock.model.states import TaskStatus
from penstock.stores.sqlite.failures import translate
from penstock.stores.sqlite.store import SqliteStore
from penstock.testing.store_probe import NOW, Probe, task_named


def count(store):
    return sum(tally.count for tally in store.read(lambda reader: reader.tallies()))


def add_until_it_fails(probe, size=20_000):
    """Add tasks one by one; how many were acknowledged, and the error."""
    for acknowledged in range(10_000):
        try:
            probe.add(payload='"' + str(acknowledged) + "x" * size + '"')
        except StoreError as error:
            return acknowledged, error
    raise AssertionError("nothing failed")


def test_a_full_file_loses_nothing_and_the_store_stays_usable(tmp_path):
    path = tmp_path / "s.db"
    with SqliteStore.open(path, "normal") as store:
        probe = Probe(store)
        store._writer.execute("pragma max_page_count = 150").fetchall()
        acknowledged, error = add_until_it_fails(probe)
        assert isinstance(error, StoreFull)
        assert str(path) in str(error)
        assert acknowledged > 5
        assert count(store) == acknowledged
        store._writer.execute("pragma max_page_count = 100000").fetchall()
        probe.add()
        assert store.verify() == []
    with SqliteStore.open(path) as store:
        assert count(store) == acknowledged + 1


LIMITED = """
import os, resource, sys
from penstock.errors import StoreError
from penstock.stores.sqlite.store import SqliteStore
from penstock.testing.store_probe import Probe
store = SqliteStore.open(sys.argv[1], "normal")
probe = Probe(store)
limit = os.path.getsize(sys.argv[1] + "-wal") + 300_000
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
for acknowledged in range(10_000):
    try:
        probe.add(payload='"' + str(acknowledged) + "x" * 20_000 + '"')
    except StoreError as error:
        print(acknowledged, type(error).__name__, store.path in str(error))
        break
sys.stdout.flush()
os._exit(0)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits are POSIX")
def test_no_room_for_the_log_is_a_full_store(tmp_path):
    path = tmp_path / "s.db"
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    acknowledged, kind, named = done.stdout.split()
    assert (kind, named) == ("StoreFull", "True"), done.stdout + done.stderr
    with SqliteStore.open(path) as store:
        assert count(store) == int(acknowledged) > 0
        assert store.verify() == []


def test_a_failed_transaction_changes_nothing(tmp_path):
    with SqliteStore.open(tmp_path / "s.db") as store:
        probe = Probe(store)
        twice = task_named()

        def work(tx):
            tx.add([twice])
            tx.set_pause("all", True)
            raise KeyError("a fault of the caller")

        with pytest.raises(KeyError):
            store.run(work)
        assert store.read(lambda reader: reader.task(twice.id)) is None
        assert store.read(lambda reader: reader.pauses()) == []
        added = probe.offer(twice)[0]
        assert store.read(lambda reader: reader.lanes())[0].id == added.lane
        assert store.verify() == []


FLOWS = ("one", "two", "three")


@pytest.mark.parametrize(
    ("flows", "claim"),
    [
        (FLOWS, lambda tx, lane: tx.claim_flows({lane: dict.fromkeys(FLOWS, 1)}, 1, NOW)),
        (("one", "one", "one"), lambda tx, lane: tx.claim_flows({lane: {"one": 3}}, 1, NOW)),
        ((None, None, None), lambda tx, lane: tx.claim({lane: 3}, 1, NOW)),
    ],
)
def test_a_claim_that_fails_half_way_took_nothing(tmp_path, flows, claim):
    with SqliteStore.open(tmp_path / "s.db") as store:
        probe = Probe(store)
        lane = {probe.add(flow=flow).lane for flow in flows}.pop()
        with sqlite3.connect(tmp_path / "s.db") as other:
            other.execute("create unique index once on tasks (was)")
        with pytest.raises(sqlite3.IntegrityError):
            store.run(lambda tx: claim(tx, lane))
        other.execute("drop index once")
        other.close()
        assert probe.counts() == {TaskStatus.QUEUED: 3}
        assert store.verify() == []
        assert len(store.run(lambda tx: claim(tx, lane))) == 3


def test_the_same_id_twice_is_an_invalid_task(tmp_path):
    with SqliteStore.open(tmp_path / "s.db") as store:
        probe = Probe(store)
        task = task_named()
        probe.offer(task)
        with pytest.raises(InvalidTask, match="id"):
            probe.offer(task)
        assert store.verify() == []


def test_opened_for_reading_only(tmp_path):
    path = tmp_path / "s.db"
    with SqliteStore.open(path) as store:
        added = Probe(store).add()
        with SqliteStore.open(path, read_only=True) as looker:
            assert looker.read(lambda reader: reader.task(added.id)).id == added.id
            assert looker.changed_by_others() is False
            Probe(store, "other")
            assert looker.changed_by_others() is True
            for forbidden in (lambda: looker.run(lambda tx: tx.pauses()), looker.lock_dispatch):
                with pytest.raises(StoreReadOnly, match=re.escape(str(path))):
                    forbidden()
    with pytest.raises(StoreError, match="does not exist"):
        SqliteStore.open(tmp_path / "none.db", read_only=True)
    assert not (tmp_path / "none.db").exists()


def test_a_read_only_file(tmp_path):
    path = tmp_path / "s.db"
    with SqliteStore.open(path) as store:
        probe = Probe(store)
        # What SQLite says for a file without the right to write, also to a test that root runs.
        store._writer.execute("pragma query_only = on").fetchall()
        with pytest.raises(StoreReadOnly, match="change owner or mode"):
            probe.add()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(StoreReadOnly, match="Permission denied"):
        SqliteStore.open(folder / "s.db")


def test_a_file_locked_by_another_process(tmp_path):
    path = tmp_path / "s.db"
    code = (
        "import sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute('begin immediate')\n"
        "print('locked', flush=True); sys.stdin.read()"
    )
    with SqliteStore.open(path, busy_seconds=0.05) as store:
        probe = Probe(store)
        holder = subprocess.Popen(
            [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        with holder:
            assert holder.stdout.readline() == "locked\n"
            with pytest.raises(StoreBusy, match=re.escape(str(path))):
                probe.add()
            assert count(store) == 0  # reading goes on
            holder.kill()
            holder.wait(timeout=30)
        probe.add()
        assert count(store) == 1


def test_a_file_that_is_no_database(tmp_path):
    path = tmp_path / "s.db"
    path.write_bytes(b"no database at all, but long enough to be read as the header of one\n" * 20)
    with pytest.raises(StoreCorrupt, match="restore a backup"):
        SqliteStore.open(path)


def test_a_damaged_file(tmp_path):
    path = tmp_path / "s.db"
    with SqliteStore.open(path) as store:
        probe = Probe(store)
        for _ in range(50):
            probe.add(payload='"' + "x" * 1000 + '"')
    damaged = bytearray(path.read_bytes())
    damaged[4096 * 3 :] = b"\xa5" * (len(damaged) - 4096 * 3)
    path.write_bytes(damaged)
    with pytest.raises(StoreCorrupt, match="penstock db verify"):
        SqliteStore.open(path).read(lambda reader: reader.task("0"))


def test_a_closed_store_says_so(tmp_path):
    store = SqliteStore.open(tmp_path / "s.db")
    store.close()
    store.close()
    for use in (store.verify, store.changed_by_others, lambda: store.run(lambda tx: None)):
        with pytest.raises(StoreError, match="is closed"):
            use()


def test_an_unknown_durability_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="'full' or 'normal'"):
        SqliteStore.open(tmp_path / "s.db", durability="some")


def test_a_fault_of_the_program_is_not_dressed_up():
    connection = sqlite3.connect(":memory:")
    with pytest.raises(sqlite3.OperationalError) as caught:
        connection.execute("select nonsense")
    connection.close()
    assert translate(caught.value, "s.db") is None
