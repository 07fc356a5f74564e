"""What a handler may know of its task, and tell of it while it runs."""

from __future__ import annotations

import json
import math
import threading
from typing import Any

from penstock.model.task import Claimed
from penstock.runtime.progress import Progress, checked
from penstock.runtime.services import Services


class TaskFacts:
    """The part of a `TaskContext` that makes no steps."""

    def __init__(self, task: Claimed, services: Services) -> None:
        self.task = task
        self.services = services
        self.uses: dict[str, float] = {}
        self._progress: Progress | None = None

    @property
    def task_id(self) -> str:
        return self.task.id

    @property
    def attempt(self) -> int:
        return self.task.attempt

    @property
    def tenant(self) -> str:
        return self.task.tenant

    @property
    def data(self) -> Any:
        """The task's data, read anew at each call."""
        return None if self.task.payload is None else json.loads(self.task.payload)

    @property
    def metadata(self) -> Any:
        return None if self.task.metadata is None else json.loads(self.task.metadata)

    def progress(self, current: float, total: float | None = None, message: str = "") -> None:
        """Say how far the task is. Cheap, and from any thread: listeners in this process hear of it at once,
        everybody else in at most half a second. Not recorded as a step."""
        current, total = checked(current, total)
        if threading.get_ident() == self.services.loop_thread:
            self._tell(current, total, message)
        else:
            self.services.loop.call_soon_threadsafe(self._tell, current, total, message)

    def report_use(self, pool: str, amount: float) -> None:
        """Say how much of a pool this attempt really used at once; the most of what is reported counts. Later
        tasks of this type that name no units of the pool get as much as such tasks probably use."""
        if not (math.isfinite(amount) and amount >= 0):
            raise ValueError(f"what is used of {pool!r} is a number from 0 up, not {amount!r}")
        self.uses[pool] = max(amount, self.uses.get(pool, 0.0))

    @property
    def last_progress(self) -> tuple[float, float | None, str] | None:
        """What `progress` said last: current, total, message."""
        return None if self._progress is None else self._progress.last

    def last_words(self) -> None:
        """The handler is over: what it told last is written now."""
        if self._progress is not None:
            self._progress.end()

    def _tell(self, current: float, total: float | None, message: str) -> None:
        if self._progress is None:
            self._progress = Progress(self.task, self.services)
        self._progress.tell(current, total, message)
