"""Large values in parts: rows of older versions, random keeping and dropping, the bound of the cache."""

import random
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.model.step import StepKey
from penstock.stores.contract import Retention
from penstock.stores.sql.contents import PART, WHOLE_AT_MOST, hash_of
from penstock.stores.sqlite import schema
from penstock.stores.sqlite.store import SqliteStore
from penstock.testing.store_probe import NOW, Probe, step_of

BASE = random.Random(7).randbytes(120_000)


def rows(path, statement, *params):
    connection = sqlite3.connect(path)
    try:
        return connection.execute(statement, params).fetchall()
    finally:
        connection.close()


def test_values_that_an_older_version_kept_whole_stay_readable(tmp_path):
    path = tmp_path / "old.db"
    connection = sqlite3.connect(path, isolation_level=None)
    old = {number: script for number, script in schema.migrations().items() if number < 16}
    schema.migrate(connection, str(path), old)
    value = BASE[:50_000]
    connection.execute("insert into contents (hash, refs, body) values (?, 1, ?)", (hash_of(value), value))
    connection.execute(
        "insert into cache (tenant, digest, expires_at, content) values ('a', 'd', ?, ?)",
        (NOW + 9, hash_of(value)),
    )
    connection.close()
    with SqliteStore.open(path, "normal") as store:
        probe = Probe(store)
        assert store.read(lambda reader: reader.cached("a", "d", NOW)) == value
        task = probe.running()
        probe.record(step_of(task, "same", value), step_of(task, "longer", value + b"1"))
        records = store.read(lambda reader: reader.journal(task.seq))
        assert [one.value for one in records] == [value, value + b"1"]
        assert store.verify() == []
        assert len(rows(path, "select 1 from contents where size is not null")) == 1, "the old one is whole"
        probe.finish(task, keep=False)
        store.run(lambda tx: tx.prune(Retention(), NOW + 10))
        assert store.verify() == []
        assert rows(path, "select count(*) from contents") == [(0,)]


def test_what_verify_finds(tmp_path):
    path = tmp_path / "s.db"
    with SqliteStore.open(path, "normal") as store:
        probe = Probe(store)
        probe.record(step_of(probe.running(), "a", BASE[:30_000]))
        part = hash_of(BASE[:PART])
        connection = sqlite3.connect(path)
        connection.execute("update contents set refs = 5 where hash = ?", (part,))
        connection.commit()
        connection.close()
        assert store.verify() == [f"large value {part} is named 1 times, not 5"]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["keep", "void", "inherit", "finish"]),
            st.integers(0, 11),
            st.sampled_from([0, 1, PART, 3 * PART, WHOLE_AT_MOST, WHOLE_AT_MOST + 1]),
            st.integers(1, 60_000),
        ),
        max_size=14,
    )
)
def test_any_order_of_keeping_and_dropping(moves):
    with SqliteStore.open(":memory:") as store:
        probe = Probe(store)
        tasks = [probe.running()]
        known = {}
        for number, (move, pick, start, length) in enumerate(moves):
            task = tasks[pick % len(tasks)]
            if move == "keep":
                known[task.id, str(number)] = BASE[start : start + length]
                probe.record(step_of(task, str(number), known[task.id, str(number)]))
            elif move == "void" and known:
                id, name = list(known)[pick % len(known)]
                del known[id, name]
                seq = probe.view(id).seq
                store.run(lambda tx, seq=seq, name=name: tx.void_step(seq, StepKey("", name, "d" * 32), 0))
            elif move == "inherit":
                heir = probe.running(retry_of=task.id, inherit_journal=True)
                known |= {(heir.id, name): value for (id, name), value in known.items() if id == task.id}
                tasks.append(heir)
            elif move == "finish" and len(tasks) > 1:
                tasks.remove(task)
                probe.finish(task, keep=False)
                known = {place: value for place, value in known.items() if place[0] != task.id}
            assert store.verify() == []
        for task in tasks:
            found = {
                one.key.name: one.value
                for one in store.read(lambda reader, seq=task.seq: reader.journal(seq))
            }
            assert found == {name: value for (id, name), value in known.items() if id == task.id}
        for task in tasks:
            probe.finish(task, keep=False)
        assert store.read(lambda reader: reader.sizes())["contents"] == 0


@pytest.mark.parametrize("size", [10_000, 100_000])
def test_the_bound_of_the_cache_counts_values_not_their_lists(size):
    with SqliteStore.open(":memory:") as store:
        for number in range(6):
            value = random.Random(number).randbytes(size)
            store.run(lambda tx, number=number, value=value: tx.cache("a", str(number), value, NOW + 9))
        rule = Retention(max_cache_bytes=3 * size)
        while store.run(lambda tx: tx.prune(rule, NOW)).more:
            pass
        left = [store.read(lambda reader, n=n: reader.cached("a", str(n), NOW)) is not None for n in range(6)]
        assert left == [False] * 3 + [True] * 3
        assert store.verify() == []
