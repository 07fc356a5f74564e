"""The simulator on a port: in this loop, in a thread of its own, or for ever; or on no port at all."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, TypeVar

import httpx2
import uvicorn
from starlette.applications import Starlette

from penstock.simulator.app import create_app
from penstock.simulator.config import SimulatorConfig
from penstock.simulator.exchange import ConnectionCut
from penstock.simulator.provider import Provider

T = TypeVar("T")

# Longer than any client keeps an idle connection: closing first looks like a fault nobody asked for.
_KEEP_ALIVE_SECONDS = 3600


class _Silence(logging.Filter):
    """Keeps connections cut on purpose, and calls cut by stopping, out of the server's error log."""

    def filter(self, record: logging.LogRecord) -> bool:
        cause = record.exc_info[1] if record.exc_info else None
        return not isinstance(cause, ConnectionCut | asyncio.CancelledError)


_SILENCE = _Silence()


class _Server(uvicorn.Server):
    """A server that leaves signals alone and stops when told, not at its next look."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self.stopping = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self.stopping.wait()


class SimulatorTransport(httpx2.AsyncBaseTransport):
    """Calls the application without a port. Replies come whole, and timeouts are not kept.

    Hangs need a port.
    """

    def __init__(self, app: Starlette) -> None:
        self._inner = httpx2.ASGITransport(app=app)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        try:
            return await self._inner.handle_async_request(request)
        except ConnectionCut:
            raise httpx2.RemoteProtocolError("the simulator cut the connection", request=request) from None


class Simulator:
    """A provider in this process. `async with Simulator(config) as sim:` serves it at `sim.base_url`.

    Without entering it, `transport()` serves clients of the same loop with no port.
    """

    def __init__(self, config: SimulatorConfig | None = None, host: str = "127.0.0.1", port: int = 0) -> None:
        self.config = config or SimulatorConfig()
        self.app = create_app(self.config)
        self._address = (host, port)
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    @property
    def provider(self) -> Provider:
        provider: Provider = self.app.state.provider
        return provider

    @property
    def base_url(self) -> str:
        """What clients take for `base_url`; ends with `/v1`. Known once it is started."""
        return f"{self.root_url}/v1"

    @property
    def root_url(self) -> str:
        """Scheme, host and port: what Anthropic's and Azure's clients take."""
        return f"http://{self._address[0]}:{self._address[1]}"

    def stats(self) -> dict[str, Any]:
        """What `GET /simulator/stats` answers."""
        return self.provider.run.report()

    def paid_for(self, request: str) -> tuple[int, int]:
        """How often a request hash was billed: answered whole, and otherwise."""
        return self.provider.run.stats.paid_for(request)

    def reset(self) -> None:
        """What `POST /simulator/reset` does."""
        self.provider.reset()

    def transport(self) -> SimulatorTransport:
        """A transport for `httpx2.AsyncClient(transport=..., base_url="http://simulator/v1")`."""
        return SimulatorTransport(self.app)

    async def start(self) -> None:
        """Listen; returns when calls can come."""
        listener = _listen(*self._address)
        self._address = listener.getsockname()[:2]
        self._server = _Server(_uvicorn_config(self.app))
        self._serving = asyncio.create_task(self._server.serve([listener]))
        ready = asyncio.create_task(self._server.ready.wait())
        await asyncio.wait({ready, self._serving}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._serving.done():
            await self._serving

    async def stop(self) -> None:
        """Stop listening and drop the calls in flight."""
        server, serving = self._server, self._serving
        if server is None or serving is None:
            return
        self._server = self._serving = None
        server.should_exit = True
        server.stopping.set()
        while not serving.done():
            for task in list(server.server_state.tasks):
                task.cancel()
            await asyncio.wait([serving], timeout=0.02)
        await serving

    async def __aenter__(self) -> Simulator:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


class SimulatorThread:
    """A simulator in a thread with a loop of its own, for synchronous programs.

    `with SimulatorThread(config) as sim:`.
    """

    def __init__(self, config: SimulatorConfig | None = None, host: str = "127.0.0.1", port: int = 0) -> None:
        self._simulator = Simulator(config, host, port)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="penstock-simulator", daemon=True)

    @property
    def base_url(self) -> str:
        return self._simulator.base_url

    @property
    def root_url(self) -> str:
        return self._simulator.root_url

    def start(self) -> None:
        """Listen; returns when calls can come, raises what kept it from listening."""
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._simulator.start(), self._loop).result()
        except BaseException:
            self._end_loop()
            raise

    def stop(self) -> None:
        """Stop listening, drop the calls in flight, end the thread; a second stop does nothing."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._simulator.stop(), self._loop).result()
            self._end_loop()

    def stats(self) -> dict[str, Any]:
        """What `GET /simulator/stats` answers, read in the simulator's own loop."""
        return self._ask(self._simulator.stats)

    def paid_for(self, request: str) -> tuple[int, int]:
        """How often a request hash was billed: answered whole, and otherwise."""
        return self._ask(lambda: self._simulator.paid_for(request))

    def reset(self) -> None:
        """What `POST /simulator/reset` does."""
        self._ask(self._simulator.reset)

    def __enter__(self) -> SimulatorThread:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _ask(self, question: Callable[[], T]) -> T:
        async def ask() -> T:
            return question()

        if not self._thread.is_alive():
            return question()
        return asyncio.run_coroutine_threadsafe(ask(), self._loop).result()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def serve(
    config: SimulatorConfig,
    host: str = "127.0.0.1",
    port: int = 8080,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until Ctrl-C or SIGTERM; `on_ready` is told the base URL once calls can come.

    Raises OSError for a taken port.
    """

    async def main() -> None:
        simulator = Simulator(config, host, port)
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for name in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C arrives as KeyboardInterrupt
                loop.add_signal_handler(name, stop.set)
        async with simulator:
            if on_ready is not None:
                on_ready(simulator.base_url)
            await stop.wait()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's delay off only for sockets that name TCP; with it every reply would take 40 ms
    # more.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except BaseException:
        listener.close()
        raise
    return listener


def _uvicorn_config(app: Starlette) -> uvicorn.Config:
    logging.getLogger("uvicorn.error").addFilter(_SILENCE)
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        date_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        proxy_headers=False,
    )
