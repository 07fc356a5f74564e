"""Migrations: new, old, newer and other people's files; every statement fits the schema."""

import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.errors import StoreError, StoreTooNew
from penstock.model.rank import Rank
from penstock.stores import sql
from penstock.stores.sql.statements import parse_statements
from penstock.stores.sqlite import schema
from penstock.stores.sqlite.connection import STATEMENTS
from penstock.stores.sqlite.store import SqliteStore
from penstock.testing.store_probe import Probe

LATER = "-- adds\nalter table tasks add column colour text;\ncreate table shades (name text);\n"


def version_of(path):
    with sqlite3.connect(path) as connection:
        found = schema.stored_version(connection)
    connection.close()
    return found


def newer_scripts():
    scripts = schema.migrations()
    return {**scripts, max(scripts) + 1: LATER}


def migrate_to_newer(path, scripts):
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        schema.migrate(connection, str(path), scripts)
    finally:
        connection.close()


def test_a_new_file_has_the_newest_schema(tmp_path):
    SqliteStore.open(tmp_path / "s.db").close()
    assert version_of(tmp_path / "s.db") == max(schema.migrations())


def test_an_old_file_is_upgraded_and_keeps_its_tasks(tmp_path):
    path = tmp_path / "s.db"
    with SqliteStore.open(path) as store:
        added = Probe(store).add()
    migrate_to_newer(path, newer_scripts())
    assert version_of(path) == max(newer_scripts())
    connection = sqlite3.connect(path)
    assert connection.execute("select id, colour from tasks").fetchall() == [(added.id, None)]
    connection.close()


def test_open_code_goes_on_while_a_newer_process_migrates(tmp_path):
    path = tmp_path / "s.db"
    with SqliteStore.open(path) as store:
        probe = Probe(store)
        first = probe.add()
        migrate_to_newer(path, newer_scripts())
        assert probe.claim(first.lane)[0].id == first.id
        probe.add()
        assert store.verify() == []


def test_a_newer_file_is_refused(tmp_path):
    path = tmp_path / "s.db"
    SqliteStore.open(path).close()
    migrate_to_newer(path, newer_scripts())
    for read_only in (False, True):
        with pytest.raises(StoreTooNew, match=re.escape(str(path)) + ".*newer version.*upgrade"):
            SqliteStore.open(path, read_only=read_only)


def test_a_failed_migration_leaves_the_old_version(tmp_path):
    path = tmp_path / "s.db"
    SqliteStore.open(path).close()
    newest = max(schema.migrations())
    broken = {**schema.migrations(), newest + 1: "create table half (a);\ncreate table tasks (again);\n"}
    with pytest.raises(sqlite3.OperationalError):
        migrate_to_newer(path, broken)
    assert version_of(path) == newest
    connection = sqlite3.connect(path)
    assert not connection.execute("select 1 from sqlite_master where name = 'half'").fetchall()
    connection.close()


def test_somebody_elses_database_is_refused(tmp_path):
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute("create table songs (name)")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="not one of penstock"):
        SqliteStore.open(path)
    assert path.read_bytes() == before  # not even turned into another journal mode


def test_many_processes_may_open_a_new_file_at_once(tmp_path):
    code = (
        "import sys\n"
        "from penstock.stores.sqlite.store import SqliteStore\n"
        "from penstock.testing.store_probe import Probe\n"
        "with SqliteStore.open(sys.argv[1]) as store: Probe(store).add()"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "s.db")]) for _ in range(4)]
    assert [process.wait(timeout=60) for process in running] == [0] * 4
    with SqliteStore.open(tmp_path / "s.db") as store:
        assert store.verify() == []
        assert sum(tally.count for tally in store.read(lambda reader: reader.tallies())) == 4


def test_every_statement_fits_the_schema():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    schema.migrate(connection, ":memory:")
    for name, text in STATEMENTS.items():
        if not name.startswith("where_"):
            statement = text.replace("{where}", " and ".join(every_condition()))
            numbers = [int(number) for number in re.findall(r"\?(\d+)", statement)]
            count = max(numbers) if numbers else statement.count("?")
            connection.execute(f"explain {statement}", [None] * count).fetchall()
    connection.close()


def every_condition():
    return [text for name, text in STATEMENTS.items() if name.startswith("where_")]


def test_every_statement_is_used():
    folder = Path(sql.__file__).parent
    code = "".join(file.read_text(encoding="utf-8") for file in folder.glob("*.py"))
    built = re.compile("verify_|where_status_|reservations_(held|uncertain)$")
    unused = [name for name in STATEMENTS if f'"{name}"' not in code and not built.match(name)]
    assert unused == []


def test_two_statements_of_one_name_are_a_fault():
    with pytest.raises(ValueError, match="a"):
        parse_statements("-- name: a\nselect 1\n-- name: a\nselect 2\n")


def plan_of(name, params):
    connection = sqlite3.connect(":memory:", isolation_level=None)
    schema.migrate(connection, ":memory:")
    plan = connection.execute(f"explain query plan {STATEMENTS[name]}", params).fetchall()
    connection.close()
    return "\n".join(row[3] for row in plan)


LINE = "INDEX tasks_line (lane=?)"
FLOWING = "INDEX tasks_ready_flow (lane=? AND flow>?)"
ONE_FLOW = "INDEX tasks_ready_flow (lane=? AND flow=?)"


@pytest.mark.parametrize(
    ("name", "params", "indexes"),
    [
        ("claim", (1, 0.0, 1, 9), [LINE]),
        ("line", (1, "[]", 9), [LINE]),
        ("has_flows", (1,), [FLOWING]),
        ("claim_flow_heads", (1, 0.0, 1, "[]"), [ONE_FLOW]),
        ("flow_lines", (1, "[]", 9, "[]"), [ONE_FLOW]),
        ("waiting_flows", (), [FLOWING]),
        ("nameless_lanes", (), [LINE]),
    ],
)
def test_a_claim_walks_the_index_of_its_line(name, params, indexes):
    text = plan_of(name, params)
    assert all(index in text for index in indexes)
    assert "B-TREE" not in text
    assert "SCAN tasks" not in text
    assert "SCAN t" not in text.splitlines()


@pytest.mark.parametrize(
    ("name", "params", "indexes"),
    [
        ("mixed_line", (1, "[]", 9, 1_000), [LINE, FLOWING]),
        ("nameless_line", (1, "[]", 9), [LINE, ONE_FLOW]),
        ("head", (1, 1_000), [LINE, FLOWING]),
        ("flow_head", (1, "a"), [ONE_FLOW]),
        ("nameless_head", (1, ""), [LINE, ONE_FLOW]),
        ("ahead", (1, 9), ["INDEX tasks_line (lane=? AND", "INDEX tasks_ready_flow (lane=? AND flow=? AND"]),
    ],
)
def test_lines_are_put_together_from_walks_of_both_indexes(name, params, indexes):
    text = plan_of(name, params)
    assert all(index in text for index in indexes)
    assert "SCAN tasks" not in text


def test_a_store_of_the_first_schema_is_upgraded_and_works(tmp_path):
    path = tmp_path / "s.db"
    connection = sqlite3.connect(path, isolation_level=None)
    schema.migrate(connection, str(path), {1: schema.migrations()[1]})
    connection.execute("insert into lanes values (1, 'echo', 'model-a', '[]')")
    for seq, status, ready in ((1, "queued", 1), (2, "queued", 1), (3, "running", 0)):
        connection.execute(
            "insert into tasks (seq, id, type, status, ready, lane, band, key, priority, tenant, created_at,"
            " entered_at, claim_no, node, started_at)"
            " values (?1, 'old' || ?1, 'echo', ?2, ?3, 1, 0, ?1, 20, 't', 5, 5, 1 - ?3, 1 - ?3, 6)",
            (seq, status, ready),
        )
        connection.execute(
            "insert into tally values (0, 1, ?, 20, 1) on conflict do update set n = n + 1", (status,)
        )
    connection.execute("update counters set n = 3 where name in ('task', 'open')")
    connection.close()
    with SqliteStore.open(path) as store:
        assert version_of(path) == max(schema.migrations())
        probe = Probe(store)
        assert store.read(lambda reader: reader.heads([1])) == {1: (Rank(0, 1.0), None)}
        assert store.read(lambda reader: reader.waiting_flows()) == [(1, "")]
        store.run(lambda tx: tx.rerank([(2, Rank(0, 0.0), "t")]))
        assert [task.id for task in probe.claim(1)] == ["old2"]
        [rescued] = [
            task
            for task in store.run(
                lambda tx: (tx.rescue(9.0, 9.0, 3, [1]), tx.claim({1: 9}, probe.node, 9.0))[1]
            )
            if task.seq == 3
        ]
        assert (rescued.flow, rescued.standing, rescued.program) == (None, None, None)
        new = probe.add(flow="t", program="p")
        assert new.seq == 4
        assert [task.id for task in store.run(lambda tx: tx.claim_flows({1: {"t": 2}}, probe.node, 9.0))] == [
            new.id
        ]
        assert store.verify() == []
