"""AGENT after a crash at every step: nothing that was recorded is paid or done again."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from penstock import Agent, TaskConfig, TaskContext
from penstock.simulator.config import Script
from penstock.testing import Harness, SimulatedProvider

ONCE = TaskConfig(max_retries=0, timeout=None)
CITIES = ("Oslo", "Rome", "Bonn")
# Three model calls, a tool of one step, three side by side, and one with two steps of its own.
STEPS = 4 + 1 + 3 + 3


def replies():
    """What the model says, turn by turn."""

    def several(call):
        calls = [
            {
                "id": f"c{n}",
                "type": "function",
                "function": {"name": "look", "arguments": f'{{"city": "{city}"}}'},
            }
            for n, city in enumerate(CITIES)
        ]
        message = {"role": "assistant", "content": None, "tool_calls": calls}
        usage = {"prompt_tokens": 50, "completion_tokens": 10, "total_tokens": 60}
        return 200, {
            "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
            "usage": usage,
        }

    return [
        Script("", tool="look", tool_arguments={"city": "Paris"}),
        several,
        Script("", tool="study", tool_arguments={"what": "rain"}),
        "It rains.",
    ]


class World:
    """An agent with its tools; `done` counts what they really did."""

    def __init__(self, provider):
        self.done = Counter()
        self.provider = provider
        self.harness = Harness(provider.manager(prices={"*": {"input": 1, "output": 2}}))
        manager = self.harness.manager
        provider.say(*replies())

        @manager.tool
        async def look(city: str) -> str:
            self.done[city] += 1
            await asyncio.sleep(0)
            return f"{city} is wet"

        @manager.tool
        async def study(ctx: TaskContext, what: str) -> list[int]:
            return [await ctx.step("page", self.page, number) for number in range(2)]

        manager.add_agent(Agent("forecaster", tools=[look, study], max_cost=1.0))

    async def page(self, number):
        self.done[number] += 1
        return number

    async def submit(self):
        data = {"agent": "forecaster", "prompt": "Will it rain?"}
        return await self.harness.manager.submit_task("agent", data, config=ONCE)

    async def recorded(self, id):
        """Names of the recorded steps."""
        engine = self.harness.manager.engine
        view = await engine.get(id)
        return [record.key.name for record in await engine.read(lambda reader: reader.journal(view.seq))]


async def test_undisturbed():
    with SimulatedProvider() as provider:
        world = World(provider)
        async with world.harness:
            id = await world.submit()
            (task,) = await world.harness.drain()
            names = Counter(await world.recorded(id))
    assert task.result["text"] == "It rains."
    assert names == {"POST /v1/chat/completions": 4, "tool look": 4, "tool study": 1, "page": 2, "price": 1}
    assert sum(names.values()) == STEPS + 1


@pytest.mark.parametrize("step", range(1, STEPS + 2))
async def test_a_crash_after_each_step(step):
    with SimulatedProvider() as provider:
        world = World(provider)
        async with world.harness:
            id = await world.submit()
            await world.harness.crash_and_restart(after_steps=step)
            kept = Counter(await world.recorded(id))
            before = Counter(world.done)
            (task,) = await world.harness.drain()
            names = Counter(await world.recorded(id))
        assert task.result["text"] == "It rains."
        assert task.result["turns"] == 4
        # Model calls are made one after the other: none was in flight.
        assert provider.repeated == []
        assert len(provider.calls) == 4
        again = sum((world.done - Counter([*CITIES, "Paris", 0, 1])).values())
        # Of the three side by side, those that were not recorded were in flight.
        in_flight = sum(before.values()) - kept["tool look"] - kept["page"]
        assert again == in_flight
        assert sum(names.values()) == STEPS + 1


@pytest.mark.parametrize("steps", [(2, 1), (3, 3), (1, 9), (6, 5)])
async def test_two_crashes(steps):
    with SimulatedProvider() as provider:
        world = World(provider)
        async with world.harness:
            await world.submit()
            for count in steps:
                await world.harness.crash_and_restart(after_steps=count)
            (task,) = await world.harness.drain()
        assert task.result["text"] == "It rains."
        assert provider.repeated == []
        assert world.done["Paris"] == world.done[0] == world.done[1] == 1
