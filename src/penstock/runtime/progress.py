"""How far a task is: told at once in this process, and now and then in the store."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from penstock.model.task import Claimed, Notice

if TYPE_CHECKING:
    from penstock.runtime.services import Services

log = logging.getLogger("penstock.tasks")

SECONDS_BETWEEN = 0.5
LONGEST_MESSAGE = 500

OnProgress = Callable[[Claimed, float, float | None, str], None]


class Progress:
    """Keeps the last progress of one attempt, and writes it at most every half second and at the end."""

    __slots__ = ("_over", "_services", "_task", "_timer", "_unwritten", "_written_at", "last")

    def __init__(self, task: Claimed, services: Services) -> None:
        self._task = task
        self._services = services
        self._timer: asyncio.TimerHandle | None = None
        self._written_at = -math.inf
        self._unwritten = False
        self._over = False
        self.last: tuple[float, float | None, str] | None = None

    def tell(self, current: float, total: float | None, message: str) -> None:
        """It has come so far; on the loop's thread."""
        if self._over:
            return
        self.last = current, total, message[:LONGEST_MESSAGE]
        self._unwritten = True
        if self._timer is None:
            wait = self._written_at + SECONDS_BETWEEN - self._services.clock.monotonic()
            if wait <= 0:
                self._write()
            else:
                self._timer = self._services.loop.call_later(wait, self._write)
        try:
            self._services.on_progress(self._task, *self.last)
        except Exception:
            log.exception("a listener to the progress of task %s failed", self._task.id)

    def end(self) -> None:
        """The attempt is over: write what was not written yet."""
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._unwritten:
            self._write()

    def _write(self) -> None:
        self._timer = None
        if self.last is None:
            return
        self._unwritten = False
        self._written_at = self._services.clock.monotonic()
        current, total, message = self.last
        data = {"current": current, "total": total, "message": message}
        notice = Notice(self._task.seq, self._task.claim_no, self._services.clock.wall(), "progress", data)
        self._services.committer.send("tell", [notice])


def checked(current: float, total: float | None) -> tuple[float, float | None]:
    """Progress as numbers; raises `ValueError` for what is none."""
    if not math.isfinite(current) or not (total is None or math.isfinite(total)):
        raise ValueError(f"progress is told in finite numbers, not {current!r} of {total!r}")
    return current, total
