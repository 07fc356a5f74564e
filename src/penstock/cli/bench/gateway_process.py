"""A gateway in a process of its own, as `penstock serve` runs it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.cli.bench.processes import SPAWN, end_process
from penstock.errors import PenstockError
from penstock.stores.sqlite.store import Durability

if TYPE_CHECKING:
    from penstock.service.service import Service


@dataclass(frozen=True, slots=True)
class GatewayProcess:
    """Where it is, and how to ask it."""

    base_url: str
    pid: int
    pipe: Connection

    def parked(self) -> int:
        """How many calls wait in it."""
        self.pipe.send("parked")
        return int(self.pipe.recv())


@contextlib.contextmanager
def gateway_process(
    folder: Path, upstream: str, durability: Durability, requests: int | None = None
) -> Iterator[GatewayProcess]:
    """A gateway to a provider; `requests`: lets so many through an hour. It ends with this block."""
    ours, theirs = SPAWN.Pipe()
    arguments = (str(folder / "gateway.db"), upstream, durability, requests, theirs)
    process = SPAWN.Process(target=_serve, args=arguments, name="penstock-gateway", daemon=True)
    process.start()
    theirs.close()
    try:
        yield GatewayProcess(ours.recv(), process.pid or 0, ours)
    except EOFError:
        raise PenstockError("the gateway did not start") from None
    finally:
        end_process(process, ours)


def _serve(
    store: str, upstream: str, durability: Durability, requests: int | None, parent: Connection
) -> None:
    from penstock.manager.ai_task_manager import AITaskManager
    from penstock.manager.client import APIConfig, OpenAICompatibleClient
    from penstock.service.auth import KeyRing
    from penstock.service.config import ServerConfig
    from penstock.service.server import Face, listen, uvicorn_config
    from penstock.service.service import Service

    manager = AITaskManager(
        OpenAICompatibleClient(APIConfig("none", upstream)),
        store=store,
        durability=durability,
        requests_per_minute=None,
        requests_per_hour=requests,
    )
    service = Service(manager, KeyRing())
    config = ServerConfig()
    sockets = listen("127.0.0.1", 0)
    threading.Thread(target=_answer, args=(parent, service), daemon=True).start()
    parent.send(f"http://127.0.0.1:{sockets[0].getsockname()[1]}/v1")

    async def serve() -> None:
        from penstock.service.app import running

        async with running(service):
            await Face(uvicorn_config(service, config), service, 1.0).serve(sockets)

    asyncio.run(serve())


def _answer(parent: Connection, service: Service) -> None:
    with contextlib.suppress(EOFError, OSError):
        while parent.recv() == "parked":
            parent.send(service.gateway.parked)
    os._exit(0)
