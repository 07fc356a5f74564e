"""Whether tasks can be taken: for whoever starts and watches a server."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from penstock.errors import PenstockError
from penstock.manager.engine import Manager

PROBE_SECONDS = 2.0
FRESH_SECONDS = 0.5


class Readiness:
    """Tries whether tasks can be taken. Askers at the same time share one try, so that asking is cheap."""

    def __init__(self) -> None:
        self._probe: asyncio.Task[dict[str, str]] | None = None
        self._known: tuple[float, dict[str, str]] | None = None
        self._file: tuple[str, int, int] | None = None

    def open(self, engine: Manager) -> None:
        """The engine runs: remember which file its store is."""
        path = str(getattr(engine.node.store, "path", ""))
        self._file = (path, *_identity(path)) if path and path != ":memory:" else None

    async def problems(self, engine: Manager, closing: bool) -> dict[str, str]:
        """What is wrong, by part; empty when tasks can be taken."""
        if closing:
            return {"server": "it is stopping"}
        now = time.monotonic()
        if self._known is not None and now - self._known[0] < FRESH_SECONDS:
            return self._known[1]
        if self._probe is None or self._probe.done():
            self._probe = asyncio.create_task(self._look(engine))
        found = await asyncio.shield(self._probe)
        self._known = time.monotonic(), found
        return found

    async def _look(self, engine: Manager) -> dict[str, str]:
        if not engine.is_running:
            return {"dispatcher": "it does not run"}
        if engine.failure is not None:
            return {"store": f"it failed: {engine.failure.code}"}
        if self._file is not None:
            path, *identity = self._file
            try:
                if list(_identity(path)) != identity:
                    return {"store": "its file was replaced"}
            except OSError:
                return {"store": "its file is gone"}
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await engine.node.committer.run(_touch)
        except TimeoutError:
            return {"store": f"it took no write within {PROBE_SECONDS:g} seconds"}
        except PenstockError as error:
            return {"store": f"it takes no writes: {error.code}"}
        return {}


def _touch(store: Any) -> None:
    store.set_setting("readiness", str(int(time.time())))


def _identity(path: str) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino
