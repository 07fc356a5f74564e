"""Whole jobs against the simulator, in this process."""

import asyncio
import json
from dataclasses import replace
from decimal import Decimal

import pytest

from penstock.cli.exit_codes import ExitCode
from penstock.cli.run.job import run_job
from penstock.cli.run.options import RunOptions
from penstock.errors import ConfigurationError
from penstock.manager import open_store
from penstock.runtime.settings import Settings
from penstock.simulator import Faults, Latency, Limits, SimulatorConfig, SimulatorThread


class Heard:
    """Progress that remembers."""

    def __init__(self):
        self.said, self.shown = [], []

    def say(self, text):
        self.said.append(text)

    def show(self, now):
        self.shown.append(now)

    def end(self, outcome):
        pass

    def close(self):
        pass


@pytest.fixture
def sim():
    with SimulatorThread(SimulatorConfig(latency=Latency(a=0.005))) as simulator:
        yield simulator


@pytest.fixture
def job(tmp_path, sim):
    source = tmp_path / "in.jsonl"
    return RunOptions(
        str(source),
        str(tmp_path / "out.jsonl"),
        base_url=(sim.base_url,),
        durability="normal",
        concurrency=20,
    )


def chat(number, **more):
    body = {"model": "sim", "messages": [{"role": "user", "content": f"prompt {number}"}], **more}
    return json.dumps(
        {"custom_id": f"r{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}
    )


def write(job, *lines):
    job.input_path.write_bytes(b"".join(line.encode() + b"\n" for line in lines))


def run(job):
    return asyncio.run(run_job(job, Heard()))


def records(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def lines_of(job):
    """Line numbers in results and in errors, sorted."""
    return tuple(sorted(one["line"] for one in records(path)) for path in (job.output_path, job.errors_path))


def test_every_line_ends_in_one_file(job, sim):
    long = '{"model":"sim","messages":"' + "x" * 2000 + '"}'
    bad = ["no json", "", chat(1, stream=True), chat(0), long]
    raw = json.dumps({"model": "sim", "input": "x", "metadata": {"row": 1}})
    write(job, *map(chat, range(40)), *bad, raw)
    end = run(replace(job, max_line_bytes=1000))
    assert (end.code, end.results, end.failed, end.open) == (ExitCode.LINES_FAILED, 41, 4, 0)
    assert lines_of(job) == ([*range(1, 41), 46], [41, 43, 44, 45])
    codes = {one["line"]: one["error"]["code"] for one in records(job.errors_path)}
    assert codes == {41: "bad_json", 43: "stream_in_file", 44: "duplicate_custom_id", 45: "line_too_long"}
    found = {one["line"]: one for one in records(job.output_path)}
    assert (found[46]["custom_id"], found[46]["metadata"]) == ("line-46", {"row": 1})
    assert found[1]["custom_id"] == "r0"
    assert found[1]["response"]["status_code"] == 200
    assert found[1]["response"]["body"]["choices"]
    assert found[1]["usage"]["output_tokens"] == 64
    assert sim.stats()["paid"]["twice"] == 0
    duplicate = next(one for one in records(job.errors_path) if one["line"] == 44)
    assert "line 1 before" in duplicate["error"]["message"]


def test_an_empty_file_is_a_job_done(job):
    write(job)
    assert (run(job).code, job.output_path.read_bytes()) == (ExitCode.OK, b"")


def test_bad_utf8_and_a_byte_order_mark(job):
    job.input_path.write_bytes(b"\xef\xbb\xbf" + chat(1).encode() + b"\r\n\xff\xfe\n" + chat(2).encode())
    run(job)
    assert lines_of(job) == ([1, 3], [2])


def test_the_same_command_again_pays_nothing(job, sim):
    write(job, *map(chat, range(30)))
    first, before = run(job), job.output_path.read_bytes()
    again = run(job)
    assert (first.calls, again.calls, again.code) == (30, 0, ExitCode.OK)
    assert job.output_path.read_bytes() == before


def test_appended_lines_are_read_on_and_changes_are_explained(job):
    write(job, *map(chat, range(5)))
    run(job)
    write(job, *map(chat, range(8)))
    assert run(job).calls == 3
    write(job, *map(chat, range(1, 9)))
    with pytest.raises(ConfigurationError, match=r"changed since 8 lines .* --restart"):
        run(job)
    end = run(replace(job, restart=True))
    assert (end.calls, lines_of(job)[0]) == (8, list(range(1, 9)))


def test_a_torn_tail_is_cut(job):
    write(job, *map(chat, range(5)))
    run(job)
    whole = job.output_path.read_bytes()
    job.output_path.write_bytes(whole + b'{"id":"batch_req_torn')
    run(job)
    assert job.output_path.read_bytes() == whole


@pytest.mark.parametrize("harm", ["missing", "short"])
def test_a_damaged_file_is_written_again(job, harm):
    write(job, *map(chat, range(5)), "bad")
    run(job)
    whole = {path: path.read_bytes() for path in (job.output_path, job.errors_path)}
    for path in whole:
        path.unlink() if harm == "missing" else path.write_bytes(path.read_bytes()[:30])
    assert run(job).calls == 0
    assert {path: path.read_bytes() for path in whole} == whole


def test_without_kept_replies_a_damaged_file_is_explained(job):
    job = replace(job, keep="none")
    write(job, *map(chat, range(5)))
    run(job)
    with open_store(Settings(store=job.store_name), read_only=True) as store:
        kept = store.read(lambda reader: reader.finished_lines(1, 0, 10))
    assert [(line.payload, line.result) for line in kept] == [(None, None)] * 5
    job.output_path.unlink()
    with pytest.raises(ConfigurationError, match="no longer in the store"):
        run(job)


def test_a_file_of_somebody_else_is_not_overwritten(job):
    write(job, chat(1))
    job.output_path.write_text("precious")
    with pytest.raises(ConfigurationError, match="was not written by a job"):
        run(job)
    assert job.output_path.read_text() == "precious"


def test_a_sample_first_then_the_rest(job):
    write(job, *map(chat, range(50)))
    first = run(replace(job, sample=10))
    assert (first.results, first.sample, lines_of(job)[0]) == (10, True, list(range(1, 11)))
    rest = run(job)
    assert (rest.calls, rest.results, rest.sample) == (40, 50, False)


def test_a_budget_and_then_more_of_it(job, sim):
    job = replace(job, price=("sim=1,1",))
    write(job, *(chat(n, max_tokens=64) for n in range(40)), "bad")
    end = run(replace(job, budget=Decimal("0.0015")))
    assert end.code == ExitCode.BUDGET_EXHAUSTED
    assert 0 < end.results < 25
    assert end.errors == {"budget_exhausted": 40 - end.results, "bad_json": 1}
    assert Decimal(end.cost_usd) <= Decimal("0.0015")
    more = run(replace(job, budget=Decimal(1), retry_failed=True))
    assert (more.code, more.results, more.errors) == (ExitCode.LINES_FAILED, 40, {"bad_json": 1})
    assert lines_of(job) == (list(range(1, 41)), [41])
    assert sim.stats()["paid"]["twice"] == 0
    job.errors_path.unlink()
    run(job)
    assert lines_of(job)[1] == [41]


def test_money_in_the_records_adds_up(job):
    write(job, *map(chat, range(5)))
    end = run(replace(job, price=("sim=1,2",)))
    found = records(job.output_path)
    expected = sum(one["usage"]["input_tokens"] + 2 * one["usage"]["output_tokens"] for one in found)
    assert (
        sum(Decimal(one["cost_usd"]) for one in found) == Decimal(end.cost_usd) == Decimal(expected) / 10**6
    )


def test_identical_lines_share_a_call(job, sim):
    same = json.dumps({"model": "sim", "messages": [{"role": "user", "content": "the same"}]})
    write(job, *[same] * 10)
    end = run(replace(job, merge=True, cache="1h"))
    assert (end.results, end.calls, end.shared) == (10, 1, 9)


def test_a_wrong_key_costs_no_line(job, tmp_path, monkeypatch):
    write(job, *map(chat, range(60)))
    monkeypatch.setenv("OPENAI_API_KEY", "wrong")
    with SimulatorThread(SimulatorConfig(api_key="right")) as sim:
        job = replace(job, base_url=(sim.base_url,))
        with pytest.raises(ConfigurationError, match=r"refuses the key.*OPENAI_API_KEY"):
            run(job)
        assert lines_of(job) == ([], [])
        monkeypatch.setenv("OPENAI_API_KEY", "right")
        assert run(job).results == 60


def test_an_unknown_model_stops_a_job_and_fails_a_line(job, monkeypatch):
    other = json.dumps({"model": "other", "messages": [{"role": "user", "content": "x"}]})
    with SimulatorThread(SimulatorConfig(models=("sim",), latency=Latency(a=0.02))) as sim:
        job = replace(job, base_url=(sim.base_url,))
        write(job, other)
        with pytest.raises(ConfigurationError, match=r"`other` does not exist"):
            run(job)
        assert run(replace(job, keep_going=True)).errors == {"not_found": 1}
        write(job, other, *map(chat, range(30)))
        end = run(replace(job, restart=True))
        assert (end.results, end.errors) == (30, {"not_found": 1})


def test_an_endpoint_that_is_not_there_costs_no_line(job, monkeypatch):
    monkeypatch.setattr("penstock.cli.run.guard.UNREACHABLE_AT_FIRST_SECONDS", 0.3)
    write(job, *map(chat, range(30)))
    with pytest.raises(ConfigurationError, match=r"cannot reach http://127\.0\.0\.1:1/v1"):
        run(replace(job, base_url=("http://127.0.0.1:1/v1",)))
    assert run(job).results == 30


def test_faults_fail_no_line_that_can_be_answered(job):
    faults = Faults(error_500=0.05, error_503=0.03, cut=0.03, malformed=0.03, insufficient_quota=0.02)
    write(job, *map(chat, range(80)))
    with SimulatorThread(SimulatorConfig(latency=Latency(a=0.005), faults=faults)) as sim:
        end = run(replace(job, base_url=(sim.base_url,), retries=8))
        stats = sim.stats()
    assert end.results + end.failed == 80
    assert set(end.errors) <= {"quota_exhausted"}
    assert sorted(lines_of(job)[0] + lines_of(job)[1]) == list(range(1, 81))
    assert stats["paid"]["answered_twice"] == 0


def test_limits_hold_and_progress_says_what_waits(job):
    limits = Limits(requests_per_window=100, window_seconds=2.0, kind="sliding")
    write(job, *map(chat, range(150)))
    heard = Heard()
    with SimulatorThread(SimulatorConfig(latency=Latency(a=0.005), limits=limits)) as sim:
        job = replace(job, base_url=(sim.base_url,), limit=("requests:100/2s",))
        end = asyncio.run(run_job(job, heard))
        assert sim.stats()["refused"] == 0
    assert end.refused == 0
    assert end.limit_use["requests/2s"] > 30
    assert any("requests" in now.waiting for now in heard.shown)
    assert heard.shown[-1].rates[0].limit == 100


def test_two_jobs_share_a_store(job, tmp_path):
    job = replace(job, store=str(tmp_path / "both.db"))
    other = replace(job, output=str(tmp_path / "other.jsonl"))
    write(job, *map(chat, range(20)))
    assert (run(job).results, run(other).results) == (20, 20)


def test_a_job_in_memory(job):
    write(job, *map(chat, range(20)))
    assert run(replace(job, store="memory")).results == 20
