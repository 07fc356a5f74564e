"""Virtual time: when nothing else can happen, the clock jumps to the next timer. A month takes milliseconds.

Everything else is real: handlers, threads, the store. While a thread works, time stands still. Penstock's own
clocks follow; `time.time()` in a handler does not (use `await context.now()`, which a replay needs anyway).
"""

from __future__ import annotations

import asyncio
import functools
import math
import selectors
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from contextvars import Context
from datetime import datetime
from typing import Any, ParamSpec, TypeVar, overload

from penstock.errors import ConfigurationError
from penstock.model.clock import SystemClock
from penstock.runtime.looper import Looper
from penstock.testing.clock import VirtualClock
from penstock.testing.opening import everything_open
from penstock.testing.replacing import replaced
from penstock.testing.thread_jobs import Doing, Job, Jobs

P = ParamSpec("P")
R = TypeVar("R")

# Loopers that know when they have something to do. The ticks of all others come round for ever: they happen
# when time passes anyway, but time does not pass for them.
_PUNCTUAL = frozenset(("penstock-timer", "penstock-cron"))
# So long the loop waits for a thread to finish or to turn to the loop, so that both take turns as they do
# every time; one that takes longer runs beside the loop.
_TURN_SECONDS = 0.05
# Sockets, and threads that wait for something unknown, cannot be seen to be idle: they get so much real time
# before a jump, and more before it is said that nothing can happen any more.
_GRACE_SECONDS, _LAST_GRACE_SECONDS = 0.02, 1.0
_LOOK_SECONDS = 0.001


class Stalled(AssertionError):
    """Nothing can happen any more, and the test still waits."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose `time()` is `clock.monotonic()`. `on_stall` is called when nothing can happen any
    more; by default `Stalled` is raised out of the loop."""

    def __init__(self, clock: VirtualClock | None = None) -> None:
        self.clock = clock or VirtualClock()
        self.on_stall: Callable[[], None] | None = None
        self._jobs = Jobs()
        self._rounds: weakref.WeakSet[asyncio.TimerHandle] = weakref.WeakSet()
        self._jumper = _Jumper(self)
        super().__init__(self._jumper)

    def time(self) -> float:
        return self.clock.monotonic()

    def grace(self) -> float | None:
        """Seconds of real time in which nothing must happen before time jumps; `None`: a thread works."""
        doing = self._jobs.doing() if self._jobs else set()
        if Doing.WORKS in doing:
            return None
        has_sockets = len(self._jumper.get_map()) > 1  # more than the loop's own wake-up pipe
        if not has_sockets and Doing.WAITS not in doing:
            return 0.0
        return _GRACE_SECONDS if self._next_timer() < math.inf else _LAST_GRACE_SECONDS

    def jump(self) -> None:
        """Let time pass until the next timer."""
        due = self._next_timer()
        if due < math.inf:
            self.clock.advance(max(0.0, due - self.time()))
            return
        if self.on_stall is None:
            raise Stalled("nothing runs, no timer is set, and yet something is waited for")
        tell, self.on_stall = self.on_stall, None
        tell()

    def _next_timer(self) -> float:
        timers = getattr(self, "_scheduled")  # noqa: B009 - asyncio has no public name for its timers
        return min(
            (timer.when() for timer in timers if not timer.cancelled() and timer not in self._rounds),
            default=math.inf,
        )

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = super().call_at(when, callback, *args, context=context)
        task = asyncio.current_task(self)
        if task is not None and task.get_name() not in _PUNCTUAL:
            code = getattr(task.get_coro(), "cr_code", None)
            if code is Looper._run.__code__:
                self._rounds.add(timer)
        return timer

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = super().call_soon_threadsafe(callback, *args, context=context)
        self._jobs.turn_to_loop(callback)
        return handle

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., R], *args: Any
    ) -> asyncio.Future[R]:
        job = Job()

        def work() -> R:
            job.thread = threading.get_ident()
            return func(*args)

        self._jobs.begin(job)
        try:
            future: asyncio.Future[R] = super().run_in_executor(executor, work)
        except BaseException:
            self._jobs.over(job)
            raise
        finally:
            self._jobs.begun()
        future.add_done_callback(lambda _: self._jobs.over(job))
        job.turned.wait(_TURN_SECONDS)
        return future

    async def shutdown_default_executor(self, *args: Any, **kwargs: Any) -> None:
        job = Job()
        self._jobs.begin(job)
        self._jobs.begun()
        try:
            await super().shutdown_default_executor(*args, **kwargs)
        finally:
            self._jobs.over(job)


class _Jumper(selectors.DefaultSelector):
    """Where a loop would sleep, time jumps."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = weakref.ref(loop)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        loop = self._loop()
        if ready or loop is None or (timeout is not None and timeout <= 0):
            return ready
        calm = 0.0
        while not ready:
            grace = loop.grace()
            if grace is not None and calm >= grace:
                loop.jump()
                break
            ready = super().select(_LOOK_SECONDS)
            calm = 0.0 if grace is None else calm + _LOOK_SECONDS
        return ready


def run_virtually(function: Callable[P, Coroutine[Any, Any, R]], *args: P.args, **kwargs: P.kwargs) -> R:
    """The result of `await function(...)`, in virtual time that begins in November 2023.

    Raises `Stalled` where it waits for what can never happen.
    """
    return _run(lambda: function(*args, **kwargs), VirtualClock())


@overload
def virtually(test: Callable[P, Coroutine[Any, Any, R]], /) -> Callable[P, R]: ...
@overload
def virtually(*, at: datetime | float) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], Callable[P, R]]: ...
def virtually(test: Any = None, /, *, at: Any = None) -> Any:
    """`@virtually`: make a coroutine function a plain one that runs in virtual time; no async plugin is
    needed. `at` is the instant at which it begins: an aware datetime, or seconds since the epoch."""
    if test is None:
        return functools.partial(_decorated, begin=_instant(at))
    return _decorated(test, None)


def _decorated(test: Callable[..., Coroutine[Any, Any, R]], begin: float | None) -> Callable[..., R]:
    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> R:
        clock = VirtualClock() if begin is None else VirtualClock(begin)
        return _run(lambda: test(*args, **kwargs), clock)

    return run


def _instant(at: datetime | float) -> float:
    if not isinstance(at, datetime):
        return float(at)
    if at.tzinfo is None:
        raise ConfigurationError(f"at={at} has no time zone; give an aware datetime")
    return at.timestamp()


def _run(begin: Callable[[], Coroutine[Any, Any, R]], clock: VirtualClock) -> R:
    if asyncio._get_running_loop() is not None:
        raise ConfigurationError("a loop runs already: virtual time is for plain functions and tests")
    loop = VirtualTimeLoop(clock)
    stalled = False

    async def main() -> R:
        me = asyncio.current_task()
        assert me is not None

        def stall() -> None:
            # Where it waits is in the traceback of its end; and what it opened is closed in peace.
            nonlocal stalled
            stalled = True
            me.cancel()

        loop.on_stall = stall
        async with everything_open():
            return await begin()

    with _clocks_follow(clock), asyncio.Runner(loop_factory=lambda: loop) as runner:
        try:
            return runner.run(main())
        except asyncio.CancelledError as end:
            if not stalled:
                raise
            raise Stalled(
                "nothing runs and no timer is set, so what the test waits for can never happen (see where "
                "it was cancelled, above); under a Harness nothing starts by itself: `await harness.drain()`"
            ) from end


@contextmanager
def _clocks_follow(clock: VirtualClock) -> Iterator[None]:
    """Whatever makes a manager inside, by whatever call, its time is this one."""
    from penstock.runtime.caretakers import Timer
    from penstock.runtime.cron import Cron
    from penstock.runtime.watchdog import Watchdog

    with ExitStack() as stack:
        stack.enter_context(replaced(SystemClock, "wall", lambda _: clock.wall()))
        stack.enter_context(replaced(SystemClock, "monotonic", lambda _: clock.monotonic()))
        for owner, name in ((Timer, "interval"), (Cron, "interval"), (Cron, "idle_seconds")):
            stack.enter_context(replaced(owner, name, math.inf))  # they look only when something is due
        stack.enter_context(replaced(Watchdog, "start", lambda _: None))  # its time is the real one
        yield
