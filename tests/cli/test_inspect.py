"""Looking into a store from another process: `tasks`, `show`, `why`, `stats`, and finding the store."""

import json
import re
import time

import pytest

from penstock.cli.amounts import read_size, read_span
from penstock.cli.show_text import about, money, size, span
from penstock.cli.stores import find_store
from penstock.errors import ConfigurationError
from penstock.model.lane import Lane
from penstock.model.reservation import ReservationState
from penstock.model.states import TaskStatus
from penstock.model.usage import to_pico
from penstock.stores.contract import Gauge, WaitRow
from penstock.stores.sqlite.store import SqliteStore
from penstock.testing.store_probe import settled, step_of

LLM = Lane("llm", "small-model")


def test_tasks_lists_the_newest_first_and_filters(probe, penstock):
    now = time.time()
    done = probe.running(now=now - 100, lane=LLM, priority=40, tenant="acme")
    probe.finish(done, TaskStatus.FAILED, now, error='{"code":"timeout","message":"too slow"}')
    waiting = probe.add(at=now, lane=LLM)
    code, out, _ = penstock("tasks")
    lines = out.splitlines()
    assert code == 0
    assert lines[0].split() == ["ID", "STATUS", "TYPE/MODEL", "PRIO", "AGE", "TRY", "TOKENS", "COST", "ERROR"]
    assert [line.split()[0] for line in lines[1:]] == [waiting.id, done.id]
    assert "timeout" in lines[2]
    assert "llm/small-model" in lines[2]
    for arguments in (["--status", "failed"], ["--tenant", "acme"], ["--oldest", "-n", "1"], [done.id]):
        _, out, _ = penstock("tasks", "--json", *arguments)
        (task,) = json.loads(out)["tasks"]
        assert (task["id"], task["error"]["code"]) == (done.id, "timeout")


def test_tasks_says_that_there_are_none_or_more(probe, penstock):
    assert penstock("tasks")[1] == "no tasks in this store\n"
    for _ in range(3):
        probe.add()
    assert "and more; --limit 10" in penstock("tasks", "-n", "2")[1]
    assert penstock("tasks", "--type", "nothing")[1] == "no tasks match\n"
    code, _, err = penstock("tasks", "--status", "sleeping")
    assert code == 2
    assert "it can be queued, running" in err


def test_show_prints_the_whole_task(probe, penstock):
    now = time.time()
    task = probe.running(
        now=now, lane=LLM, payload=json.dumps({"prompt": "x" * 5000}), options='{"timeout":9}'
    )
    probe.record(step_of(task, "POST /v1/chat/completions", at=now))
    probe.reserve(task, at=now, model="small-model")
    lost = probe.reserve(task, at=now, cost_held=to_pico("0.5"))
    probe.settle(settled(lost, ReservationState.UNCERTAIN, now))
    probe.finish(task, at=now + 1, result='{"answer":42}')
    code, out, _ = penstock("show", task.id)
    assert code == 0
    for part in (
        "more characters; --full",
        '"timeout": 9',
        "POST /v1/chat",
        "uncertain",
        "$0.50",
        '"answer": 42',
    ):
        assert part in out
    assert "submitted" in out
    assert len(out) < 4000
    assert "x" * 5000 in penstock("show", "--full", task.id)[1]
    data = json.loads(penstock("show", "--json", task.id)[1])
    assert data["result"] == {"answer": 42}
    assert [step["name"] for step in data["steps"]] == ["POST /v1/chat/completions"]
    assert {one["state"] for one in data["reservations"]} == {"held", "uncertain"}
    assert [event["kind"] for event in data["events"]][:2] == ["submitted", "started"]


def test_ids_may_be_unique_beginnings(probe, penstock):
    for id in ("0a" * 16, "0ab" + "1" * 29, "0ab" + "2" * 29, "0b" * 16):
        probe.add(id=id)
    assert json.loads(penstock("show", "--json", "0b")[1])["id"] == "0b" * 16
    code, _, err = penstock("show", "0ab")
    assert code == 2
    assert f"several ids begin with 0ab: 0ab{'1' * 29}, 0ab{'2' * 29}; give more of it" in err
    code, _, err = penstock("show", "ffff")
    assert (code, err) == (2, "penstock: there is no task ffff; `penstock tasks` lists them\n")


def test_the_store_is_found_or_the_choice_is_listed(tmp_path, penstock, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PENSTOCK_STORE", raising=False)
    code, _, err = penstock("tasks")
    assert code == 2
    assert "there is no store in" in err
    SqliteStore.open("penstock.db").close()
    assert penstock("tasks")[0] == 0
    SqliteStore.open("b.penstock.db").close()
    code, _, err = penstock("tasks")
    assert code == 2
    assert err.splitlines()[1:] == ["  --store b.penstock.db", "  --store penstock.db"]
    assert penstock("tasks", "--store", "b.penstock.db")[0] == 0
    monkeypatch.setenv("PENSTOCK_STORE", "gone.db")
    code, _, err = penstock("cancel", "x")
    assert code == 2
    assert "there is no store gone.db" in err
    assert not (tmp_path / "gone.db").exists()
    (tmp_path / "no.db").write_text("not a database at all, only text of some length")
    code, _, err = penstock("tasks", "-s", "no.db")
    assert code == 2
    assert "no SQLite file" in err
    with pytest.raises(ConfigurationError):
        find_store(None, tmp_path / "nowhere")


def why(penstock, id):
    return json.loads(penstock("why", "--json", id)[1])


def test_why_of_a_task_in_line(probe, penstock):
    now = time.time()
    first, second = probe.add(at=now, lane=LLM), probe.add(at=now + 0.001, lane=LLM)
    assert "1 task goes first in its line" in penstock("why", second.id)[1]
    assert "how long: not known" in penstock("why", second.id)[1]
    runs = probe.take(first, now)
    waits = [WaitRow(runs.seq, "requests", "rpm", now + 30, now)]
    gauges = [Gauge("rpm", 58, 2, 60, now)]
    probe.store.run(lambda tx: tx.write_waits(probe.node, waits, gauges))
    answer = why(penstock, second.id)
    assert (answer["reason"], answer["key"], answer["ahead"]) == ("requests", "rpm", 0)
    assert "rpm: 58 used and 2 held of 60" in answer["explanation"]
    answer = why(penstock, first.id)
    assert (answer["reason"], answer["status"]) == ("requests", "running")
    assert 29.9 - (time.time() - now) <= answer["expected_seconds"] <= 30
    assert "it waits for the request limit rpm" in answer["explanation"]


def test_why_estimates_from_the_last_minute(probe, penstock):
    now = time.time()
    other = probe.running(now=now - 40, lane=Lane("other"))
    probe.finish(other, at=now - 20)
    for number in range(10):
        done = probe.running(now=now - 30 + number, lane=LLM)
        probe.finish(done, at=now - 20 + number)
    added = [probe.add(at=now + number / 1000, lane=LLM) for number in range(120)]
    answer = why(penstock, added[-1].id)
    assert answer["ahead"] == 119
    # Ten ended in the 40 seconds (and what this test took) since the first event: 120 take eight minutes.
    assert 440 < answer["expected_seconds"] < 12 * (41 + time.time() - now)
    pattern = r"about (8|9|1\d) minutes, at the rate of the last [45]"
    assert any(re.search(pattern, line) for line in answer["explanation"])


def test_why_names_pauses_and_the_missing_process(probe, penstock):
    now = time.time()
    task = probe.add(at=now, lane=LLM, tenant="acme")
    penstock("pause", "--type", "llm")
    penstock("pause", "--tenant", "acme")
    answer = why(penstock, task.id)
    assert answer["reason"] == "paused"
    assert any("penstock resume --type llm" in line for line in answer["explanation"])
    assert any('penstock resume --tenant "acme"' in line for line in answer["explanation"])
    penstock("resume", "--type", "llm", "--tenant", "acme")
    assert why(penstock, task.id)["reason"] == "line"
    probe.store.run(lambda tx: tx.leave(probe.node))
    answer = why(penstock, task.id)
    assert answer["reason"] == "nobody_dispatches"
    assert "no process dispatches this store now" in answer["explanation"][-1]
    old = probe.add(at=now - 60, lane=Lane("unknown"))
    probe.node = probe.store.run(lambda tx: tx.join("n", 1, "host", now, now + 30))
    answer = why(penstock, old.id)
    assert answer["reason"] == "not_started"
    assert any("have no handler for 'unknown'" in line for line in answer["explanation"])


def test_why_of_a_running_task(probe, penstock):
    now = time.time()
    task = probe.running(now=now - 5, lane=LLM)
    assert "attempt 1 has run for 5" in penstock("why", task.id)[1]
    probe.reserve(task, at=now - 3, model="small-model")
    answer = why(penstock, task.id)
    assert answer["reason"] == "in_flight"
    assert "a call to small-model has been in flight for 3" in answer["explanation"][1]
    probe.store.run(lambda tx: tx.renew(probe.node, now - 1))
    answer = why(penstock, task.id)
    assert answer["reason"] == "node_lost"
    assert "the process that ran it is gone" in penstock("why", task.id)[1]


def test_why_of_a_retrying_task(probe, penstock):
    now = time.time()
    task = probe.running(now=now, lane=LLM, options='{"max_retries":2}')
    error = '{"code":"overloaded","message":"try later","attempt":1}'
    probe.put_back(task, TaskStatus.RETRYING, now, due_at=now + 90, error=error)
    answer = why(penstock, task.id)
    assert answer["reason"] == "due"
    first, second, *_ = answer["explanation"]
    assert first == "attempt 1 failed: overloaded: try later; attempt 2 of at most 3 comes next"
    assert second.startswith("it may start at ")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (TaskStatus.COMPLETED, "it ended at"),
        (TaskStatus.FAILED, "to try it again: penstock retry"),
        (TaskStatus.CANCELLED, "to try it again: penstock retry"),
    ],
)
def test_why_of_an_ended_task(probe, penstock, status, words):
    task = probe.running(now=time.time(), lane=LLM)
    probe.finish(task, status, time.time(), error='{"code":"bad","message":"no"}')
    out = penstock("why", task.id)[1]
    assert words in out
    assert ("bad: no" in out) == (status is not TaskStatus.COMPLETED)


def test_why_of_paused_and_suspended_tasks(probe, penstock):
    now = time.time()
    paused = probe.add(at=now, lane=LLM)
    penstock("pause", paused.id)
    assert f"penstock resume {paused.id}" in penstock("why", paused.id)[1]
    sleeping = probe.running(now=now, lane=Lane("nap"))
    probe.put_back(sleeping, TaskStatus.SUSPENDED, now, due_at=now + 7200)
    assert "it sleeps until" in penstock("why", sleeping.id)[1]
    waiting = probe.running(now=now, lane=Lane("nap"))
    probe.put_back(waiting, TaskStatus.SUSPENDED, now)
    assert f"penstock resume {waiting.id} does" in penstock("why", waiting.id)[1]


def test_stats_counts_tasks_money_limits_and_nodes(probe, penstock):
    now = time.time()
    assert "no tasks in this store" in penstock("stats")[1]
    task = probe.running(now=now, lane=LLM, priority=30)
    probe.add(at=now, lane=LLM)
    paid, lost, _held = (
        probe.reserve(task, at=now, model="small-model", cost_held=to_pico("0.25")) for _ in range(3)
    )
    probe.settle(
        settled(
            paid, ReservationState.SETTLED, now, input_tokens=1000, output_tokens=500, cost=to_pico("1.5")
        ),
        settled(lost, ReservationState.UNCERTAIN, now),
    )
    gauges = [
        Gauge("tpm:small-model", 1500, 150, 90_000, now),
        Gauge("total budget", to_pico(2), 0, to_pico(5), now),
    ]
    probe.store.run(lambda tx: tx.write_waits(probe.node, [], gauges))
    code, out, _ = penstock("stats")
    assert code == 0
    for part in (
        "$1.75",
        "$0.25 are held",
        "tpm:small-model: 1,500 used and 150 held of 90,000",
        "process 1 on host",
    ):
        assert part in out
    assert "total budget: $2.00 used of $5.00" in out
    data = json.loads(penstock("stats", "--json")[1])
    assert data["tasks"]["by_status"] == {"queued": 1, "running": 1}
    assert data["tasks"]["by_priority"] == {"30": {"running": 1}, "20": {"queued": 1}}
    assert data["spend"]["small-model"]["total_usd"] == 1.75
    assert data["spend"]["small-model"]["today_usd"] == 1.75
    assert data["spend"]["small-model"]["uncertain_usd"] == 0.25
    assert [one.get("limit_usd", one.get("limit")) for one in data["limits"]] == [5.0, 90_000.0]
    assert data["store"]["file_bytes"] > 0


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (money(0), "$0"),
        (money(to_pico("1234.5")), "$1,234.50"),
        (money(to_pico("0.5")), "$0.50"),
        (money(to_pico("0.00012345")), "$0.0001234"),
        (size(999), "999 B"),
        (size(1_234_567), "1.2 MB"),
        (span(0.25), "0.2 s"),
        (span(90), "2 min"),
        (span(7200), "2 h"),
        (about(0.2), "less than a second"),
        (about(61), "about 61 seconds"),
        (about(180), "about 3 minutes"),
        (about(3 * 86_400), "about 3 days"),
        (str(read_span("7d", "")), "604800.0"),
        (str(read_span("90 min", "")), "5400.0"),
        (str(read_size("1.5GB", "")), "1500000000"),
        (str(read_size("2MiB", "")), "2097152"),
    ],
)
def test_amounts_are_readable(made, text):
    assert made == text


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "7 parsecs"])
def test_no_length_of_time(text):
    with pytest.raises(ConfigurationError, match="--older-than"):
        read_span(text, "--older-than")
