"""`kill -9` in the middle of commits: everything acknowledged is there, and the file is sound."""

import itertools
import os
import subprocess
import sys
import time

import pytest

from penstock.stores.sqlite.store import SqliteStore

WORKER = """
import os, sys
from penstock.model.reservation import Reservation
from penstock.model.states import TaskStatus
from penstock.model.task import Finish
from penstock.stores.sqlite.store import SqliteStore
from penstock.testing.store_probe import Probe, task_named

store = SqliteStore.open(sys.argv[1], sys.argv[2])
probe = Probe(store)
say = lambda word, id: os.write(1, f"{word} {id}\\n".encode())
while True:
    added = probe.offer(*(task_named(payload='"' + "x" * 3000 * (n % 2) + '"') for n in range(20)))
    added += probe.offer(*(task_named(after=(one.id,), expires_at=0.0) for one in added[:5]))
    for one in added:
        say("added", one.id)
    claimed = probe.claim(added[0].lane, 10)
    hold = Reservation(claimed[0].seq, 1, "s", "echo", "m", "e", "", probe.node, 0.0, 1, 2, 3)
    [reservation] = store.run(lambda tx: tx.reserve([hold]))
    say("reserved", reservation)
    ends = [Finish(task, TaskStatus.COMPLETED, task.claimed_at, "1") for task in claimed]
    assert all(store.run(lambda tx: tx.finish(ends)))
    for task in claimed:
        say("finished", task.id)
"""


def run_and_kill(path, durability, seconds):
    """What a worker had said when it was killed."""
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, str(path), durability], stdout=subprocess.PIPE
    ) as worker:
        said = worker.stdout.readline()
        killed_at = time.monotonic() + seconds
        os.set_blocking(worker.stdout.fileno(), False)
        while time.monotonic() < killed_at:
            said += worker.stdout.read() or b""
            time.sleep(0.001)
        worker.kill()
        worker.wait(timeout=30)
        os.set_blocking(worker.stdout.fileno(), True)
        said += worker.stdout.read()
    lines = said.decode().split("\n")[:-1]
    return [line.split() for line in lines]


@pytest.mark.skipif(sys.platform == "win32", reason="pipes are read without waiting")
@pytest.mark.parametrize("durability", ["full", "normal"])
def test_everything_acknowledged_survives(tmp_path, durability):
    path = tmp_path / "s.db"
    said = list(itertools.chain(*(run_and_kill(path, durability, 0.05 + 0.03 * n) for n in range(3))))
    assert len({word for word, _ in said}) == 3, "the workers were killed before they did anything"
    with SqliteStore.open(path, read_only=True) as store:
        views = {
            id: store.read(lambda reader, id=id: reader.task(id)) for word, id in said if word != "reserved"
        }
        held = {view.id for view in store.read(lambda reader: reader.reservations(["held"], 100_000))}
        faults = store.verify()
    assert faults == []
    assert None not in views.values()
    assert {views[id].status.value for word, id in said if word == "finished"} == {"completed"}
    assert {int(id) for word, id in said if word == "reserved"} <= held
