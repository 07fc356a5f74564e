"""Control requests from another process: `cancel`, `retry`, `pause`, `resume`; also on a live manager."""

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from penstock.model.batch import Batch
from penstock.model.lane import Lane
from penstock.model.rank import Rank
from penstock.model.states import TaskStatus
from penstock.testing.store_probe import step_of, task_named

ROOT = Path(__file__).resolve().parents[2]
LLM = Lane("llm", "small-model")
WAIT_SECONDS = 20.0

LIVE = """
import asyncio, sys, time
from penstock import Limits, Manager, RateLimit, Settings, TaskOptions

async def nap(context):
    await asyncio.sleep(60)

async def quick(context):
    return context.data

async def gated(context):
    import httpx2
    async with httpx2.AsyncClient(transport=manager.transport(), base_url=sys.argv[2]) as client:
        await client.post("/chat/completions", json={"model": "m", "max_tokens": 8,
            "messages": [{"role": "user", "content": str(context.data)}]})

async def main():
    manager.register("nap", nap)
    manager.register("quick", quick)
    manager.register("gated", gated, model=lambda data: "m")
    async with manager:
        await manager.submit("nap", 1)
        for number in range(3):
            await manager.submit("gated", number)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await manager.stop(now=True)

manager = Manager(Settings(store=sys.argv[1], limits=Limits(rates=(RateLimit("requests", 1, 3600.0),))))
asyncio.run(main())
"""


def until(question):
    """What `question` answers as soon as that is true."""
    end = time.monotonic() + WAIT_SECONDS
    while not (answer := question()):
        assert time.monotonic() < end, "it never became true"
        time.sleep(0.02)
    return answer


def test_cancel_by_id_says_what_became_of_each(probe, penstock):
    now = time.time()
    ended = probe.running(now=now, lane=Lane("done"))
    probe.finish(ended)
    runs = probe.running(now=now, lane=Lane("runs"))
    waits = probe.add(lane=LLM)
    code, out, _ = penstock("cancel", waits.id, runs.id)
    assert code == 0
    assert out.splitlines() == [f"{waits.id} is cancelled", f"{runs.id} is told to stop"]
    assert probe.status(waits.id) is TaskStatus.CANCELLED
    assert [(one.kind, one.task) for one in probe.store.run(lambda tx: tx.controls(0))] == [
        ("cancel", runs.seq)
    ]
    code, out, _ = penstock("cancel", "--json", ended.id)
    assert code == 1
    assert json.loads(out)["too_late"] == [ended.id]
    code, _, err = penstock("cancel", waits.id, "nobody")
    assert (code, err) == (2, "penstock: there is no task nobody; `penstock tasks` lists them\n")


def test_cancel_by_filter_asks_first(probe, penstock, monkeypatch):
    for _ in range(3):
        probe.add(lane=LLM)
    other = probe.add(lane=Lane("other"))
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    code, _, err = penstock("cancel", "--type", "llm")
    assert code != 0
    assert "Cancel 3 tasks?" in err
    assert probe.counts() == {TaskStatus.QUEUED: 4}
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert penstock("cancel", "--type", "llm")[0] == 0
    assert probe.counts() == {TaskStatus.QUEUED: 1, TaskStatus.CANCELLED: 3}
    assert penstock("cancel", "--type", "other")[1] == f"{other.id} is cancelled\n"
    assert penstock("cancel", "--type", "other")[1] == "no task to cancel\n"
    code, _, err = penstock("cancel", "--status", "failed")
    assert code == 2
    assert "tasks that are failed are left alone" in err


def test_cancel_of_many_goes_in_chunks(probe, penstock):
    probe.offer(*(task_named(lane=LLM, tenant="a" if number % 2 else "b") for number in range(1300)))
    assert penstock("cancel", "--tenant", "a", "--yes")[1] == "650 cancelled\n"
    assert probe.counts() == {TaskStatus.QUEUED: 650, TaskStatus.CANCELLED: 650}
    assert probe.store.verify() == []


def failed(probe, lane=LLM, **fields):
    # Tasks that are tried again wait in the same line: this one goes before them.
    task = probe.running(now=time.time(), lane=lane, rank=Rank(-1, 0.0), **fields)
    probe.record(step_of(task, "paid"))
    probe.finish(task, TaskStatus.FAILED, time.time(), error='{"code":"bad","message":"no"}')
    return task


def test_retry_makes_a_new_task_with_the_journal(probe, penstock):
    old = failed(probe, payload='{"a":1}', options='{"timeout":5}', metadata='"m"', priority=40)
    data = json.loads(penstock("retry", "--json", old.id)[1])
    new = probe.view(data["retried"][0]["retried_as"])
    assert (new.retry_of, new.payload, new.options, new.metadata) == (old.id, {"a": 1}, {"timeout": 5}, "m")
    assert (new.status, new.priority, new.model) == (TaskStatus.QUEUED, 40, "small-model")
    assert [step["name"] for step in new.steps] == ["paid"]
    assert new.rank.key < time.time() - 30 * 60  # ranked as its priority asks, not as the last of all
    code, out, _ = penstock("retry", old.id)
    assert (code, out) == (0, f"{old.id} is tried again as {new.id} already\n")
    probe.finish(probe.claim(new.lane)[0], TaskStatus.FAILED)
    data = json.loads(penstock("retry", "--json", "--fresh", old.id)[1])
    newest = probe.view(data["retried"][0]["retried_as"])
    assert (newest.retry_of, newest.steps) == (new.id, [])


def test_retry_failed_may_be_typed_twice(probe, penstock):
    for _ in range(3):
        failed(probe)
    assert penstock("retry", "--failed")[1].splitlines()[-1] == "3 tried again"
    failed_too = failed(probe, lane=Lane("other"))
    assert penstock("retry", "--failed")[1].splitlines()[-1] == "1 tried again, 3 were already"
    assert failed_too.id in penstock("retry", "--failed", "--type", "other")[1]
    assert probe.counts()[TaskStatus.QUEUED] == 4


def test_retry_of_a_file_job_keeps_its_books(probe, penstock):
    batch = probe.store.run(
        lambda tx: tx.open_batch(Batch(0, "in", "/data/in.jsonl", "/data/out.jsonl", "e", "f", "", 0.0))
    )
    lines = [failed(probe, batch=batch.id, position=number) for number in range(3)]
    code, _, err = penstock("retry", lines[0].id)
    assert code == 2
    assert "penstock run /data/in.jsonl -o /data/out.jsonl --retry-failed" in err
    assert penstock("retry", "--failed")[0] == 1
    code, _, err = penstock("retry", "--failed", "--batch", "in.jsonl")
    assert code == 2
    assert "process 1 on host runs this store; when it has ended" in err
    probe.store.run(lambda tx: tx.leave(probe.node))
    data = json.loads(penstock("retry", "--failed", "--batch", "in.jsonl", "--json")[1])
    assert [one["id"] for one in data["retried"]] == [line.id for line in lines]
    assert probe.counts()[TaskStatus.QUEUED] == 3
    books = json.loads(probe.store.read(lambda reader: reader.batch(batch.id)).settings)
    assert books["stale"]
    assert books["retried_no"] > 0
    assert penstock("retry", "--failed", "--batch", "in.jsonl")[1] == "0 tried again\n"
    code, _, err = penstock("retry", "--failed", "--batch", "9")
    assert code == 2
    assert "there is no batch '9'; this store has 1 (/data/in.jsonl)" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "either ids or a filter"),
        (["--batch", "1"], "say which tasks to try again"),
        (["0123", "--failed"], "either ids or a filter"),
    ],
)
def test_retry_wants_to_know_what(probe, penstock, arguments, message):
    code, _, err = penstock("retry", *arguments)
    assert code == 2
    assert message in err or "no batch" in err


def test_retry_refuses_what_cannot_be_tried_again(probe, penstock):
    waits = probe.add(lane=Lane("other"))
    code, _, err = penstock("retry", waits.id)
    assert code == 2
    assert "only failed and cancelled tasks can be tried again" in err
    lost = probe.running(now=time.time(), lane=LLM, options='{"keep":false}')
    probe.finish(lost, TaskStatus.FAILED, keep=False, error='{"code":"bad"}')
    code, _, err = penstock("retry", lost.id)
    assert code == 2
    assert "were not kept" in err
    code, _, err = penstock("retry", "--failed")
    assert code == 1
    assert "1 left out" in err


def test_pause_and_resume_scopes_and_tasks(probe, penstock):
    task = probe.add(lane=LLM)
    assert penstock("pause")[1] == "the whole store is paused; what runs goes on\n"
    assert penstock("pause")[1] == "the whole store was paused already\n"
    assert json.loads(penstock("pause", "--type", "llm", "--json")[1])["pauses"] == ["all", "type:llm"]
    out = penstock("resume")[1].splitlines()
    assert out == ["the whole store goes on", "still paused: type:llm"]
    assert penstock("resume", "--type", "llm")[1] == "type llm goes on\n"
    assert penstock("pause", task.id)[1] == "1 task paused\n"
    assert probe.status(task.id) is TaskStatus.PAUSED
    code, _, err = penstock("pause", task.id)
    assert code == 2
    assert "is paused; only tasks that wait can be paused" in err
    assert penstock("resume", task.id)[1] == "1 task resumed\n"
    assert probe.status(task.id) is TaskStatus.QUEUED
    assert penstock("pause", task.id, "--type", "llm")[0] == 2


class Live:
    """A manager that dispatches the store in a process of its own."""

    def __init__(self, store, base_url):
        self.process = subprocess.Popen(
            [sys.executable, "-c", LIVE, str(store), base_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        )
        if self.process.stdout.readline() != "ready\n":
            self.kill()
            raise AssertionError("the manager did not start")

    def kill(self):
        self.process.kill()
        self.process.communicate()

    def end(self):
        out, _ = self.process.communicate("\n", timeout=WAIT_SECONDS)
        assert self.process.returncode == 0, out


@pytest.fixture
def live(tmp_path, monkeypatch):
    from penstock.simulator import SimulatorThread

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PENSTOCK_STORE", raising=False)
    with SimulatorThread() as simulated:
        running = Live(tmp_path / "live.penstock.db", simulated.base_url)
        try:
            yield running
        finally:
            running.kill()


def test_a_live_manager_is_seen_and_steered(live, penstock):
    def tasks(*arguments):
        return json.loads(penstock("tasks", "--json", *arguments)[1])["tasks"]

    (nap,) = until(lambda: tasks("--type", "nap", "--status", "running"))
    assert json.loads(penstock("why", "--json", nap["id"])[1])["reason"] == "handler"
    # One request an hour: the second call waits at the gate, and its node says so within a second.
    until(lambda: tasks("--type", "gated", "--status", "completed"))
    waiting = until(lambda: tasks("--type", "gated", "--status", "running"))[0]

    def at_gate():
        answer = json.loads(penstock("why", "--json", waiting["id"])[1])
        return answer if answer["reason"] == "requests" else None

    answer = until(at_gate)
    assert (answer["key"], answer["limits"][0]["limit"]) == ("rph", 1)
    assert "rph: 1 used of 1" in answer["explanation"]
    assert 3000 < answer["expected_seconds"] < 3700
    out = penstock("cancel", nap["id"])[1]
    assert out == f"{nap['id']} is told to stop\n"
    until(lambda: tasks("--type", "nap", "--status", "cancelled"))
    assert penstock("pause")[0] == 0
    assert str(live.process.pid) in penstock("stats")[1]
    live.end()
    assert "no process dispatches this store" in penstock("why", waiting["id"])[1]
    assert penstock("db", "verify")[0] == 0
