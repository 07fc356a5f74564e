"""Notices a coroutine that blocks the event loop, and says where.

A thread looks on: when the loop's heartbeat is late, the frame that the loop's thread is in tells the line.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import sysconfig
import threading
import time
from contextvars import Context
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from penstock.runtime.position import Position, position_in

log = logging.getLogger("penstock.tasks")

MOST_PLACES = 1_000
_PACKAGE = str(Path(__file__).parents[1])
_LIBRARY = sysconfig.get_paths()["stdlib"]
_LOOPS = ("base_events.py", "runners.py")
_WAITING = ("selectors.py", "windows_events.py")


@dataclass(slots=True)
class Blocked:
    """How often the loop was blocked, for how long in all and at most (seconds), and how often at each
    `type at file:line`."""

    count: int = 0
    seconds: float = 0.0
    longest: float = 0.0
    places: dict[str, int] = field(default_factory=dict)


class Watchdog:
    """Watches the running loop until it is stopped, or the loop closed. What it finds is in `blocked`, and
    logged once per task type and line."""

    def __init__(self, after: float | None) -> None:
        self.blocked = Blocked()
        self.after = after
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._beat_at = time.monotonic()
        self._beating: asyncio.TimerHandle | None = None
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to watch, unless `after` is off."""
        if self.after is None:
            return
        self._beat()
        self._thread = threading.Thread(target=self._watch, name="penstock-watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        if self._beating is not None:
            self._beating.cancel()
            self._beating = None

    def _beat(self) -> None:
        self._beat_at = time.monotonic()
        self._beating = self._loop.call_later((self.after or 1.0) / 4, self._beat)

    def _watch(self) -> None:
        assert self.after is not None
        pause = self.after / 4
        found_at = 0.0
        while True:
            before = time.monotonic()
            if self._over.wait(pause) or self._loop.is_closed():
                return
            now, beat = time.monotonic(), self._beat_at
            if now - before > pause + self.after / 2:
                continue  # the machine was asleep, or too busy to tell
            if found_at == beat:
                self._still(now - beat)
            elif now - beat > self.after + pause and self._look(now - beat):
                found_at = beat

    def _still(self, seconds: float) -> None:
        """The block that was found goes on."""
        blocked = self.blocked
        if seconds > blocked.longest:
            blocked.longest = seconds
        blocked.seconds += (self.after or 0.0) / 4

    def _look(self, seconds: float) -> bool:
        frame = sys._current_frames().get(self._loop_thread)
        if frame is None or frame.f_code.co_filename.endswith(_WAITING):
            return False  # it waits for something to do: its heartbeat is on the way
        place = _user_line(frame)
        position = _position(self._loop, frame)
        del frame
        task = None if position is None else position.context.task
        what = "code outside any task" if task is None else f"the {task.type!r} task {task.id}"
        key = f"{'' if task is None else task.type} at {place}"
        blocked = self.blocked
        blocked.count += 1
        blocked.seconds += seconds
        blocked.longest = max(blocked.longest, seconds)
        if len(blocked.places) < MOST_PLACES or key in blocked.places:
            blocked.places[key] = blocked.places.get(key, 0) + 1
        if blocked.places.get(key) == 1:
            log.warning(
                "%s blocks the event loop, and with it every other task, at %s, for %.2f seconds so far; "
                'await what takes long, or make it a plain function and run it in a "thread" or "process"',
                what,
                place,
                seconds,
            )
        return True


def _user_line(frame: FrameType) -> str:
    """The innermost line that is the user's: outside the library, installed packages and this one. Else the
    innermost."""
    innermost = f"{frame.f_code.co_filename}:{frame.f_lineno}"
    at: FrameType | None = frame
    while at is not None:
        file = at.f_code.co_filename
        ours = file.startswith((_PACKAGE, _LIBRARY, "<frozen")) or "site-packages" in file
        if not ours:
            return f"{file}:{at.f_lineno}"
        if file.endswith(_LOOPS):  # a program of the user's runs the loop; that is not what blocks it
            break
        at = at.f_back
    return innermost


def _position(loop: asyncio.AbstractEventLoop, frame: FrameType) -> Position | None:
    """The task whose step the loop runs."""
    context: Context | None = None
    running = asyncio.current_task(loop)
    if running is not None and sys.version_info >= (3, 12):
        context = running.get_context()
    at: FrameType | None = frame
    while context is None and at is not None:
        if at.f_code.co_name == "_run_once":
            context = getattr(at.f_locals.get("handle"), "_context", None)
        at = at.f_back
    return None if context is None else position_in(context)
