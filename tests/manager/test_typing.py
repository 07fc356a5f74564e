"""What type checkers say of programs: right ones pass, and each wrong line is refused for its reason."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy", reason="the type checker of the development environment")

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(__file__).resolve().parent / "typed_programs"


@pytest.fixture(scope="module")
def told():
    """The errors of one strict run over all programs: reasons by program and line."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--config-file=pyproject.toml",  # strict, and the cache that `check` has filled already
            "--show-error-codes",
            "--no-error-summary",
            "--no-pretty",
            *map(str, sorted(PROGRAMS.glob("*.py"))),
        ],
        cwd=ROOT,
        env={**os.environ, "MYPYPATH": "src", "NO_COLOR": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=110,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    errors = {}
    for line in done.stdout.splitlines():
        found = re.match(r"(.+?):(\d+): error: (.*)  \[([\w-]+)\]$", line)
        if found:
            program, number, _, reason = found.groups()
            errors.setdefault((Path(program).name, int(number)), set()).add(reason)
    return errors, done.stdout


def marked(program):
    for number, line in enumerate((PROGRAMS / program).read_text(encoding="utf-8").splitlines(), 1):
        if found := re.search(r"# wrong: ([\w -]+)$", line):
            yield number, set(found[1].split())


def test_right_programs_pass(told):
    errors, output = told
    assert [line for program, line in errors if program == "right.py"] == [], output


def test_every_wrong_line_is_refused_for_its_reason_and_no_other_line(told):
    errors, output = told
    wanted = dict(marked("wrong.py"))
    assert len(wanted) >= 15
    found = {line: reasons for (program, line), reasons in errors.items() if program == "wrong.py"}
    assert found.keys() == wanted.keys(), output
    for line, reasons in found.items():
        assert reasons & wanted[line], f"line {line}: {reasons}, expected {wanted[line]}\n{output}"
