"""The HTTP face on a port of this process, over a task manager on a simulated provider."""

import asyncio
import contextlib
from dataclasses import dataclass, replace

import httpx2
import pytest
import uvicorn

from penstock import AITaskManager, APIConfig, OpenAICompatibleClient
from penstock.service.app import create_app
from penstock.service.auth import KeyRing
from penstock.service.service import Service, ServiceConfig
from penstock.simulator import Simulator, SimulatorConfig

CONFIG_FIELDS = set(ServiceConfig.__dataclass_fields__)


class Server(uvicorn.Server):
    """Leaves signals alone and says when it listens."""

    def __init__(self, config):
        super().__init__(config)
        self.ready = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self):
        yield

    async def startup(self, sockets=None):
        await super().startup(sockets)
        self.ready.set()


@dataclass
class Served:
    """One running face. `url` is scheme, host and port; `base_url` what OpenAI's SDKs take."""

    url: str
    app: object
    service: Service
    simulator: Simulator
    server: Server

    @property
    def base_url(self):
        return f"{self.url}/v1"

    @property
    def manager(self):
        return self.service.manager

    @property
    def engine(self):
        return self.service.engine

    def http(self, **settings):
        """An HTTP client of this face, to be used with `async with`."""
        given = {"base_url": self.url, "timeout": 30, **settings}
        return httpx2.AsyncClient(**given)


@pytest.fixture
async def simulator():
    """The provider behind the face; `serve(simulator=SimulatorConfig(...))` starts another one."""
    async with Simulator(SimulatorConfig()) as running:
        yield running


@pytest.fixture
async def serve(simulator, tmp_path):
    """`served = await serve(**settings)`: a face on a port; ends with the test or `serve.stop(served)`.

    Settings: fields of `ServiceConfig`; `simulator=SimulatorConfig(...)`; `rates=(RateLimit, ...)` for limits
    over short windows; `keys=KeyRing`; `clients=[...]`; everything else goes to `AITaskManager`.
    """
    starter = Starter(simulator, tmp_path)
    yield starter
    await starter.stop_all()


class Starter:
    def __init__(self, simulator, folder):
        self.simulator = simulator
        self.folder = folder
        self._running = []

    async def __call__(self, *, simulator=None, rates=(), keys=None, clients=None, **settings):
        stack = contextlib.AsyncExitStack()
        provider = self.simulator
        if simulator is not None:
            provider = await stack.enter_async_context(Simulator(simulator))
        config = ServiceConfig(**{name: settings.pop(name) for name in CONFIG_FIELDS & settings.keys()})
        given = {
            "store": str(self.folder / "tasks.db"),
            "durability": "normal",
            "requests_per_minute": None,
            "prices": {"gpt-4o-mini": {"input": 1, "output": 2}},
            **settings,
        }
        if clients is None:
            clients = OpenAICompatibleClient(APIConfig("key-1f9c", provider.base_url))
        manager = AITaskManager(clients, given.pop("max_concurrent", 50), **given)
        if rates:
            limits = replace(manager.engine.settings.limits, rates=tuple(rates))
            manager.engine.settings = replace(manager.engine.settings, limits=limits)
        service = Service(manager, keys or KeyRing(), config)
        app = create_app(service)
        server = Server(
            uvicorn.Config(app, "127.0.0.1", 0, log_config=None, access_log=False, ws="none", lifespan="on")
        )
        serving = asyncio.create_task(server.serve())
        ready = asyncio.create_task(server.ready.wait())
        await asyncio.wait({ready, serving}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if serving.done():
            await stack.aclose()
            raise RuntimeError("the face did not start") from serving.exception()
        port = server.servers[0].sockets[0].getsockname()[1]
        served = Served(f"http://127.0.0.1:{port}", app, service, provider, server)
        self._running.append((served, serving, stack))
        return served

    async def stop(self, served):
        """Stop one face gracefully: its store is free afterwards."""
        entry = next(one for one in self._running if one[0] is served)
        self._running.remove(entry)
        await self._end(*entry)

    async def stop_all(self):
        while self._running:
            await self._end(*self._running.pop())

    async def _end(self, served, serving, stack):
        served.service.closing.set()
        served.server.should_exit = True
        try:
            await asyncio.wait_for(serving, 30)
        finally:
            await stack.aclose()
