"""The example programs run as they stand, against the simulator, and print what they promise."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.simulator import Latency, Limits, Script, SimulatorConfig, SimulatorThread

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "examples"
PROGRAMS = sorted(path.name for path in FOLDER.glob("*.py") if path.name != "describe_statistics.py")
STATUSES = [
    "queued",
    "running",
    "paused",
    "completed",
    "failed",
    "cancelled",
    "retrying",
    "blocked",
    "suspended",
]

STATISTICS = [
    r"running True, paused False, up \d+\.\d s",
    r"queue: 0 wait \{'URGENT': 0, 'HIGH': 0, 'MEDIUM': 0, 'LOW': 0\}",
    r"slots: \d+ of \d+ in use",
    r"requests_per_minute: \d+ of 600",
    r"requests_per_hour: \d+ of any number",
    r"tokens_per_minute: \d+ of any number",
    r"total cost: \d+\.\d{6} USD",
    r"daily cost: \d+\.\d{6} USD",
    r"hourly cost: \d+\.\d{6} USD",
    r"tasks: \d+ in all, \{.*\}, \{.*\}",
    r"processed \d+: \d+ well, \d+ not \(\d+\.\d %\)",
    r"on average \d+\.\d{3} s in the queue, \d+\.\d{3} s at work",
]


@pytest.fixture(scope="module")
def provider():
    scripts = json.loads((FOLDER / "research_team_replies.json").read_text(encoding="utf-8"))
    config = SimulatorConfig(
        limits=Limits(10_000, 10_000_000),
        latency=Latency(0.02),
        scripts=tuple(Script(**one) for one in scripts),
    )
    with SimulatorThread(config) as simulator:
        yield simulator


@pytest.fixture
def run(provider, tmp_path):
    def start(program, *words):
        addresses = {
            "OPENAI_BASE_URL": provider.base_url,
            "OPENAI_API_KEY": "none",
            "XDG_DATA_HOME": str(tmp_path),
            "MPLCONFIGDIR": str(tmp_path),  # it says so where it cannot write at home
            "PYTHONIOENCODING": "utf-8",
        }
        done = subprocess.run(
            [sys.executable, "-W", "error", str(FOLDER / program), *words],
            cwd=tmp_path,
            env={**os.environ, **addresses},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        # A machine with much else to do makes the watchdog bark.
        assert [line for line in done.stderr.splitlines() if "blocks the event loop" not in line] == []
        assert list(tmp_path.rglob("*.db")), "its store is in the private folder"
        for wanted in STATISTICS:
            assert re.search(wanted, done.stdout), f"{wanted}\n{done.stdout}"
        for status in STATUSES:
            assert f"'{status}': " in done.stdout
        return done.stdout

    return start


def test_batch_analysis(run):
    said = run("batch_analysis.py")
    assert re.findall(r"(\d) of 8 repositories", said) == [str(number) for number in range(1, 9)]
    assert re.findall(r"^- (project-\d):", said, re.MULTILINE) == [f"project-{n}" for n in range(1, 9)]
    assert re.search(r"is completed: [1-9]\d* tokens, 0\.0\d* USD, \d\.\d\d s in the queue", said)
    assert re.search(r"created \d{4}-.*Z, completed \d{4}-.*Z", said)
    assert "{'batch_analysis': 1}" in said
    assert "requests_per_minute: 8 of 600" in said
    assert "of 1.000000" in said


def test_twenty_tasks(run):
    said = run("twenty_tasks.py")
    lines = re.findall(r"^ *(\d+) done, (\d+) run, +(\d+) wait, \d\.\d{6} USD", said, re.MULTILINE)
    assert lines
    assert all(int(running) <= 5 for _, running, _ in lines)
    assert re.search(r"classified as (sea|sky|land)", said)
    assert "{'llm_call': 20, 'text_classification': 1}" in said
    assert "processed 21: 21 well, 0 not (100.0 %)" in said


def test_budget_control(run):
    said = run("budget_control.py")
    first, second = re.findall(r"refused after (\d+) answers: (.*)", said)
    assert int(first[0]) > 0
    assert int(second[0]) > 0
    assert "hourly" in first[1]
    assert "USD left of the" in first[1]
    assert re.search(r"warning: more than 80 % of the .*hourly.* budget is spent", said)
    spent = [float(cost) for cost in re.findall(r"hourly cost: (\d\.\d{6}) USD", said)]
    assert spent[0] <= 0.05
    assert spent[1] <= 0.10
    assert re.search(r"total cost: 0\.000000 USD of 1\.000000", said)


def test_research_team(run):
    said = run("research_team.py")
    assert "searching for hydropower and solar" in said
    assert re.findall(r"^(\w+) is done$", said, re.MULTILINE) == ["searcher", "analyst", "writer"]
    assert "# Water and sun" in said
    assert "25.0 % a year" in said
    assert "{'agent': 3, 'research': 1}" in said
    # Started again, it goes on with what is there.
    again = run("research_team.py")
    assert "searching" not in again
    assert "# Water and sun" in again


def test_market_research(run, tmp_path):
    said = run("market_research.py", "--simulated", "--output", "report")
    assert "The answers are simulated; nothing is paid." in said
    assert "round 1: market, rivals, size-chart, segment-chart, share-chart, trend, analysis, chances" in said
    assert "'goal_tool': 5, 'llm_call': 3, 'workflow': 1}" in said
    folder = tmp_path / "report"
    charts = ["market-size-by-year.png", "shares-of-revenue.png", "units-sold-by-segment.png"]
    assert sorted(path.name for path in folder.iterdir()) == sorted([*charts, "report.html", "report.md"])
    drawn = [(folder / name).read_bytes() for name in charts]
    assert all(image.startswith(b"\x89PNG") and len(image) > 10_000 for image in drawn)
    text = (folder / "report.md").read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    assert headings[0].startswith("E-bikes in Europe")
    assert headings[-2:] == ["Sources", "How this report was made"]
    assert re.findall(r"!\[(.+)\]\((.+)\)", text) == [
        ("Market size by year", charts[0]),
        ("Units sold by segment", charts[2]),
        ("Shares of revenue", charts[1]),
    ]
    assert "| 4 | Median list prices, EUR | Example data set, table 4 | 2024 |" in text
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count('src="data:image/png;base64,') == 3
    assert page.count("<table>") == 3
    assert 'src="http' not in page
    # Started again, it goes on with what is there; the pictures are the same.
    (folder / "report.md").unlink()
    run("market_research.py", "--simulated", "--output", "report")
    assert (folder / "report.md").read_text(encoding="utf-8") == text
    assert [(folder / name).read_bytes() for name in charts] == drawn


def test_every_program_is_tried_and_listed():
    files = [path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py")]
    tried = {f"{name}.py" for text in files for name in re.findall(r"^def test_(\w+)\(", text, re.MULTILINE)}
    assert set(PROGRAMS) <= tried
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert [name for name in PROGRAMS if name not in page] == []
