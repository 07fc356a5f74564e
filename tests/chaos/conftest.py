"""Makes the rig importable, under one name for every proof of this folder, and hands out simulators."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from rig import Provider


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
