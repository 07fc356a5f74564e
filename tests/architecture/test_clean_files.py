"""No committed file names a package registry's host or a path of somebody's machine."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Written in pieces, so that this file passes its own test.
HOSTS = (
    "pypi" + ".org",
    "python" + "hosted.org",
    "npm" + "js.org",
    "yarn" + "pkg.com",
    "crates" + ".io",
    "proxy.golang" + ".org",
    "rubygems" + ".org",
    "anaconda" + ".org",
    "deb.debian" + ".org",
)
HOST = re.compile("|".join(map(re.escape, HOSTS)), re.IGNORECASE)
PLACES = "|".join(("root", r"home/\w+", "work", r"opt/\w+", "Us" + r"ers/\w+"))
MACHINE_PATH = re.compile(rf"(?<![\w.}})/])/(?:{PLACES})(?:/|\b)|\b[A-Z]:\\\\?Us" + r"ers\\")


def committed_files() -> list[Path]:
    """What git holds or would take in; without git (an unpacked sdist) there is nothing to judge."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no git work tree")
    return [file for name in listed.split("\0") if name and (file := ROOT / name).is_file()]


def findings(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{file.relative_to(ROOT)}:{number}: {found.group()}"
        for file in committed_files()
        for number, line in enumerate(file.read_text(encoding="utf-8", errors="ignore").splitlines(), 1)
        if (found := pattern.search(line))
    ]


def test_no_registry_host():
    assert findings(HOST) == []


def test_no_machine_path():
    assert findings(MACHINE_PATH) == []


def test_no_lock_file_that_names_hosts():
    assert not [file for file in committed_files() if file.name == "uv.lock"]


@pytest.mark.parametrize(
    ("text", "is_path"),
    [
        ("see /" + "root/notes", True),
        ('"/' + 'work/main"', True),
        ("/" + "home/ann/x", True),
        ("C:\\" + "Users\\ann", True),
        ("GET /v1/" + "work/items", False),
        ("a/" + "home/b", False),
        ("/" + "workflows", False),
    ],
)
def test_what_counts_as_a_machine_path(text, is_path):
    assert bool(MACHINE_PATH.search(text)) is is_path
