"""The arrows of the house: the contract of pyproject.toml holds, and it bites when somebody breaks it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RULE_BREAKERS = {
    "an arrow up": ("runtime/loop.py", "import penstock.manager\n", "Arrows only go down"),
    "a sibling": ("stores/rows.py", "import penstock.llm\n", "Arrows only go down"),
    "a room without a place": ("attic/box.py", "", "Arrows only go down"),
    "SQL outside stores": ("runtime/loop.py", "import sqlite3\n", "Only stores/ speaks to SQLite"),
    "a pure room that waits": ("admission/gate.py", "import asyncio\n", "Pure rooms do not wait"),
}
GOOD_HOUSE = {
    "__init__.py": "import penstock.manager\n",
    "manager.py": "import penstock.runtime.loop\nimport penstock.stores.rows\n",
    "runtime/loop.py": "import asyncio\nimport penstock.admission.gate\nfrom penstock import model\n",
    "stores/rows.py": "import sqlite3\n",
    "llm/__init__.py": "",
    "admission/gate.py": "import penstock.model\n",
    "policies/__init__.py": "",
    "pricing/__init__.py": "",
    "model/__init__.py": "import penstock.errors\n",
    "errors.py": "",
}
LINT = """
import sys
from importlinter.cli import lint_imports_command
sys.path.insert(0, sys.argv.pop(1))
lint_imports_command()
"""


def lint(folder: Path, source: Path) -> str:
    """What import-linter prints for the contract of `folder` over the package in `source`; plain text."""
    done = subprocess.run(
        [sys.executable, "-c", LINT, str(source), "--no-cache"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)


def build_house(folder: Path, files: dict[str, str]) -> Path:
    """A toy package `penstock` under `folder`, judged by our own pyproject.toml."""
    shutil.copy(ROOT / "pyproject.toml", folder)
    for name, text in files.items():
        file = folder / "src/penstock" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        (file.parent / "__init__.py").touch()
        file.write_text(text)
    return folder / "src"


def test_our_arrows_only_go_down():
    assert " 0 broken" in (report := lint(ROOT, ROOT / "src")), report


def test_a_good_house_passes(tmp_path):
    report = lint(tmp_path, build_house(tmp_path, GOOD_HOUSE))
    assert " 0 broken" in report, report


@pytest.mark.parametrize("case", RULE_BREAKERS)
def test_breaking_the_contract_is_noticed(tmp_path, case):
    name, line, contract = RULE_BREAKERS[case]
    files = GOOD_HOUSE | {name: GOOD_HOUSE.get(name, "") + line}
    report = lint(tmp_path, build_house(tmp_path, files))
    assert f"{contract} BROKEN" in report, report
