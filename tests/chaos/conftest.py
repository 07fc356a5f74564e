"""Hands out simulators and jobs, ends them, and shows the figures of the proofs below the list of tests."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # the rig has one name for every proof of this folder

from rig import Job, Provider


@pytest.fixture
def serve():
    """Start simulators, each in a process of its own: `serve(config)`."""
    started = []

    def start(config):
        started.append(Provider(config))
        return started[-1]

    yield start
    for provider in started:
        provider.close()


@pytest.fixture
def make_job(tmp_path):
    """Make jobs over given request bodies: `make_job(provider, bodies, *options)`."""
    made = []

    def make(provider, bodies, *options):
        job = Job(tmp_path, provider.base_url, ("--quiet", *options))
        job.write(bodies)
        made.append(job)
        return job

    yield make
    for job in made:
        job.close()


@pytest.fixture
def figures(record_property):
    """Keep what was measured: `figures(text)`."""
    return lambda text: record_property("figures", text)


def pytest_terminal_summary(terminalreporter):
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, value in report.user_properties:
                if name == "figures" and report.when == "call":
                    terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {value}")
