"""A world of one simulated provider and one store, in which managers live and crash."""

import asyncio
import contextlib
from dataclasses import replace

import httpx2
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from penstock import Manager, Settings, TaskFilter
from penstock.simulator import Latency, Simulator, SimulatorConfig, request_hash


class World:
    """One provider and one store file; `manager` is the manager of the present life."""

    key = "canary-1f9c3d2b7a"

    def __init__(self, simulator, path):
        self.simulator = simulator
        self.settings = Settings(store=str(path / "work.db"), durability="normal", max_concurrent=10, seed=1)
        self.handlers = {}
        self.manager = None
        self.life = 0
        self._crash = asyncio.Event()
        self._http = []

    # Managers

    async def start(self, **changes):
        self.settings = replace(self.settings, **changes)
        self.life += 1
        self.manager = Manager(self.settings)
        for type, (function, details) in self.handlers.items():
            self.manager.register(type, function, **details)
        await self.manager.start()
        self.http = httpx2.AsyncClient(transport=self.manager.transport())
        self.openai = AsyncOpenAI(base_url=self.simulator.base_url, api_key=self.key, http_client=self.http)
        self.anthropic = AsyncAnthropic(
            base_url=self.simulator.root_url, api_key=self.key, http_client=self.http
        )

    async def stop(self):
        if self.manager is not None:
            await self.manager.stop(now=True)

    def handle(self, function, type="work", **details):
        self.handlers[type] = (function, details)

    async def run(self, function, data=None, *, options=None, settings=None, **submission):
        """The result of one task whose handler is `function`."""
        self.handle(function)
        await self.start(**settings or {})
        return await self.manager.wait(
            await self.manager.submit("work", data, options=options, **submission), timeout=20
        )

    # Crashes

    async def crash(self):
        """Called by a handler: the first life ends here."""
        if self.life == 1:
            self._crash.set()
            await asyncio.Event().wait()

    async def run_twice(self, function, data=None, options=None):
        """The result of a task whose first life ends where the handler says so."""
        self.handle(function)
        await self.start()
        id = await self.manager.submit("work", data, options=options)
        async with asyncio.timeout(10):
            await self._crash.wait()
        await self.stop()
        await self.start()
        return await self.manager.wait(id, timeout=10)

    # Calls

    async def chat(self, text, model="sim", **more):
        messages = [{"role": "user", "content": text}]
        return await self.openai.chat.completions.create(model=model, messages=messages, **more)

    async def say(self, text, **more):
        reply = await self.chat(text, **more)
        return reply.choices[0].message.content

    async def stream(self, text, **more):
        return [chunk async for chunk in await self.chat(text, stream=True, **more)]

    # Witnesses

    def paid(self, text, **more):
        """How often this chat was paid for: answered whole, and otherwise."""
        body = {"model": "sim", "messages": [{"role": "user", "content": text}], **more}
        return self.simulator.paid_for(request_hash("/v1/chat/completions", body))

    def fail_next(self, *faults):
        """The next calls end with these faults; `None` is a call that goes well."""
        dealt = list(faults)
        dealer = self.simulator.provider.run.dealer
        dealer.deal = lambda arrival, now: dealt.pop(0) if dealt else None

    @property
    def calls(self):
        return self.simulator.stats()["calls"]

    async def reservations(self):
        states = ("held", "settled", "released", "uncertain")
        await self.manager.node.committer.run(lambda store: None)  # what is on its way comes first
        return [str(one.state) for one in await self.manager.read(lambda reader: reader.reservations(states))]

    async def steps(self):
        (task,) = await self.manager.read(lambda reader: reader.tasks(TaskFilter()))
        return await self.manager.read(lambda reader: reader.journal(task.seq))

    def idle_again(self):
        """Every slot came back, and nothing is held at the gate."""
        node = self.manager.node
        return node.services.slots.taken == 0 and not node.gate._occupancy.in_flight


@pytest.fixture
async def world(tmp_path):
    async with Simulator(SimulatorConfig(latency=Latency(0.01))) as simulator:
        world = World(simulator, tmp_path)
        yield world
        await world.stop()


@pytest.fixture
def world_of(tmp_path):
    """A world of a provider that the test runs, which also stops the world: `world_of(provider)`."""
    return lambda provider: World(provider, tmp_path)


@pytest.fixture
def make_world(tmp_path):
    """For tests that need a provider of their own: `async with make_world(limits=...) as world`."""

    @contextlib.asynccontextmanager
    async def make(**config):
        async with Simulator(SimulatorConfig(**{"latency": Latency(0.01), **config})) as simulator:
            world = World(simulator, tmp_path)
            try:
                yield world
            finally:
                await world.stop()

    return make
