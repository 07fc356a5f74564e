"""An event loop in virtual time, on which whole lives of processes begin, crash and go on beside each other.

Nothing sleeps: when nothing is ready, time jumps to the next timer. What goes to a thread elsewhere runs
inline here, some virtual time later. Everything belongs to the life that started it (or to none), by its
context; a life that crashed never moves again: no `finally` runs, no await of it completes.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import heapq
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

Context = contextvars.Context
# So much may happen at one instant before it counts as running in circles.
MOST_AT_ONCE = 50_000


class Stuck(Exception):
    """Nothing can ever happen again, or things happen without end while no time passes."""


class SimulatedClock:
    """Implements `penstock.model.clock.Clock`: what the loop says, and a wall clock that may jump."""

    def __init__(self, wall: float, monotonic: float = 1_000.0) -> None:
        self.now = monotonic
        self._offset = wall - monotonic

    def wall(self) -> float:
        return self.now + self._offset

    def monotonic(self) -> float:
        return self.now

    def jump_wall(self, seconds: float) -> None:
        """Set the wall clock forward, or back when negative, while no time passes."""
        self._offset += seconds


class Life:
    """One process, from its start to its crash or end."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.dead = False
        self.on_crash: list[Callable[[], None]] = []
        self._tasks: set[asyncio.Task[Any]] = set()

    def own(self, task: asyncio.Task[Any]) -> None:
        # Kept for as long as it may move, so that the collector never ends it at an instant of its own.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def crash(self) -> None:
        """Everything in memory is gone, at this instant."""
        self.dead = True
        for notify in self.on_crash:
            notify()

    def bury(self) -> None:
        """Let go of what crashed; only when its loop runs nothing any more."""
        for task in self._tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            with suppress(BaseException):  # what its `finally` clauses try has nowhere to go
                task.get_coro().close()
        self._tasks.clear()


_life: contextvars.ContextVar[Life | None] = contextvars.ContextVar("penstock_simulated_life", default=None)


def current_life() -> Life | None:
    """The life that the running code belongs to; `None`: the world around them."""
    return _life.get()


class VirtualLoop(asyncio.BaseEventLoop):
    """`thread_delays()` gives the seconds before and after the work of a thread."""

    def __init__(self, clock: SimulatedClock, thread_delays: Callable[[], tuple[float, float]]) -> None:
        super().__init__()
        self.clock = clock
        self.events = 0
        self._thread_delays = thread_delays
        self._now: deque[tuple[asyncio.Handle, Life | None]] = deque()
        self._later: list[tuple[float, int, asyncio.TimerHandle, Life | None]] = []
        self._number = 0
        self._world = contextvars.copy_context()

    # Time and turns

    def time(self) -> float:
        return self.clock.now

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        context = context if context is not None else contextvars.copy_context()
        handle = asyncio.Handle(callback, args, self, context)
        self._now.append((handle, context.get(_life)))
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        context = context if context is not None else contextvars.copy_context()
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._number += 1
        heapq.heappush(self._later, (when, self._number, handle, context.get(_life)))
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.clock.now + delay, callback, *args, context=context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers are passed over when they are due."""

    def create_task(self, coro: Coroutine[Any, Any, Any], **more: Any) -> asyncio.Task[Any]:  # type: ignore[override]
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, **more)
        context = more.get("context")
        life = _life.get() if context is None else context.get(_life)
        if life is not None:
            life.own(task)
        return task

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """What would run in a thread runs here, at one instant; its outcome is known a little later."""
        future: asyncio.Future[Any] = self.create_future()
        before, after = self._thread_delays()

        def work() -> None:
            try:
                done, outcome = future.set_result, func(*args)
            except BaseException as error:
                done, outcome = future.set_exception, error
            self.call_later(after, lambda: None if future.done() else done(outcome))

        self.call_later(before, work)
        return future

    # The world around the lives

    def in_world(self, delay: float, callback: Callable[..., Any], *args: Any) -> None:
        """Call later, whatever becomes of the life that asked for it."""
        self.call_later(delay, callback, *args, context=self._world.copy())

    def start_in(self, life: Life, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a coroutine as part of a life."""
        context = self._world.copy()
        context.run(_life.set, life)
        return self.create_task(coroutine, context=context)

    def drive(self, done: Callable[[], bool], until: float, after_each: Callable[[], None]) -> bool:
        """Let things happen until `done` or the instant `until`; whether it was done. `after_each` turn."""
        turns = 0
        with _running(self):
            while not done():
                if not self._now:
                    if not self._later:
                        raise Stuck("nothing is ready and no timer is set")
                    if self._later[0][0] > until:
                        return False
                    turns = 0 if self._later[0][0] > self.clock.now else turns
                    self._wake()
                handle, life = self._now.popleft()
                if not handle.cancelled() and (life is None or not life.dead):
                    handle._run()
                    self.events += 1
                    turns += 1
                    after_each()
                if turns > MOST_AT_ONCE:
                    raise Stuck(f"{turns} events at one instant: {handle!r}")
        return True

    def _wake(self) -> None:
        when, _, handle, life = heapq.heappop(self._later)
        if handle.cancelled() or (life is not None and life.dead):
            self._now.append((handle, life))
            return
        self.clock.now = max(self.clock.now, when)
        self._now.append((handle, life))

    def is_running(self) -> bool:
        return asyncio._get_running_loop() is self


@contextmanager
def _running(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """The collector rests meanwhile: what it finds must not depend on what ran before."""
    collecting = gc.isenabled()
    gc.disable()
    before = asyncio._get_running_loop()
    asyncio._set_running_loop(loop)
    try:
        yield
    finally:
        asyncio._set_running_loop(before)
        if collecting:
            gc.enable()
