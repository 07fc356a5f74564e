"""The demo as a user starts it, in its quick form; and its corpus."""

import json
import os
import re
import subprocess
import sys
from collections import Counter

import pytest

from penstock.cli.demo import corpus
from penstock.cli.demo.command import make_folder
from penstock.cli.demo.plan import FULL, QUICK
from penstock.errors import ConfigurationError

START = "from penstock.cli import main; main()"


def run_quick_demo(folder):
    return subprocess.run(
        [sys.executable, "-c", START, "demo", "--quick", "--directory", "here"],
        cwd=folder,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", "NO_COLOR": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=50,
        check=False,
    )


def test_quick_demo_ends_with_every_line_in_one_file_once(tmp_path):
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        done = run_quick_demo(folder)
        # A machine that stood still for longer than the windows' guard has a right to a second try.
        if re.search(r"\s0 of \d+ calls refused", done.stdout):
            break
    here = folder / "here"
    assert done.returncode == 0, done.stdout + done.stderr
    asked = ids(here / "requests.jsonl")
    found = Counter(ids(here / "results.jsonl") + ids(here / "results.errors.jsonl"))
    assert len(asked) == len(set(asked)) == QUICK.requests
    assert found == Counter(asked)
    assert "Planned crash: killed with SIGKILL" in done.stdout
    assert done.stdout.count("$ penstock run requests.jsonl") == 2
    assert "✘" not in done.stdout


def ids(path):
    with path.open(encoding="utf-8") as file:
        return [json.loads(line)["custom_id"] for line in file]


def test_requests_are_at_least_300_equal_each_time_and_distinct():
    for plan in (FULL, QUICK):
        assert plan.requests >= 300
    sections = corpus.collect(FULL.requests)
    assert sections == corpus.collect(FULL.requests)
    assert len({section.id for section in sections}) == len({section.prompt for section in sections}) == 360


def test_the_standard_library_fills_up_where_there_are_few_packages(monkeypatch):
    monkeypatch.setattr(corpus, "readmes", lambda: iter([("small", "# One\n\n" + "word " * 40)]))
    sections = corpus.collect(300)
    assert len(sections) == 300
    assert [section.package for section in sections[:2]] == ["small", "abc"]


def test_readmes_are_cut_at_their_headings():
    prose = (
        "This is a sentence that is long enough to be worth a summary, and it says a little more than that."
    )
    markdown = f"{prose}\n\n# First #\n{prose}\n```sh\n# no heading\n```\n## Too short\nx\n### Last\n{prose}"
    assert [one.heading for one in corpus.split("p", markdown)] == ["Introduction", "First", "Last"]
    underlined = f"Title\n=====\n\n{prose}\n\nNext part\n---------\n{prose}\n"
    assert [(one.id, one.heading) for one in corpus.split("p", underlined)] == [
        ("p-001", "Title"),
        ("p-002", "Next part"),
    ]


def test_requests_are_scarcer_than_tokens():
    longest = (corpus._LONGEST + 200) // 4 + corpus.CAP
    for plan in (FULL, QUICK):
        assert plan.tokens_per_window >= longest * plan.requests_per_window


def test_folders_are_new_or_empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert make_folder(None).name == "penstock-demo"
    assert (tmp_path / "penstock-demo" / ".gitignore").read_text() == "*\n"
    assert make_folder(None).name == "penstock-demo-2"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(ConfigurationError, match="new or empty"):
        make_folder("full")
