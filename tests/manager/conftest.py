"""Task managers on a simulated provider."""

import contextlib

import pytest

from penstock import AITaskManager, APIConfig, OpenAICompatibleClient
from penstock.simulator import Simulator, SimulatorConfig


@pytest.fixture
async def simulator():
    async with Simulator(SimulatorConfig()) as running:
        yield running


@pytest.fixture
def make(simulator, tmp_path):
    """Makes managers on one store file: `make(**settings)`, to be used with `async with`."""

    def build(**settings):
        client = OpenAICompatibleClient(APIConfig("key-1f9c", simulator.base_url))
        given = {
            "store": str(tmp_path / "tasks.db"),
            "durability": "normal",
            "requests_per_minute": None,
            "prices": {"gpt-4o-mini": {"input": 1, "output": 2}},
            **settings,
        }
        return AITaskManager(client, given.pop("max_concurrent", 10), **given)

    return build


@pytest.fixture
async def manager(make):
    running = make()
    async with contextlib.AsyncExitStack() as stack:
        yield await stack.enter_async_context(running)
