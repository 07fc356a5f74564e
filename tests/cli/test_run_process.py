"""`penstock run` as its users have it: a process with signals, pipes, a terminal, and kill -9."""

import contextlib
import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from penstock.manager import open_store
from penstock.runtime.settings import Settings
from penstock.simulator import Latency, SimulatorConfig, SimulatorThread, request_hash

SOURCE = Path(__file__).resolve().parents[2] / "src"
PENSTOCK = [sys.executable, "-c", "from penstock.cli import main; main()", "run"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(SOURCE), "COLUMNS": "120", "TERM": "xterm"}


@pytest.fixture
def sim():
    with SimulatorThread(SimulatorConfig(latency=Latency(a=0.05))) as simulator:
        yield simulator


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def body(number):
    return {"model": "sim", "messages": [{"role": "user", "content": f"prompt {number}"}]}


def write_requests(path, count):
    path.write_text(
        "".join(json.dumps({"custom_id": f"r{n}", "url": URL, "body": body(n)}) + "\n" for n in range(count))
    )


URL = "/v1/chat/completions"


STARTED = []


@pytest.fixture(autouse=True)
def _no_process_stays():
    yield
    while STARTED:
        process = STARTED.pop()
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def start(sim, *arguments, **more):
    command = [*PENSTOCK, "--base-url", sim.base_url, "--durability", "normal", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    STARTED.append(subprocess.Popen(command, env=ENVIRONMENT, **{**pipes, **more}))
    return STARTED[-1]


def finish(process, data=None):
    out, err = process.communicate(data, timeout=60)
    return process.returncode, out.decode(), err.decode()


def custom_ids(path):
    return [json.loads(line)["custom_id"] for line in path.read_text().splitlines()] if path.exists() else []


def until(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this did not come about"
        time.sleep(0.01)


def test_exit_code_summary_and_plain_progress(folder, sim):
    write_requests(folder / "in.jsonl", 30)
    code, out, err = finish(start(sim, "in.jsonl", "-o", "out.jsonl"))
    assert (code, "30 in " in out, "0 refused" in out) == (0, True, True), err
    assert "\x1b" not in out + err
    code, out, _ = finish(start(sim, "in.jsonl", "-o", "out.jsonl", "--quiet"))
    assert (code, out) == (0, "")


def test_errors_of_users_are_one_line(folder, penstock):
    (folder / "in.jsonl").touch()
    for arguments, says in [
        (("none.jsonl",), "none.jsonl does not exist"),
        (("in.jsonl", "--api-key", "sk-1"), "shell's history"),
        (("in.jsonl", "--zone", "Mars"), "--zone"),
        (("in.jsonl", "--base-url", "localhost:80"), "no address"),
        (("in.jsonl", "--budget", "much"), "no amount of US dollars"),
        (("in.jsonl", "--budget", "1e400"), "too much"),
        (("in.jsonl", "--rpm", str(10**30)), "less than or equal"),
        (("-",), "-o"),
    ]:
        code, _, err = penstock("run", *arguments)
        assert (code, says in err) == (2, True), err


def test_interrupt_and_continue(folder, sim):
    write_requests(folder / "in.jsonl", 200)
    process = start(sim, "in.jsonl", "-o", "out.jsonl", "--concurrency", "5")
    until(lambda: sim.stats()["calls"] >= 20)
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process)
    assert code == 130, err
    assert "Continue with the same command" in out
    assert len(custom_ids(folder / "out.jsonl")) == sim.stats()["answered"] < 200
    assert finish(start(sim, "in.jsonl", "-o", "out.jsonl"))[0] == 0
    assert Counter(custom_ids(folder / "out.jsonl")) == Counter(f"r{n}" for n in range(200))
    assert sim.stats()["paid"]["twice"] == 0


def test_a_second_interrupt_leaves_at_once(folder):
    write_requests(folder / "in.jsonl", 5)
    with SimulatorThread(SimulatorConfig(latency=Latency(a=60.0))) as slow:
        process = start(slow, "in.jsonl", "-o", "out.jsonl")
        until(lambda: slow.stats()["in_flight"] > 0)
        process.send_signal(signal.SIGTERM)
        assert b"stopping" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert finish(process)[0] == 130


def test_a_paused_store_says_that_it_is_paused(folder, sim, penstock):
    write_requests(folder / "in.jsonl", 1)
    assert finish(start(sim, "in.jsonl", "-o", "out.jsonl"))[0] == 0
    assert penstock("pause")[0] == 0
    write_requests(folder / "in.jsonl", 3)
    process = start(sim, "in.jsonl", "-o", "out.jsonl", "--json")
    news = (json.loads(line) for line in process.stdout)
    assert any(one.get("waiting") == {"paused": 2} for one in news)
    assert penstock("resume")[0] == 0
    assert [one["results"] for one in news if one["event"] == "summary"] == [3]


def test_no_time_is_promised_while_a_day_must_end(folder, sim):
    write_requests(folder / "in.jsonl", 3)
    money = ("--price", "sim=1000,1000", "--daily-budget", "2.1")
    process = start(sim, "in.jsonl", "-o", "out.jsonl", "--json", "--concurrency", "1", *money)
    news = (json.loads(line) for line in process.stdout)
    waiting = next(one for one in news if one.get("waiting", {}).get("period"))
    assert waiting["left_seconds"] is None
    process.send_signal(signal.SIGTERM)


def test_a_budget_without_a_price_says_how_to_give_one(folder, sim):
    write_requests(folder / "in.jsonl", 1)
    code, out, _ = finish(start(sim, "in.jsonl", "-o", "out.jsonl", "--budget", "1", "--profile", "openai"))
    assert (code, "add --price MODEL=IN,OUT" in out) == (3, True)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")
def test_a_closed_terminal_lets_calls_finish(folder, sim):
    write_requests(folder / "in.jsonl", 200)
    process = start(sim, "in.jsonl", "-o", "out.jsonl", "--concurrency", "5")
    until(lambda: sim.stats()["calls"] >= 20)
    process.stderr.close()
    process.send_signal(signal.SIGHUP)
    until(lambda: process.poll() is not None)
    assert finish(start(sim, "in.jsonl", "-o", "out.jsonl"))[0] == 0
    assert Counter(custom_ids(folder / "out.jsonl")) == Counter(f"r{n}" for n in range(200))
    assert sim.stats()["paid"]["twice"] == 0


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random_moments(folder, sim, kills):
    count, chance, unsettled = 100 * kills, random.Random(7), 0
    write_requests(folder / "in.jsonl", count)
    for _ in range(kills):
        # Far enough that no line is in flight at three kills: such a line would be taken for poison.
        enough = sim.stats()["answered"] + 25
        process = start(sim, "in.jsonl", "-o", "out.jsonl", "--concurrency", "10")
        until(lambda: sim.stats()["answered"] >= enough)  # noqa: B023
        time.sleep(chance.uniform(0.0, 0.1))
        process.kill()
        process.communicate()
        with open_store(Settings(store="out.jsonl.penstock.db"), read_only=True) as store:
            unsettled += len(store.read(lambda reader: reader.reservations(("held",))))
        with (folder / "out.jsonl").open("ab") as file:
            file.write(b'{"torn')
    assert finish(start(sim, "in.jsonl", "-o", "out.jsonl"))[0] == 0
    assert Counter(custom_ids(folder / "out.jsonl")) == Counter(f"r{n}" for n in range(count))
    assert custom_ids(folder / "out.errors.jsonl") == []
    paid = [sum(sim.paid_for(request_hash(URL, body(n)))) for n in range(count)]
    assert min(paid) >= 1
    assert sum(paid) - count <= unsettled


def test_standard_input(folder, sim):
    write_requests(folder / "in.jsonl", 20)
    data = (folder / "in.jsonl").read_bytes()
    for given, code, says in [
        (data, 0, "20 in "),
        (data, 0, "calls:   0"),
        (b"", 0, "calls:   0"),
        (b" " + data, 2, "standard input changed"),
    ]:
        found, out, err = finish(start(sim, "-", "-o", "out.jsonl", stdin=subprocess.PIPE), given)
        assert (found, says in out + err) == (code, True), err
    assert sim.stats()["calls"] == 20


def test_standard_input_that_goes_on_is_called_as_it_comes(folder, sim):
    write_requests(folder / "in.jsonl", 3)
    process = start(sim, "-", "-o", "out.jsonl", stdin=subprocess.PIPE)
    process.stdin.write((folder / "in.jsonl").read_bytes())
    process.stdin.flush()
    until(lambda: sim.stats()["answered"] == 3)
    process.send_signal(signal.SIGINT)
    assert finish(process)[0] == 130
    assert len(custom_ids(folder / "out.jsonl")) == 3


def test_json_lines(folder, sim):
    write_requests(folder / "in.jsonl", 20)
    code, out, _ = finish(start(sim, "in.jsonl", "-o", "out.jsonl", "--json"))
    events = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert {event["event"] for event in events} >= {"progress", "summary"}
    assert (events[-1]["event"], events[-1]["results"], events[-1]["code"]) == ("summary", 20, 0)


def test_dry_run_needs_no_key_and_stores_nothing(folder, sim):
    write_requests(folder / "in.jsonl", 20)
    with (folder / "in.jsonl").open("a") as file:
        file.write("no json\n")
    arguments = ("in.jsonl", "--dry-run", "--rpm", "10", "--price", "sim=1,2", "--budget", "0.01")
    environment = {name: value for name, value in ENVIRONMENT.items() if not name.startswith("OPENAI")}
    done = subprocess.run(
        [*PENSTOCK, *arguments], env=environment, capture_output=True, text=True, check=True
    )
    assert "20 requests" in done.stdout
    assert "line 21: the line is no JSON" in done.stdout
    assert "at least 2 min 00 s under the limit rpm" in done.stdout
    assert [path.name for path in folder.iterdir()] == ["in.jsonl"]
    assert sim.stats()["calls"] == 0


def test_cookbook_flags(folder, sim):
    (folder / "in.jsonl").write_text('{"model":"text-embedding-3-small","input":"x","metadata":{"row":1}}\n')
    arguments = [*PENSTOCK, "--requests_filepath", "in.jsonl", "--save_filepath", "out.jsonl"]
    arguments += ["--request_url", sim.base_url + "/embeddings", "--max_requests_per_minute", "1500"]
    arguments += ["--max_attempts", "3", "--api_key", "abc", "--token_encoding_name", "cl100k_base"]
    done = subprocess.run(arguments, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--token_encoding_name is not used" in done.stderr
    found = json.loads((folder / "out.jsonl").read_text())
    assert (found["metadata"], len(found["response"]["body"]["data"])) == ({"row": 1}, 1)


def test_another_process_dispatches_the_store(folder, sim):
    write_requests(folder / "in.jsonl", 20)
    # Standard input that stays open keeps the first process at work.
    first = start(sim, "-", "-o", "a.jsonl", "--store", "both.db", stdin=subprocess.PIPE)
    first.stdin.write((folder / "in.jsonl").read_bytes())
    first.stdin.flush()
    until(lambda: sim.stats()["calls"] > 0)
    same = start(sim, "in.jsonl", "-o", "a.jsonl", "--store", "both.db")
    code, _, err = finish(start(sim, "in.jsonl", "-o", "b.jsonl", "--store", "both.db"))
    assert (code, f"process {first.pid}" in err) == (0, True), err
    code, _, err = finish(same)
    assert (code, "being written by another process" in err) == (2, True), err
    third = start(sim, "in.jsonl", "-o", "c.jsonl", "--store", "both.db")
    assert f"process {first.pid}".encode() in third.stderr.readline()
    first.kill()
    code, _, err = finish(third)
    assert (code, "taking over" in err or "continuing" not in err) == (0, True), err
    for name in ("b.jsonl", "c.jsonl"):
        assert Counter(custom_ids(folder / name)) == Counter(f"r{n}" for n in range(20))


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="a terminal needs a pty")
def test_a_terminal_gets_a_live_picture(folder, sim):
    write_requests(folder / "in.jsonl", 150)
    master, slave = os.openpty()
    process = start(sim, "in.jsonl", "-o", "out.jsonl", "--concurrency", "10", stderr=slave)
    os.close(slave)
    seen = b""
    with contextlib.suppress(OSError):  # the end of a pty is an error on Linux
        while select.select([master], [], [], 30)[0] and (data := os.read(master, 65536)):
            seen += data
    out = process.communicate(timeout=30)[0].decode()
    os.close(master)
    text = seen.decode()
    assert process.returncode == 0, text
    for wanted in ("done", "running", "requests/min", "spent", "of 150 lines", "\x1b["):
        assert wanted in text
    assert "150 in " in out
