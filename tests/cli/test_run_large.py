"""A file of a million short requests: bounded memory, read quickly, and calls do not wait for its end."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.simulator import SimulatorConfig, SimulatorThread

SOURCE = Path(__file__).resolve().parents[2] / "src"
LINES = int(os.environ.get("PENSTOCK_LARGE_LINES", 1_000_000))

# Feeds the whole file while calls go on under a limit, then stops as Ctrl-C would.
PROGRAM = """
import asyncio, json, os, resource, signal, sys, time
from penstock.cli.run import feeder, job
from penstock.cli.run.options import RunOptions
from penstock.cli.run.progress import QuietProgress
from penstock.runtime.exchange import Exchange

figures = {}
feed, send = feeder.Feeder.run, Exchange._send

async def timed(self):
    figures["feeder"], began = self, time.monotonic()
    await feed(self)
    figures["lines_per_second"] = self.read_lines / (time.monotonic() - began)
    os.kill(os.getpid(), signal.SIGINT)

async def noticed(self, *given):
    figures.setdefault("read_at_first_call", figures["feeder"].read_lines)
    return await send(self, *given)

feeder.Feeder.run, Exchange._send = timed, noticed
options = RunOptions("in.jsonl", "out.jsonl", base_url=(sys.argv[1],), rpm=1200)
outcome = asyncio.run(job.run_job(options, QuietProgress()))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 if sys.platform == "darwin" else 1 / 1024)
print(json.dumps({
    "lines_per_second": round(figures["lines_per_second"]),
    "read_at_first_call": figures["read_at_first_call"],
    "peak_megabytes": round(peak / 1e6),
    "calls_meanwhile": outcome.calls,
    "lines": outcome.lines,
}))
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_million_lines(tmp_path):
    with (tmp_path / "in.jsonl").open("w") as file:
        for n in range(LINES):
            body = {"model": "sim", "messages": [{"role": "user", "content": f"prompt {n}"}]}
            file.write(json.dumps({"custom_id": f"r{n}", "url": "/v1/chat/completions", "body": body}) + "\n")
    with SimulatorThread(SimulatorConfig()) as sim:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, sim.base_url],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    print(figures)
    assert figures["lines"] == LINES
    assert figures["peak_megabytes"] < 300
    assert figures["read_at_first_call"] < 10_000
    assert figures["lines_per_second"] > 10_000
