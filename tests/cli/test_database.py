"""`penstock db`: sizes, pruning, backups, verification, uncertain money."""

import json
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from penstock.model.lane import Lane
from penstock.model.reservation import ReservationState
from penstock.model.states import TaskStatus
from penstock.model.usage import to_pico
from penstock.stores.sqlite.store import SqliteStore
from penstock.testing.store_probe import settled

ROOT = Path(__file__).resolve().parents[2]
DAY = 86_400.0
LANE = Lane("echo")


def ended(probe, days, count=1, size=10):
    """Tasks that ended so many days ago."""
    at = time.time() - days * DAY
    tasks = []
    for number in range(count):
        task = probe.running(now=at, lane=LANE, payload=json.dumps(f"{days}-{number}" + "x" * size))
        probe.finish(task, at=at, result="1")
        tasks.append(task)
    return tasks


def test_show_tells_sizes_and_counts(probe, penstock):
    ended(probe, 1, 3)
    out = penstock("db", "show")[1]
    assert "work.penstock.db" in out
    assert "dispatched by process 1 on host" in out
    data = json.loads(penstock("db", "show", "--json")[1])
    assert data["tasks"] == 3
    assert data["file_bytes"] > 0


def test_prune_by_age_counts_first_and_then_removes(probe, penstock):
    ended(probe, 10, 4)
    kept = ended(probe, 1, 2)
    waiting = probe.add(at=time.time() - 20 * DAY, lane=LANE)
    assert (
        penstock("db", "prune", "--older-than", "7d", "--dry-run")[1]
        == "4 of 6 ended tasks would go by age\n"
    )
    assert probe.counts() == {TaskStatus.COMPLETED: 6, TaskStatus.QUEUED: 1}
    data = json.loads(penstock("db", "prune", "--older-than", "7d", "--json")[1])
    assert data["tasks"] == 4
    assert probe.counts() == {TaskStatus.COMPLETED: 2, TaskStatus.QUEUED: 1}
    assert probe.status(kept[0].id) is TaskStatus.COMPLETED
    assert probe.status(waiting.id) is TaskStatus.QUEUED


def test_prune_by_size_gives_space_back(probe, penstock):
    ended(probe, 5, 60, size=20_000)
    before = json.loads(penstock("db", "show", "--json")[1])["live_bytes"]
    out = penstock("db", "prune", "--max-size", "600kB", "--dry-run")[1]
    assert "more than 600 kB; the oldest ended tasks would go" in out
    assert "removed" in penstock("db", "prune", "--max-size", "600kB")[1]
    after = json.loads(penstock("db", "show", "--json")[1])
    assert after["live_bytes"] <= 600_000 < before
    assert after["file_bytes"] < before
    assert "nothing would go by size" in penstock("db", "prune", "--max-size", "1GB", "--dry-run")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say what to remove"),
        (["--older-than", "soon"], "is no length of time"),
        (["--max-size", "big"], "is no size"),
    ],
)
def test_prune_wants_to_know_what(probe, penstock, arguments, message):
    code, _, err = penstock("db", "prune", *arguments)
    assert code == 2
    assert message in err


def test_backup_makes_a_store_that_works(probe, penstock, tmp_path):
    (task,) = ended(probe, 1)
    assert penstock("db", "backup", "copy.db")[0] == 0
    with SqliteStore.open(tmp_path / "copy.db") as copy:
        assert copy.read(lambda reader: reader.task(task.id)) is not None
    assert penstock("db", "verify", "-s", "copy.db")[1] == "copy.db: nothing is wrong\n"
    code, _, err = penstock("db", "backup", "copy.db")
    assert code == 2
    assert "exists already" in err


def test_verify_tells_what_is_wrong(probe, penstock, tmp_path):
    ended(probe, 1)
    probe.store.close()
    with sqlite3.connect(tmp_path / "work.penstock.db") as connection:
        connection.execute("update tally set n = n + 1")
    connection.close()
    code, _, err = penstock("db", "verify")
    assert code == 1
    assert "tally of lane" in err
    code, out, _ = penstock("db", "verify", "--json")
    assert code == 1
    assert not json.loads(out)["ok"]


def test_uncertain_money_is_listed_and_given_back(probe, penstock):
    assert penstock("db", "uncertain")[1] == "no call is uncertain\n"
    now = time.time()
    task = probe.running(now=now, lane=LANE)
    ids = [probe.reserve(task, at=now, cost_held=to_pico("0.25")) for _ in range(3)]
    probe.settle(*(settled(id, ReservationState.UNCERTAIN, now) for id in ids))
    out = penstock("db", "uncertain")[1]
    assert "3 calls, $0.75" in out
    assert task.id in out
    code, _, err = penstock("db", "release", "999")
    assert (code, err) == (2, "penstock: not uncertain: 999; `penstock db uncertain` lists what is\n")
    assert penstock("db", "release")[0] == 2
    out = penstock("db", "release", str(ids[0]))[1]
    assert out.startswith("$0.25 of 1 call given back\nprocess 1 on host counts it")
    assert json.loads(penstock("db", "release", "--all", "--yes", "--json")[1])["released"] == ids[1:]
    assert probe.booked() == (0, 0)


def test_as_a_program_it_never_shows_a_traceback(tmp_path):
    """The real entry, in processes of its own: a bad store, a damaged one, and one that is there."""

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-c", "from penstock.cli import main; main()", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "PENSTOCK_STORE": ""},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    SqliteStore.open(tmp_path / "penstock.db").close()
    done = run("stats", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["tasks"]["by_status"] == {}
    damaged = bytearray((tmp_path / "penstock.db").read_bytes())
    damaged[100:5000] = b"\xff" * 4900
    (tmp_path / "bad.db").write_bytes(damaged)
    done = run("tasks", "--store", "bad.db")
    assert done.returncode == 2
    assert "bad.db" in done.stderr
    assert "Traceback" not in done.stderr
