"""`penstock bench`: that it measures, prints, judges and cleans up. The real sizes are the command itself."""

import json
import subprocess
import sys
from itertools import islice

import pytest

from penstock.cli import main
from penstock.cli.bench.limit_cases import limit_cases
from penstock.cli.bench.measurement import Figure, Measurement, at_least, at_most
from penstock.cli.bench.registry import MEASUREMENTS, chosen
from penstock.cli.bench.report import amount, data, lines
from penstock.errors import ConfigurationError
from penstock.stores.sqlite.yardstick import measure_yardstick

QUICK = ("add-one", "add-bulk", "drain", "idle", "claim", "flows", "rerank")


def bench(*arguments):
    command = [sys.executable, "-c", "from penstock.cli import main; main()", "bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_quick_measurements_as_json(tmp_path):
    done = bench(*QUICK, "--quick", "--json", "--durability", "normal", "--directory", str(tmp_path))
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)["measurements"]
    assert list(measured) == list(QUICK)
    assert all(figure["value"] >= 0 for figures in measured.values() for figure in figures)
    assert measured["drain"][0]["raw"] > 0
    assert list(tmp_path.iterdir()) == []


def test_sleeps_in_a_process_of_its_own_as_a_table(tmp_path):
    done = bench("sleeps", "--quick", "--directory", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "500 sleeps of 1 s, normal" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_limits_against_a_simulator_in_another_process(tmp_path):
    done = bench(
        "limits", "--quick", "--json", "--windows", "5", "--window-seconds", "0.6",
        "--cases", "fixed actual requests given", "--directory", str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    use, least, refused = json.loads(done.stdout)["measurements"]["limits"]
    assert 0 <= least["value"] <= use["value"]  # a busy machine may let a window pass without a call
    assert use["value"] > 0
    assert refused["name"] == "fixed actual requests given: refused"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["drian"], "there is no measurement drian; there are add-one"),
        (["--check", "--quick"], "--check judges the full sizes"),
        (["--directory", "nowhere-at-all"], "there is no such folder"),
        (["limits", "--cases", "hexagonal"], "no case of limits has 'hexagonal' in its name"),
    ],
)
def test_what_a_user_can_mend_is_one_line(capsys, arguments, said):
    with pytest.raises(SystemExit) as left:
        main(["bench", *arguments])
    assert left.value.code == 2
    assert said in capsys.readouterr().err


def test_list_names_all(capsys):
    with pytest.raises(SystemExit) as left:
        main(["bench", "--list"])
    assert not left.value.code
    shown = capsys.readouterr().out
    assert all(name in shown for name in MEASUREMENTS)


def test_long_ones_run_only_when_named():
    names = ["add-one", "add-bulk", "drain", "idle", "sleeps", "claim", "flows", "rerank", "gateway", "rest"]
    names.append("workflow")
    assert [one.name for one in chosen([])] == names
    assert [one.name for one in chosen(["limits", "drain"])] == ["drain", "limits"]
    with pytest.raises(ConfigurationError):
        chosen(["nonsense"])


def test_figures_are_shown_beside_raw_and_target():
    figures = [
        Figure("quick", 12_000, "tasks/s", 30_000, at_least(8_000), "a note"),
        Figure("slow", 7.25, "ms", None, at_most(5), "a note"),
    ]
    text = "\n".join(lines(Measurement("name", "summary", lambda _: iter(())), figures))
    assert "12,000 tasks/s" in text
    assert "0.40" in text
    assert text.count("a note") == 1
    assert [figure.missed for figure in figures] == [False, True]
    assert data(figures[0])["of_raw"] == pytest.approx(0.4)
    assert data(figures[1])["met"] is False


@pytest.mark.parametrize(
    ("value", "text"), [(36_120.4, "36,120"), (12.44, "12.4"), (0.0523, "0.0523"), (3.0, "3"), (99.96, "100")]
)
def test_amounts(value, text):
    assert amount(value) == text


def test_limit_cases_are_all_combinations():
    assert len(limit_cases()) == 24
    assert [case.learned for case in limit_cases("sliding reserved tokens")] == [False, True]
    sizes = [
        len(body["messages"][0]["content"]) / 4 for body in islice(limit_cases("tokens")[0].bodies(), 2_000)
    ]
    assert 1_000 < sum(sizes) / len(sizes) < 1_200


@pytest.mark.parametrize("batch", [1, 7, 100])
def test_yardstick_leaves_nothing(tmp_path, batch):
    measured = measure_yardstick(tmp_path, "normal", rows=150, batch=batch)
    assert measured.batch == batch
    assert 0 < measured.claim_and_finish < measured.claim
    assert measured.add > 0
    assert list(tmp_path.iterdir()) == []
