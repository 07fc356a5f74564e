"""`penstock plan`: the plan is shown with what it takes, run when that is wanted, never paid for twice."""

import io
import json
import os
import subprocess
import sys
import time

import pytest

from penstock.simulator import Latency, Limits, Script, SimulatorConfig, SimulatorThread

PLAN = {
    "subtasks": [
        {
            "id": 1,
            "name": "Find facts",
            "description": "Find them.",
            "dependencies": [],
            "estimated_time": "1 minute",
        },
        {
            "id": 2,
            "name": "Find prices",
            "description": "Find them.",
            "dependencies": [],
            "estimated_time": 30,
        },
        {"id": 3, "name": "Compare", "description": "Do so.", "dependencies": [1, 2], "estimated_time": 90},
    ]
}
SCRIPTS = [
    Script("Your subtask: Find facts", "Facts: 42"),
    Script("Your subtask: Find prices", "Prices: 7 EUR"),
    Script("Your subtask: Compare", "42 against 7"),
    Script('<result of="Compare"', "# The report\n\n42 against 7."),
    Script("The goal: a riddle", "no plan at all"),
    Script("That answer cannot be used", "still no plan"),
    Script("The goal: ", json.dumps(PLAN)),
]


@pytest.fixture
def provider():
    config = SimulatorConfig(limits=Limits(10_000, 10_000_000), scripts=tuple(SCRIPTS))
    with SimulatorThread(config) as simulator:
        yield simulator


@pytest.fixture
def plan(provider, penstock, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PENSTOCK_STORE", raising=False)
    monkeypatch.setenv("OPENAI_BASE_URL", provider.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    return lambda *words: penstock("plan", *words)


def paid(provider):
    return provider.stats()["answered"]


def test_a_dry_run_shows_the_plan_and_stops(plan, provider):
    code, out, err = plan("compare things", "--dry-run")
    assert code == 0
    assert "making the plan: one call of gpt-4o-mini, free; up to two more to repair it" in err
    assert out.splitlines()[2:6] == [
        "      id  subtask      done by  needs        time",
        " 1 *  1   Find facts   model    -      1 min 00 s",
        "      2   Find prices  model    -          30.0 s",
        " 2 *  3   Compare      model    1, 2   1 min 30 s",
    ]
    assert "4 slips of the model were put right" in out
    assert "calls:  4 model calls with the report" in out
    assert "cost:   free" in out
    assert "time:   about 3 min 30 s along 1 → 3 → report" in out
    assert paid(provider) == 1


def test_it_runs_when_told_and_pays_nothing_twice(plan, provider, tmp_path):
    plan("compare things", "--dry-run")
    code, out, err = plan("compare things", "--yes", "--output", "out/report.md")
    assert (code, out) == (0, "")
    assert "the plan was begun before" in err
    assert "[4/4] report completed" in err
    assert "the report is in out/report.md" in err
    assert (tmp_path / "out" / "report.md").read_text() == "# The report\n\n42 against 7.\n"
    assert paid(provider) == 5
    # The same command a third time: nothing is left to pay.
    code, out, err = plan("compare things", "--yes")
    assert out.strip() == "# The report\n\n42 against 7."
    assert "this plan was begun before" in err
    assert paid(provider) == 5
    assert plan("compare things", "--yes", "--again")[0] == 0
    assert paid(provider) == 10


def test_nobody_there_to_agree(plan, provider):
    code, _, err = plan("compare things")
    assert code == 0
    assert "not run: nobody is there to say so; --yes runs it" in err
    assert paid(provider) == 1


@pytest.mark.parametrize(("answer", "calls"), [("y\n", 5), ("n\n", 1)])
def test_it_asks_before_it_spends(plan, provider, monkeypatch, answer, calls):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    code, out, err = plan("compare things")
    assert code == 0
    assert "Run it?" in err
    assert ("# The report" in out) == (answer == "y\n")
    assert paid(provider) == calls


def test_json_of_a_plan_is_a_plan(plan, provider, tmp_path):
    code, out, _ = plan("compare things", "--dry-run", "--json")
    told = json.loads(out)
    assert code == 0
    assert [one["id"] for one in told["plan"]["subtasks"]] == ["1", "2", "3"]
    assert told["layers"] == [["1", "2"], ["3"]]
    assert told["critical_path"] == ["1", "3"]
    assert told["estimate"]["calls"] == 4
    assert told["estimate"]["cost"] == 0
    # Changed by hand, and run as it is: no call for the plan.
    told["plan"]["subtasks"].pop(1)
    told["plan"]["subtasks"][1]["dependencies"] = ["1"]
    (tmp_path / "mine.json").write_text(json.dumps(told))
    code, out, err = plan("compare things", "--plan", "mine.json", "--yes", "--json")
    told = json.loads(out)
    assert code == 0
    assert told["results"] == {"1": "Facts: 42", "3": "42 against 7"}
    assert told["rounds"] == [["1", "3"]]
    assert told["report"].startswith("# The report")
    assert "making the plan" not in err
    assert paid(provider) == 1 + 3


def test_a_price_is_told_where_there_is_one(plan, monkeypatch, provider):
    from penstock.runtime.weigher import Weigher

    monkeypatch.setattr(Weigher, "cost_of", lambda *_: 1_500_000_000)
    _, out, err = plan("compare things", "--dry-run")
    assert "one call of gpt-4o-mini, about $0.0015" in err
    assert "cost:   about $0.006;" in out
    monkeypatch.setattr(Weigher, "cost_of", lambda *_: None)
    _, out, err = plan("compare things", "--dry-run")
    assert "cost:   unknown: the model has no known price" in out


def test_what_makes_no_plan_says_why(plan, provider):
    code, out, err = plan("a riddle")
    assert (code, out) == (1, "")
    assert "no usable plan answer in 3 rounds: there is no JSON object in it" in err
    assert paid(provider) == 3


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--plan", "none.json"), "none.json: No such file"),
        (("--plan", "broken.json"), "--plan is no JSON"),
        (("--plan", "list.json"), "--plan must be a JSON object"),
        (("--plan", "cycle.json"), "plan: subtasks.0.dependencies: 'a' needs itself: a → a"),
        (("--deadline", "soon"), "--deadline 'soon' is no length of time"),
        (("--api-key-env", "NO_SUCH_KEY", "--base-url", "https://example.com/v1"), "NO_SUCH_KEY is not set"),
        (("--instructions", "@none.txt"), "none.txt: No such file"),
    ],
)
def test_what_a_user_can_mend_is_one_line(plan, provider, tmp_path, words, told):
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "cycle.json").write_text('{"subtasks": [{"id": "a", "name": "A", "dependencies": ["a"]}]}')
    code, _, err = plan("compare things", *words)
    assert code == 2
    assert told in err
    assert "Traceback" not in err
    assert paid(provider) == 0


def test_killed_and_started_again_it_goes_on(tmp_path):
    slow = SimulatorConfig(
        limits=Limits(10_000, 10_000_000), scripts=tuple(SCRIPTS), latency=Latency(0.3), seed=1
    )
    with SimulatorThread(slow) as provider:
        command = [sys.executable, "-m", "penstock", "plan", "compare things", "--yes", "--concurrency", "1"]
        where = {"OPENAI_BASE_URL": provider.base_url, "OPENAI_API_KEY": "none"}
        started = {"cwd": tmp_path, "env": {**os.environ, **where}, "stdin": subprocess.DEVNULL}
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **started
        ) as first:
            give_up = time.monotonic() + 60
            while paid(provider) < 3 and time.monotonic() < give_up:
                time.sleep(0.02)
            first.kill()
        again = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60, **started)
        assert again.returncode == 0, again.stderr
        assert again.stdout.strip() == "# The report\n\n42 against 7."
        assert "the plan was begun before" in again.stderr
        assert "this plan was begun before" in again.stderr
        # The plan, three subtasks and the report, and at most the one call that was in flight once more.
        assert paid(provider) <= 6
        assert provider.stats()["paid"]["twice"] <= 1
