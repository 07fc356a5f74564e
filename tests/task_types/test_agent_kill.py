"""A team of agents in a process that is killed: the next one goes on, and pays at most one call again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from penstock.simulator import Latency, Script, SimulatorConfig, SimulatorThread

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def provider():
    scripts = json.loads((EXAMPLES / "research_team_replies.json").read_text(encoding="utf-8"))
    config = SimulatorConfig(latency=Latency(0.1), scripts=tuple(Script(**one) for one in scripts))
    with SimulatorThread(config) as simulator:
        yield simulator


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
@pytest.mark.parametrize("calls", [2, 5])
def test_killed_after_so_many_calls(provider, tmp_path, calls):
    env = {
        **os.environ,
        "OPENAI_BASE_URL": provider.base_url,
        "OPENAI_API_KEY": "none",
        "XDG_DATA_HOME": str(tmp_path),
    }
    command = [sys.executable, str(EXAMPLES / "research_team.py")]
    first = subprocess.Popen(command, env=env, cwd=tmp_path, stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 30
        while provider.stats()["calls"] < calls:
            assert time.monotonic() < end
            assert first.poll() is None, "it came to its end before it could be killed"
            time.sleep(0.005)
    finally:
        first.kill()
        first.wait()
    second = subprocess.run(
        command, env=env, cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=60, check=False
    )
    assert second.returncode == 0, second.stderr
    assert "# Water and sun" in second.stdout
    # Five calls in all, one after the other: only the one in flight may be paid again.
    stats = provider.stats()
    assert stats["calls"] <= 6
    assert stats["paid"]["twice"] <= 1
