"""Callbacks of tasks: in this process, at most once, and never to the harm of a task."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from penstock.errors import PenstockError
from penstock.manager.engine import Manager
from penstock.manager.task_config import TaskConfig
from penstock.manager.task_object import AITask, task_object
from penstock.model.states import TaskStatus
from penstock.model.task import Claimed

log = logging.getLogger("penstock.callbacks")

_PATIENCE = 5.0


class Callbacks:
    """Calls what the configurations of tasks ask for. Plain functions run in a thread."""

    def __init__(self, engine: Manager) -> None:
        self._engine = engine
        self._progress: dict[str, Callable[..., Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def expect(self, id: str, config: TaskConfig) -> None:
        """The task was submitted with these callbacks."""
        if config.progress_callback is not None:
            self._progress[id] = config.progress_callback
        if config.callback is None and config.error_callback is None and config.progress_callback is None:
            return
        self._begin(self._after(id, config))

    def progressed(self, task: Claimed, current: float, total: float | None, message: str) -> None:
        """A handler told how far it is."""
        callback = self._progress.get(task.id)
        if callback is not None:
            part = min(1.0, max(0.0, current / total)) if total else 0.0
            self._begin(self._call(task.id, callback, part, current, total))

    async def finish(self) -> None:
        """Let callbacks under way come to their end, for a few seconds; the rest are given up."""
        running = {task for task in self._tasks if not task.get_name().startswith("wait ")}
        if running:
            await asyncio.wait(running, timeout=_PATIENCE)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _after(self, id: str, config: TaskConfig) -> None:
        me = asyncio.current_task()
        if me is not None:
            me.set_name(f"wait {id}")  # may take for ever: nobody waits for it at the end
        try:
            outcome = await self._engine.waiters.outcome(id)
            if me is not None:
                me.set_name(f"callback {id}")
            self._progress.pop(id, None)
            done = outcome.status is TaskStatus.COMPLETED
            callback = config.callback if done else config.error_callback
            task = None if callback is None else await self._look(id)
        except PenstockError as error:
            log.warning("the callbacks of task %s were given up: %s", id, error)
            return
        if callback is not None and task is not None:
            await self._call(id, callback, task)

    async def _look(self, id: str) -> AITask | None:
        view = await self._engine.get(id)
        return None if view is None else task_object(view, self._engine.clock.wall())

    async def _call(self, id: str, callback: Callable[..., Awaitable[Any] | Any], *args: Any) -> None:
        try:
            if inspect.iscoroutinefunction(callback):
                await callback(*args)
                return
            result = await asyncio.to_thread(callback, *args)
            if inspect.isawaitable(result):
                await result
        except Exception:
            log.exception("a callback of task %s failed; the task is not touched by it", id)
