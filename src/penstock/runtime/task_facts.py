"""What a handler may know of its task, and tell of it while it runs."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from penstock.model.task import Claimed
from penstock.runtime.progress import Progress, checked
from penstock.runtime.services import Services

if TYPE_CHECKING:
    from penstock.runtime.context import TaskContext


class TaskFacts:
    """The part of a `TaskContext` that makes no steps."""

    def __init__(self, task: Claimed, services: Services) -> None:
        self.task = task
        self.services = services
        self.uses: dict[str, float] = {}
        self.knows_attempt = False
        """the handler asked which attempt this is, and may go another way in each"""
        self._progress: Progress | None = None

    @property
    def task_id(self) -> str:
        return self.task.id

    @property
    def attempt(self) -> int:
        """Counted from 1: one more after each failure and each crash."""
        self.knows_attempt = True
        return self.task.attempt

    @property
    def tenant(self) -> str:
        return self.task.tenant

    @property
    def deadline(self) -> float | None:
        """When the task is to be done, in seconds since the epoch; `None` without a deadline."""
        return self.task.deadline

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

    async def grow(self: TaskContext, nodes: Sequence[Any]) -> dict[str, str]:  # type: ignore[misc]
        """Add nodes to the running workflow that this task is a node of, once; their task ids, by node. They
        are given as in a definition, and may need any node that is there.

        Raises `InvalidWorkflow` with all that is wrong, `WorkflowStopped` when it was stopped meanwhile, and
        `InvalidTask` outside of workflows.
        """
        return await self.services.nursery.grow(self, nodes)

    def report_use(self, pool: str, amount: float) -> None:
        """Say how much of a pool this attempt really used at once; the most of what is reported counts. Later
        tasks of this type that name no units of the pool get as much as such tasks probably use."""
        if not (math.isfinite(amount) and amount >= 0):
            raise ValueError(f"what is used of {pool!r} is a number from 0 up, not {amount!r}")
        self.uses[pool] = max(amount, self.uses.get(pool, 0.0))

    def capturing(self) -> AbstractContextManager[None]:
        """Model calls made inside, by any client on `httpx2` or `httpx`, synchronous or not and wherever it
        was made, pass gate and journal as if it were on `manager.transport()`; all else passes untouched."""
        from penstock.runtime.capture import capturing

        return capturing()

    def last_words(self) -> None:
        """The handler is over: what it told last is written now."""
        if self._progress is not None:
            self._progress.end()

    def _tell(self, current: float, total: float | None, message: str) -> None:
        if self._progress is None:
            self._progress = Progress(self.task, self.services)
        self._progress.tell(current, total, message)
