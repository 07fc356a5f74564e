"""A study becomes a table, JSON, one page and a picture; the command does it all."""

import json
import re
import sys
from dataclasses import replace

import pytest

import penstock.cli
from penstock.errors import ConfigurationError, MissingExtra
from penstock.lab import RateSetup, Recipe, Setup, generate, run_study, saturated
from penstock.lab.classes import Fill, filled
from penstock.lab.fairness import jain
from penstock.lab.metrics import quantile
from penstock.lab.page import html_page
from penstock.lab.plots import write_png
from penstock.lab.report import data_report, text_report
from penstock.lab.study import read_policy
from penstock.stores.sqlite.store import SqliteStore
from penstock.testing.store_probe import NOW, Probe

TRACE = filled(generate(Recipe(requests=400, seed=5)), Fill(tenants=4))
POLICIES = ("fifo", "shortest_job_first:ageing=0", "round_robin:time_slice=0.5", "fair:inside=fifo")


@pytest.fixture(scope="module")
def study():
    return run_study(TRACE, POLICIES, (0.7, 1.1), Setup(4))


@pytest.fixture(scope="module")
def program_study():
    trace = generate(Recipe(requests=40, programs="dags"))
    return run_study(trace, ("fifo", "program_fifo"), (0.9,), Setup(4))


def test_a_study_has_every_policy_at_every_load(study):
    assert [(one.load, one.policy) for one in study.outcomes] == [
        (load, name) for load in (0.7, 1.1) for name in POLICIES
    ]
    for one in study.outcomes:
        assert one.mean >= study.bounds[one.load]
        assert one.speed > 1000
        assert 0 < one.metrics.jain <= 1
        assert one.completion_curve[-1][1] == 1.0
        assert one.waiting_curve[-1][1] == 0.0


def test_the_table(study, program_study):
    text = "\n".join(text_report(study))
    assert "load 0.7: no schedule on these slots has a mean below" in text
    for name in POLICIES:
        assert len(re.findall(rf"^{re.escape(name)} ", text, re.MULTILINE)) == 2
    assert "*" in text
    assert "TPM" not in text
    programs = "\n".join(text_report(program_study))
    assert "40 programs" in programs
    assert "prog. p95" in programs


def test_json(study):
    data = json.loads(json.dumps(data_report(study)))
    first = data["outcomes"][0]
    assert (first["policy"], first["load"]) == ("fifo", 0.7)
    assert set(first["completion"]) == {"mean", "p50", "p95", "p99", "most"}
    assert [one["load"] for one in data["bounds"]] == [0.7, 1.1]


def test_the_page_needs_nothing_from_elsewhere(study, program_study):
    for one in (study, program_study):
        page = html_page(one)
        assert page.startswith("<!doctype html>")
        assert page.count("<svg") == 3 * len(one.loads) == page.count("</svg>")
        assert not re.search(r"https?:|src=|@import|url\(|<script", page)
        assert "NaN" not in page
        assert len(page) < 300_000
    assert "&lt;b&gt;" in html_page(run_study(generate(Recipe(requests=20)), ["fifo"])).replace(
        "generated", "&lt;b&gt;"
    )


def test_the_picture(study, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: extra `lab`")
    write_png(study, tmp_path / "lab.png")
    assert (tmp_path / "lab.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_without_matplotlib_names_the_extra(study, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r"penstock\[lab\]"):
        write_png(study, tmp_path / "lab.png")


def test_limits_have_their_columns():
    done = run_study(TRACE, ["fifo"], setup=Setup(64), rates=RateSetup(tokens=200_000, requests=2000))
    text = "\n".join(text_report(done))
    assert "limits: 200,000 tokens and 2,000 requests per 60 s, sliding at the provider" in text
    assert "TPM worst" in text
    assert data_report(done)["outcomes"][0]["limits"]["never_fit"] == 0


def test_policies_in_words():
    assert read_policy("shortest_job_first:ageing=0").ageing == 0
    assert read_policy("mlfq:levels=10/20.5").levels == (10, 20.5)
    assert read_policy("fair:inside=fifo:preemptive=false").preemptive is False
    for wrong in ("nope", "fifo:ageing", "round_robin:time_slice=0", "fifo:ageing=1"):
        with pytest.raises(ConfigurationError):
            read_policy(wrong)
    with pytest.raises(ConfigurationError, match="at least one policy"):
        run_study(TRACE, [])


def test_figures():
    assert quantile([1.0, 2.0, 3.0], 0.5) == 2.0
    assert quantile([1.0, 2.0], 0.25) == 1.25
    assert jain([1.0, 1.0]) == 1.0
    assert jain([1.0, 0.0]) == 0.5
    assert jain([0.0]) == 1.0


@pytest.fixture
def lab(monkeypatch, capsys, tmp_path):
    """Run `penstock lab` in this process; its exit code, output and complaints."""
    monkeypatch.setitem(penstock.cli.COMMANDS, "lab", "penstock.cli.lab:lab")
    monkeypatch.setitem(penstock.cli.SUMMARIES, "lab", "Replay a trace.")
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        with pytest.raises(SystemExit) as left:
            penstock.cli.main(["lab", *arguments])
        seen = capsys.readouterr()
        return left.value.code or 0, seen.out, seen.err

    return run


def test_the_command(lab, tmp_path):
    code, out, _ = lab("--generate", "requests=200,rate=2", "--save", "t.csv", "--html", "t.html")
    assert code == 0
    assert "wrote t.html" in out
    assert (tmp_path / "t.html").read_text().count("<svg") == 3
    code, out, _ = lab("t.csv", "--policies", "fifo, mlfq", "--load", "0.5,0.9", "--slots", "2", "--json")
    assert code == 0
    data = json.loads(out)
    assert [(one["load"], one["policy"]) for one in data["outcomes"]] == [
        (0.5, "fifo"), (0.5, "mlfq"), (0.9, "fifo"), (0.9, "mlfq"),
    ]  # fmt: skip
    assert data["setup"]["service"]["step_tokens"] == 64


def test_the_command_under_limits_and_with_programs(lab):
    code, out, _ = lab(
        "--generate", "requests=100,rate=5", "--tpm", "90000", "--rpm", "600", "-p", "fifo", "--json"
    )
    data = json.loads(out)
    assert code == 0
    assert data["setup"]["unit"] == "tokens"
    assert data["outcomes"][0]["limits"]["worst"]["tokens"] <= 1
    code, out, _ = lab("--generate", "requests=20,programs=chains", "--speed", "2", "--plain")
    assert code == 0
    assert "shortest_program" in out


def test_the_command_on_a_store(lab, tmp_path):
    with SqliteStore.open(tmp_path / "work.penstock.db") as store:
        probe = Probe(store)
        for number in range(5):
            at = NOW + 3 * number
            probe.finish(probe.running(at, created_at=at), at=at + 2)
    code, out, _ = lab("--store", "work.penstock.db", "--save", "history.jsonl", "-p", "fifo", "--json")
    data = json.loads(out)
    assert code == 0
    assert data["trace"]["requests"] == 5
    assert data["outcomes"][0]["completion"]["mean"] == 2.0
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 5


@pytest.mark.parametrize(
    ("calls", "words"),
    [
        (("a,b", "b,a"), "in a circle in program p (lines 2, 3)"),
        (("a,zz",), "depends on 'zz', which is no call of that program (line 2)"),
        (("a,", "b,", "a,"), "call 'a' is twice in program 'p' (lines 2, 4)"),
    ],
)
def test_programs_that_cannot_be_replayed_are_named(lab, tmp_path, calls, words):
    header = "arrival_s,prompt_tokens,output_tokens,program,call,depends_on"
    (tmp_path / "calls.csv").write_text("\n".join([header, *(f"0,1,2,p,{call}" for call in calls)]))
    code, _, complaint = lab("calls.csv", "-p", "fifo")
    assert (code, words in complaint) == (2, True), complaint


def test_a_trace_begins_at_0_whatever_its_clock_says():
    """Use of a limit is counted after a warm-up from the first arrival, not from 1970."""
    trace = generate(Recipe(requests=600, rate=2))
    late = replace(trace, requests=tuple(replace(one, arrival=one.arrival + 1.7e9) for one in trace.requests))
    rates = RateSetup(tokens=50_000, warmup=60.0)
    use = [run_study(one, ["fifo"], rates=rates).outcomes[0].limits.use["tokens"] for one in (trace, late)]
    assert use[0] == pytest.approx(use[1], rel=0.001)
    assert use[0] > 0.9


def test_a_name_or_a_load_given_twice_is_one_row():
    study = run_study(TRACE, ["fifo", "fifo"], (0.9, 0.9), Setup(4))
    assert len(study.outcomes) == 1


def test_lists_and_maps_as_settings():
    assert read_policy("mlfq:levels=64/").levels == (64.0,)
    fair = read_policy("fair:inside=round_robin:inside_settings=time_slice=2:weights=acme=2/zeta=0.5")
    assert fair.inside.time_slice == 2
    assert fair.weights == {"acme": 2.0, "zeta": 0.5}


def test_all_at_once_has_no_load():
    alone = run_study(saturated(TRACE), ["fifo"])
    assert json.loads(json.dumps(data_report(alone), allow_nan=False))["trace"]["natural_load"] is None
    assert "natural load" not in "".join(text_report(alone))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "name one source"),
        (("--generate", "x=1"), "'x=1' is not understood"),
        (("missing.csv",), "missing.csv"),
        (("--generate", "", "--policies", "nope"), "strategy 'nope' is unknown"),
        (("--generate", "", "--load", "much"), "--load 'much'"),
        (("--generate", "", "--service", "1,2"), "is not A,B,C"),
        (("--generate", "", "--tpm", "9999", "--provider", "x"), "provider 'x' is unknown"),
        (("--generate", "", "--speed", "0"), "above 0"),
        (("--generate", "", "--speed", "nan"), "--speed nan"),
        (("--generate", "", "--load", "nan"), "load nan: give a share"),
        (("--generate", "", "--service", "nan,0,0"), "service times are"),
        (("--generate", "", "--noise", "1e9"), "estimate noise is a number from 0 to 10"),
        (("--generate", "", "--html", "none/lab.html"), "none/lab.html cannot be written"),
        (("--generate", "", "--unit", "pages"), "unit 'pages' is unknown"),
        (("--store", "none.db"), "there is no store none.db"),
    ],
)
def test_what_the_user_can_mend_is_one_line(lab, arguments, words):
    code, _, complaint = lab(*arguments)
    assert code != 0
    assert words in complaint
    assert complaint.count("\n") == 1
