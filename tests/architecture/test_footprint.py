"""Small and quick: the core install is under 30 MB as shipped, `import penstock` under 0.3 s."""

import os
import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
INSTALL_MEGABYTES, IMPORT_SECONDS = 30, 0.3
HEAVY = {"genai_prices", "httpx", "httpx2", "openai", "anthropic", "starlette", "typer", "uvicorn"}
TIMED_IMPORT = """
import sys, time
start = time.perf_counter()
import penstock
print(time.perf_counter() - start, *{name.partition(".")[0] for name in sys.modules})
"""


def core_distributions() -> set[str]:
    """Names of every distribution that the core dependencies pull in here, without extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pending, names = list(project["dependencies"]), set()
    while pending:
        requirement = Requirement(pending.pop())
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if applies and requirement.name not in names:
            names.add(requirement.name)
            pending += distribution(requirement.name).requires or []
    return names


def test_core_install_is_small():
    installed = [
        Path(str(file.locate()))
        for name in core_distributions()
        for file in distribution(name).files or []
        if file.suffix != ".pyc"
    ]
    ours = [file for file in (ROOT / "src").rglob("*") if file.suffix != ".pyc"]
    megabytes = sum(file.stat().st_size for file in [*installed, *ours] if file.is_file()) / 1e6
    assert 1 < megabytes < INSTALL_MEGABYTES


def test_import_is_quick_and_loads_nothing_heavy():
    seconds, loaded = [], set[str]()
    for _ in range(5):
        out = subprocess.run(
            [sys.executable, "-c", TIMED_IMPORT],
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.split()
        seconds.append(float(out[0]))
        loaded |= set(out[1:])
    assert min(seconds) < IMPORT_SECONDS
    assert not loaded & HEAVY
