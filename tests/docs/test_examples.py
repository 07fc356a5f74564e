"""Every Python block of README and docs runs as it stands, against the simulator; so do blocks marked `run`.

A block is left out only by a comment right above it: `<!-- not run: why -->`. The requests that the commands
of a page read are the page's own `json` block.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from penstock.simulator import Limits, SimulatorConfig, SimulatorThread

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]*?) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
START = "from penstock.cli import main; main()"


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    mark: str
    text: str

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def wanted(self) -> bool:
        if self.language == "python":
            return not self.mark.startswith("not run:")
        return self.language == "console" and self.mark == "run"


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("text")) + 1
        yield Block(page, line, found["language"], found["mark"] or "", found["text"])


EXAMPLES = [block for page in PAGES for block in blocks(page) if block.wanted]


@pytest.fixture(scope="module")
def provider():
    """Real limits, far from being reached; a model that answers at once."""
    with SimulatorThread(SimulatorConfig(limits=Limits(10_000, 10_000_000))) as simulator:
        yield simulator


@pytest.mark.parametrize("block", EXAMPLES, ids=lambda block: block.name)
def test_example(block, provider, tmp_path):
    for other in blocks(block.page):
        if other.language == "json":
            (tmp_path / "requests.jsonl").write_text(other.text, encoding="utf-8")
    commands = [[sys.executable, "-W", "error", "-c", block.text]]
    if block.language == "console":
        lines = [line[2:] for line in block.text.splitlines() if line.startswith("$ ")]
        commands = [
            [sys.executable, "-c", START, *shlex.split(line.removeprefix("penstock "))] for line in lines
        ]
    addresses = {
        "OPENAI_BASE_URL": provider.base_url,
        "OPENAI_API_KEY": "none",
        "ANTHROPIC_API_KEY": "none",
        "XDG_DATA_HOME": str(tmp_path),
    }
    for command in commands:
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={**os.environ, **addresses, "PYTHONIOENCODING": "utf-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{block.name}\n{done.stdout}\n{done.stderr}"


def test_there_are_examples_and_their_marks_are_known():
    assert len(EXAMPLES) >= 7
    for page in PAGES:
        for block in blocks(page):
            assert block.mark in ("", "run") or block.mark.startswith("not run: "), block.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), target
