"""How quickly `POST /tasks` acknowledges durably, beside an empty route of the same server."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

from penstock.cli.bench.measurement import BenchOptions, Figure, Measurement, at_least
from penstock.cli.bench.rig import DATA, nothing, scratch
from penstock.stores.sqlite.store import Durability

CONNECTIONS = 64
SHARE = 35.0
ROUNDS = 7


def _rest(options: BenchOptions) -> Iterator[Figure]:
    count = options.size(3_000, 300)
    for durability in options.durable("normal", "full"):
        with scratch(options.directory) as folder, _server(folder, durability) as port:
            empty, posts, share = asyncio.run(_measure(port, count))
        yield Figure(f"empty route, {durability}", empty, "requests/s")
        yield Figure(
            f"POST /tasks, {durability}",
            posts,
            "tasks/s",
            note=f"each acknowledged when durable; {CONNECTIONS} connections",
        )
        yield Figure(f"share of the empty route, {durability}", 100.0 * share, "%", target=at_least(SHARE))


async def _measure(port: int, count: int) -> tuple[float, float, float]:
    """Requests per second of the empty route and of `POST /tasks`, in turns, and the share of one in the
    other; the medians."""
    body = json.dumps({"task_type": "bench", "payload": DATA, "priority": 20}).encode()
    post = _request("POST", "/tasks", body)
    await _rate(port, post, count // 10)
    rates = [
        (await _rate(port, _request("GET", "/empty"), count), await _rate(port, post, count))
        for _ in range(ROUNDS)
    ]
    empty, posts = (median(some) for some in zip(*rates, strict=True))
    return empty, posts, median(post / empty for empty, post in rates)


async def _rate(port: int, request: bytes, count: int) -> float:
    left = count

    async def send() -> None:
        nonlocal left
        async with _connection(port) as (reader, writer):
            while left > 0:
                left -= 1
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
                if not head.startswith((b"HTTP/1.1 20", b"HTTP/1.0 20")):
                    raise RuntimeError(f"the server answered {head[:200]!r}")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                await reader.readexactly(length)

    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(send())
    return count / (time.perf_counter() - begun)


@asynccontextmanager
async def _connection(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


def _request(method: str, path: str, body: bytes = b"") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


@contextmanager
def _server(folder: Path, durability: Durability) -> Iterator[int]:
    """A server in a process of its own, so that the client's work is not counted; its port."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(str(folder), durability, theirs), daemon=True)
    process.start()
    try:
        if not ours.poll(60):
            raise RuntimeError("the server did not start")
        yield ours.recv()
        ours.send(None)
        process.join(60)
    finally:
        process.kill()
        process.join()


def _serve(folder: str, durability: Durability, pipe: Connection) -> None:
    asyncio.run(_serve_until_told(folder, durability, pipe))


async def _serve_until_told(folder: str, durability: Durability, pipe: Connection) -> None:
    import uvicorn

    app, manager = _app(folder, durability)
    config = uvicorn.Config(app, "127.0.0.1", 0, log_level="error", access_log=False, ws="none")
    server = uvicorn.Server(config)
    serving = asyncio.ensure_future(server.serve())
    while not server.started and not serving.done():  # noqa: ASYNC110 - it has no event for it
        await asyncio.sleep(0.01)
    await manager.engine.pause()  # only the door is measured
    pipe.send(server.servers[0].sockets[0].getsockname()[1])
    await asyncio.to_thread(pipe.recv)
    server.should_exit = True
    await serving


def _app(folder: str, durability: Durability) -> tuple[Any, Any]:
    from penstock.manager.ai_task_manager import AITaskManager
    from penstock.manager.client import APIConfig, OpenAICompatibleClient
    from penstock.service.app import create_app
    from penstock.service.auth import KeyRing
    from penstock.service.service import Service

    client = OpenAICompatibleClient(APIConfig("none", "http://127.0.0.1:9/v1"))
    manager = AITaskManager(client, store=f"{folder}/bench.db", durability=durability, max_queue_size=None)
    manager.register_type("bench", nothing)
    app = create_app(Service(manager, KeyRing()))

    @app.get("/empty")
    async def empty() -> dict[str, str]:
        return {}

    app.router.routes.insert(0, app.router.routes.pop())  # found at once
    return app, manager


REST = Measurement(
    "rest", "tasks accepted per second over HTTP, beside an empty route of the same server", _rest
)
