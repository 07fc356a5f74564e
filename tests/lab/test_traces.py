"""Traces are read as documented, refused by line, written so that they can be read, made from statistics."""

from itertools import pairwise
from statistics import fmean, stdev

import pytest

from penstock.errors import ConfigurationError
from penstock.lab import Recipe, ServiceModel, at_load, generate, history, read_trace, write_trace
from penstock.lab.classes import CLASSES, Fill, filled
from penstock.lab.generate import read_recipe
from penstock.lab.service import total_service
from penstock.model.reservation import ReservationState
from penstock.stores.sqlite.store import SqliteStore
from penstock.testing.store_probe import NOW, Probe, settled

HEADER = "arrival_s,prompt_tokens,output_tokens"
ROW = '{"arrival_s": 0, "prompt_tokens": 5, "output_tokens": 6, %s}\n'


def write(folder, text, name="trace.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_csv_with_documented_columns(tmp_path):
    text = """arrival_s,tenant,prompt_tokens,output_tokens,priority,program,call,depends_on,think_s,latency_s
2.5,t1,100,20,HIGH,p,b,a x,0.5,9
1,,7,0,,p,a,,,9
0,,1,1,40,p,x,,,9
"""
    trace = read_trace(write(tmp_path, text))
    last = trace.requests[-1]
    assert [one.row for one in trace.requests] == [2, 1, 0]
    assert (last.arrival, last.prompt, last.output, last.tenant, last.priority) == (2.5, 100, 20, "t1", 30)
    assert (last.program, last.call, last.depends_on, last.think) == ("p", "b", ("a", "x"), 0.5)
    assert trace.name == "trace"
    assert trace.has_programs
    assert trace.span == 2.5


def test_json_lines(tmp_path):
    text = """{"arrival_s":0,"prompt_tokens":5,"output_tokens": 6, "depends_on": ["a", "b"], "deadline_s": 3}

{"arrival_s": 1.5, "prompt_tokens": 5, "output_tokens": 6, "tenant": null}
"""
    first, second = read_trace(write(tmp_path, text, "trace.jsonl")).requests
    assert first.depends_on == ("a", "b")
    assert first.deadline == 3
    assert (second.arrival, second.tenant) == (1.5, "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("arrival_s,prompt_tokens\n", "line 1: no column output_tokens"),
        (f"{HEADER}\n0,1,1\n-1,1,1\n", "line 3: arrival_s is '-1'; give a number of at least 0"),
        (f"{HEADER}\n0,1.5,1\n", "line 2: prompt_tokens is '1.5'; give a whole number of tokens"),
        (f"{HEADER}\n0,1,nan\n", "line 2: output_tokens is 'nan'"),
        (f"{HEADER}\n0,1\n", "line 2: give 3 values"),
        (f"{HEADER}\n0,1,1,1\n", "line 2: give 3 values"),
        (f"{HEADER},priority\n0,1,1,most\n", "line 2: priority 'most' is unknown"),
        (f"{HEADER},deadline_s\n0,1,1,0\n", "line 2: deadline_s is '0'; give a number above 0"),
        (f"{HEADER},size_noise\n0,1,1,-2\n", "line 2: size_noise is '-2'"),
        (
            f"{HEADER},depends_on,place\n0,1,1,a,mine\n",
            "place is 'mine'; give arrived, made, kept or nothing",
        ),
        (f"{HEADER},place\n0,1,1,kept\n", "place is 'kept', which is that of a call with depends_on"),
        (HEADER, "holds no request"),
        (f'{HEADER}\n0,1,"1\n', "is no CSV"),
        (f"{HEADER},output_tokens\n0,1,1,2\n", "line 1: column output_tokens is there twice"),
        (f"{HEADER}\n1e300,1,1\n", "line 2: arrival_s is '1e300'; give a number of at most 10,000,000,000"),
        (f"{HEADER}\n0,1,{'9' * 30}\n", "line 2: output_tokens is .*; give a number of at most"),
    ],
)
def test_malformed_csv_names_the_line(tmp_path, text, words):
    with pytest.raises(ConfigurationError, match=words):
        read_trace(write(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"arrival_s": 0, "prompt_tokens": 5, "output_tokens": 6}\n{"arrival', "line 2: no JSON"),
        ("[1]\n", "line 1: a JSON object is expected"),
        ('{"arrival_s": 0}\n', "line 1: no prompt_tokens, output_tokens"),
        ('{"arrival_s": true, "prompt_tokens": 5, "output_tokens": 6}\n', "line 1: arrival_s is True"),
        ("[" * 100_000, "line 1: no JSON"),
        (ROW % '"tenant": {"a": 1}', "line 1: tenant is {'a': 1}; give text"),
        (ROW % '"depends_on": [["a"]]', r"line 1: depends_on is \['a'\]; give text"),
        (ROW % '"priority": [1]', r"line 1: priority is \[1\]; give a name or 0 to 100"),
    ],
)
def test_malformed_json_names_the_line(tmp_path, text, words):
    with pytest.raises(ConfigurationError, match=words):
        read_trace(write(tmp_path, text, "trace.jsonl"))


def test_spaces_around_names_and_marks_of_windows_editors_do_no_harm(tmp_path):
    text = "\ufeffarrival_s, prompt_tokens , output_tokens\r\n0, 5, 6\r\n"
    (one,) = read_trace(write(tmp_path, text)).requests
    assert (one.prompt, one.output) == (5, 6)


@pytest.mark.parametrize(
    "text",
    ["rate=nan", "rate=inf", "burst=nan", "prompt=inf", "output_cv=1e9", "zipf=nan", "calls=inf", "noise=99"],
)
def test_statistics_that_are_none_are_refused(text):
    with pytest.raises(ConfigurationError, match="give a number from"):
        read_recipe(text)


def test_hardly_any_burst_is_a_metronome():
    times = [one.arrival for one in generate(read_recipe("burst=1e-200,requests=4")).requests]
    assert times == [0, 1, 2, 3]


def test_other_files_are_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="ends in"):
        read_trace(write(tmp_path, "x", "trace.txt"))
    path = tmp_path / "trace.csv"
    path.write_bytes(HEADER.encode() + b"\n\xff\xfe")
    with pytest.raises(ConfigurationError, match="no UTF-8"):
        read_trace(path)
    with pytest.raises(ConfigurationError, match="ends in"):
        write_trace(generate(Recipe(requests=3)), tmp_path / "trace.xml")
    assert not (tmp_path / "trace.xml").exists()


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
@pytest.mark.parametrize("programs", ["none", "chains", "dags"])
def test_what_is_written_is_read_again(tmp_path, suffix, programs):
    trace = filled(generate(Recipe(requests=30, programs=programs, noise=0.5)), Fill(noise_sigma=1.0))
    write_trace(trace, tmp_path / f"t{suffix}")
    again = read_trace(tmp_path / f"t{suffix}")
    assert len(again.requests) == len(trace.requests)
    for one, other in zip(trace.requests, again.requests, strict=True):
        assert other.arrival == pytest.approx(one.arrival, abs=1e-6)
        assert (other.prompt, other.output, other.tenant, other.priority, other.depends_on) == (
            one.prompt, one.output, one.tenant, one.priority, one.depends_on,
        )  # fmt: skip
        assert other.noise == pytest.approx(one.noise, abs=1e-6)


def test_generated_statistics():
    recipe = Recipe(requests=20_000, rate=4, prompt=800, prompt_cv=0.5, output=150, output_cv=1.5, tenants=3)
    trace = generate(recipe)
    outputs = [one.output for one in trace.requests]
    assert trace.span == pytest.approx(5000, rel=0.03)
    assert fmean(one.prompt for one in trace.requests) == pytest.approx(800, rel=0.02)
    assert fmean(outputs) == pytest.approx(150, rel=0.05)
    assert stdev(outputs) / fmean(outputs) == pytest.approx(1.5, rel=0.12)
    assert trace.tenants == ["t01", "t02", "t03"]
    assert generate(recipe) == trace
    assert generate(Recipe(seed=1)) != generate(Recipe(seed=2))


@pytest.mark.parametrize("burst", [0.0, 0.5, 3.0])
def test_burstiness_of_arrivals(burst):
    times = [one.arrival for one in generate(Recipe(requests=20_000, burst=burst)).requests]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert fmean(gaps) == pytest.approx(1.0, rel=0.08)
    assert stdev(gaps) == pytest.approx(burst, rel=0.15, abs=1e-9)


def test_generated_programs():
    dags = generate(Recipe(requests=200, programs="dags", calls=7))
    assert len({one.program for one in dags.requests}) == 200
    assert len(dags.requests) / 200 == pytest.approx(7, rel=0.15)
    chains = generate(Recipe(requests=500, programs="chains", calls=5))
    assert all(len(one.depends_on) <= 1 for one in chains.requests)
    assert len(chains.requests) / 500 == pytest.approx(5, rel=0.2)


def test_recipes_in_words():
    assert read_recipe("requests=5, rate=2,programs=dags", seed=9) == Recipe(5, 2.0, programs="dags", seed=9)
    for wrong in ("request=5", "requests=five", "rate=0", "programs=trees", "burst=-1"):
        with pytest.raises(ConfigurationError):
            read_recipe(wrong)


def test_loads_stretch_arrivals_only():
    trace, service = generate(Recipe(requests=500)), ServiceModel()
    at = at_load(trace, 0.8, 4, service)
    assert total_service(at, service) == pytest.approx(0.8 * 4 * at.span)
    assert [one.output for one in at.requests] == [one.output for one in trace.requests]
    with pytest.raises(ConfigurationError, match="load 0"):
        at_load(trace, 0, 4, service)


def test_classes_are_drawn_by_share_and_seed():
    trace = filled(generate(Recipe(requests=5000)), Fill(noise_sigma=0.5))
    for one in CLASSES:
        found = [request for request in trace.requests if request.priority == one.priority]
        assert len(found) / 5000 == pytest.approx(one.share, abs=0.03)
        assert {request.deadline for request in found} == {one.deadline_seconds}
    assert len(trace.tenants) == 20
    assert trace == filled(generate(Recipe(requests=5000)), Fill(noise_sigma=0.5))
    quiet = filled(generate(Recipe(requests=5000)), Fill())
    assert [one.priority for one in quiet.requests] == [one.priority for one in trace.requests]
    programs = filled(generate(Recipe(requests=50, programs="dags")), Fill())
    assert len({(one.program, one.tenant, one.priority) for one in programs.requests}) == 50


def test_what_a_trace_says_is_kept():
    trace = generate(Recipe(requests=50, tenants=4))
    assert filled(trace, Fill()).tenants == trace.tenants


def test_history_of_a_store(tmp_path):
    """Two tasks ran, one failed, one waits: the two are the trace."""
    with SqliteStore.open(tmp_path / "work.penstock.db") as store:
        probe = Probe(store)
        for number in range(2):
            at = NOW + 10 * number
            task = probe.running(at + 2, tenant="acme", priority=40, created_at=at, deadline=at + 60)
            call = probe.reserve(task)
            probe.settle(settled(call, ReservationState.SETTLED, input_tokens=100 + number, output_tokens=20))
            probe.finish(task, at=at + 5)
        with pytest.raises(ConfigurationError, match="no completed task"):
            history(store, tenant="nobody")
        trace = history(store)
    assert [(one.arrival, one.prompt, one.output) for one in trace.requests] == [(0, 100, 20), (10, 101, 20)]
    first = trace.requests[0]
    assert (first.tenant, first.priority, first.service, first.deadline) == ("acme", 40, 3.0, 60.0)
