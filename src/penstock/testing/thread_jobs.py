"""Work in threads as a loop in virtual time sees it: who works, and who only waits for the loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import sys
import threading
import weakref
from collections.abc import Callable
from enum import Enum
from types import FrameType
from typing import Any

_WAIT = threading.Condition.wait.__code__
_RESULT = concurrent.futures.Future.result.__code__


class Doing(Enum):
    """What a thread does: `ASKS` waits for the loop and for nothing else, `WAITS` for something unknown."""

    WORKS = "works"
    WAITS = "waits"
    ASKS = "asks"


class Job:
    """One call in a thread; `turned` once it has asked something of the loop, or is over."""

    def __init__(self) -> None:
        self.thread: int | None = None
        self.turned = threading.Event()


class Jobs:
    """The calls in threads that a loop waits for."""

    def __init__(self) -> None:
        self._running: set[Job] = set()
        self._asked: weakref.WeakSet[concurrent.futures.Future[Any]] = weakref.WeakSet()
        self._starting: Job | None = None
        self._loop_thread = 0

    def __bool__(self) -> bool:
        return bool(self._running)

    def begin(self, job: Job) -> None:
        """The loop starts it now."""
        self._loop_thread = threading.get_ident()
        self._running.add(job)
        self._starting = job

    def begun(self) -> None:
        """It was started."""
        self._starting = None

    def over(self, job: Job) -> None:
        """The loop knows its end."""
        self._running.discard(job)

    def turn_to_loop(self, callback: Callable[..., object]) -> None:
        """The present thread gave the loop something to call."""
        if getattr(callback, "__module__", "") == asyncio.run_coroutine_threadsafe.__module__:
            for cell in getattr(callback, "__closure__", None) or ():
                if isinstance(cell.cell_contents, concurrent.futures.Future):
                    self._asked.add(cell.cell_contents)
        me = threading.get_ident()
        for job in tuple(self._running):
            if job.thread == me:
                job.turned.set()
        if self._starting is not None and me == self._loop_thread:
            self._starting.turned.set()  # it was over before anybody asked for its end

    def doing(self) -> set[Doing]:
        """What all of them do at this moment."""
        frames = sys._current_frames()
        begun = {self._doing(frames.get(job.thread)) for job in self._running if job.thread is not None}
        if any(job.thread is None for job in self._running):
            # One that has not begun may wait for the threads of those who ask.
            begun.add(Doing.WAITS if Doing.ASKS in begun else Doing.WORKS)
        return begun

    def _doing(self, frame: FrameType | None) -> Doing:
        if frame is None or frame.f_code is not _WAIT:
            return Doing.WORKS
        caller = frame.f_back
        if caller is None or caller.f_code is not _RESULT:
            return Doing.WAITS
        future = caller.f_locals["self"]
        if future.done():
            return Doing.WORKS  # it has not noticed yet
        return Doing.ASKS if future in self._asked else Doing.WAITS
