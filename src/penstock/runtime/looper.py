"""The one contract of small background services: start, a tick now and then, stop."""

from __future__ import annotations

import asyncio
import logging

log = logging.getLogger("penstock.services")


class Looper:
    """Runs `tick` every `interval` seconds, or sooner after `hurry`. A tick that fails is logged and tried
    again."""

    interval: float = 1.0

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()

    async def tick(self) -> float | None:
        """Do the work once; may give the seconds until the next tick."""
        raise NotImplementedError

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"penstock-{type(self).__name__.lower()}")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    def hurry(self) -> None:
        """Tick as soon as possible."""
        self._hurry.set()

    async def _run(self) -> None:
        while True:
            pause: float | None = None
            try:
                pause = await self.tick()
            except asyncio.CancelledError:
                raise
            except Exception as error:
                log.warning("%s failed and will try again: %s", type(self).__name__, error)
            try:
                async with asyncio.timeout(self.interval if pause is None else pause):
                    await self._hurry.wait()
            except TimeoutError:
                pass
            self._hurry.clear()
