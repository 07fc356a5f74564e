"""A manager in the hands of a test: nothing starts by itself, time passes when told, processes are killed."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Self

from penstock.errors import ConfigurationError, StoreError
from penstock.manager.ai_task_manager import AITaskManager
from penstock.manager.task_object import AITask
from penstock.runtime import node
from penstock.runtime.dispatcher import Dispatcher
from penstock.runtime.services import Services
from penstock.stores.contract import Event, Store
from penstock.stores.sqlite.store import SqliteStore
from penstock.testing.hold import Hold
from penstock.testing.lives import new_life
from penstock.testing.replacing import quiet, replaced
from penstock.testing.virtual_time import VirtualTimeLoop

# So often in a row nothing must have happened: what a task's end sets off may take a few turns.
_QUIET_ROUNDS = 3
# The wall clock is coarser than a loop's.
_COARSE_SECONDS = 0.002


class Harness:
    """Runs the tasks of a manager by hand, on a store in memory that outlives crashes.

    async with Harness(make_manager()) as harness:
        id = await harness.manager.submit_task("report", {"city": "Oslo"})
        (task,) = await harness.drain()
        assert task.result == "..."

    The manager must not be running yet; whatever store it was made with is left alone. Time passes by itself
    only where it does on the loop; `advance` and `run_out` need virtual time.
    """

    def __init__(self, manager: AITaskManager) -> None:
        self.manager = manager
        self.lives = 0
        self._store: Store | None = None

    async def __aenter__(self) -> Self:
        engine = self.manager.engine
        if engine.is_running:
            raise ConfigurationError("the manager runs already; give the Harness one that was not started")
        if engine.settings.seed is None:
            engine.settings = replace(engine.settings, seed=0)  # the dice of backoff fall alike every time
        self._store = SqliteStore.open(":memory:")
        try:
            await self._begin()
        except BaseException:
            self._store.close()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.manager.stop(now=True)
        if self._store is not None:
            self._store.close()

    async def _begin(self) -> None:
        assert self._store is not None
        self.lives += 1
        self._life, self.manager.engine._given_store = new_life(self._store)
        with replaced(node, "Dispatcher", self._held):
            await self.manager.start()

    def _held(self, services: Services, *rest: Any) -> Dispatcher:
        """A dispatcher that waits to be told, when it is that of our manager: others may start meanwhile."""
        made = Dispatcher(services, *rest)
        if services.committer._store is self.manager.engine._given_store:
            self._hold = Hold(made)
        return made

    # Running

    async def drain(self) -> list[AITask]:
        """Run everything that may start now to its end, and what that submits or sets free; the tasks that
        ended, in order."""
        before = await self._last_event()
        self._hold.let()
        await self._rest()
        self._hold.close()
        return await self._ended_after(before)

    async def step(self) -> AITask | None:
        """Run the next task, by rank, to the end of its attempt; it, or `None` when none may start."""
        self._hold.let(1)
        await self._rest()
        self._hold.close()
        return self.manager.get_task(self._hold.claimed[0].id) if self._hold.claimed else None

    async def run_out(self) -> list[AITask]:
        """Run everything, what is due later as well: time passes until nothing is left that would ever
        start. The tasks that ended, in order."""
        before = await self._last_event()
        await self.drain()
        while (due := await self._next_due()) is not None:
            await self.advance(max(0.0, due - self.now))
            await self.drain()
        return await self._ended_after(before)

    # Time

    @property
    def now(self) -> float:
        """The manager's wall clock, in seconds since the epoch."""
        return self.manager.engine.clock.wall()

    async def advance(self, seconds: float) -> None:
        """Let so much time pass. What becomes due may be started then; what expires, fails."""
        if not isinstance(asyncio.get_running_loop(), VirtualTimeLoop):
            raise ConfigurationError("time passes by itself here; run the test in virtual time: @virtually")
        await asyncio.sleep(seconds)
        for _ in range(3):
            due = await self._next_due()
            if due is None or due > self.now + _COARSE_SECONDS:
                break
            await asyncio.sleep(_COARSE_SECONDS)
        await self._rest(of_open=False)

    # Crashes

    async def crash_and_restart(self, after_steps: int | None = None) -> None:
        """Kill the process at this instant, and begin another one on the same store.

        With `after_steps`, everything that may start is run until so many more steps are recorded (model
        calls are steps too), and the process is killed before any handler knows of the last one. Raises
        `AssertionError` when there are not so many. Nothing is written after that instant, and what was in
        memory is gone, callbacks too. Afterwards nothing runs until it is told to.
        """
        with ExitStack() as dying:
            if after_steps is not None:
                await self._run_steps(after_steps, dying)
            dying.enter_context(quiet())
            self._life.over = True
            self.manager.engine.node.failure = StoreError("this process was killed by its test")
            await self.manager.stop(now=True)
        await self._begin()

    async def _run_steps(self, count: int, dying: ExitStack) -> None:
        running = self.manager.engine.node
        before = await self._last_event()
        enough = asyncio.Event()

        def look() -> None:
            if not enough.is_set() and len(self._events(before, "step")) >= count:
                enough.set()
                dying.enter_context(quiet())
                self._life.over = True
                running.leave_now()

        running.committer.on_commit.append(look)
        self._hold.let()
        resting = asyncio.ensure_future(self._rest())
        reached = asyncio.ensure_future(enough.wait())
        try:
            await asyncio.wait([resting, reached], return_when=asyncio.FIRST_COMPLETED)
        finally:
            running.committer.on_commit.remove(look)
            self._hold.close()
            for one in (resting, reached):
                one.cancel()
            await asyncio.gather(resting, reached, return_exceptions=True)
        if not enough.is_set():
            made = len(self._events(before, "step"))
            raise AssertionError(f"all is done after {made} steps; there was no step {count} to crash after")

    # What happened

    async def _rest(self, of_open: bool = True) -> None:
        """Wait until what was let in has ended, and what its end sets off has happened."""
        quiet, seen = 0, -1
        while quiet < _QUIET_ROUNDS:
            await self._wait_for_open(of_open)
            await asyncio.sleep(0)
            event = await self._last_event()
            calm = event == seen and not (of_open and self._hold.busy)
            quiet, seen = quiet + 1 if calm else 0, event

    async def _wait_for_open(self, of_open: bool) -> None:
        open = self.manager.engine.node.dispatcher.open.values() if of_open else ()
        waiting: set[asyncio.Future[Any]] = {one.future for one in open if one.future is not None}
        waiting |= {task for task in self.manager._callbacks._tasks if not _waits_for_a_task(task)}
        waiting |= self.manager.engine.node._background  # it learns of new lanes there
        if waiting:
            await asyncio.wait(waiting)

    async def _last_event(self) -> int:
        """The number of the last event, behind everything that was on its way to the store."""
        return await self.manager.engine.node.committer.run(lambda store: store.last_event())

    async def _next_due(self) -> float | None:
        return await self.manager.engine.node.committer.run(lambda store: store.next_due())

    def _events(self, after: int, kind: str) -> list[Event]:
        return self.manager.engine.peek(lambda reader: reader.events(after, limit=-1, kinds=(kind,)))

    async def _ended_after(self, event: int) -> list[AITask]:
        ids = [one.task_id for one in self._events(event, "finished")]
        found = [self.manager.get_task(id) for id in ids if id is not None]
        return [task for task in found if task is not None]


def _waits_for_a_task(callback: asyncio.Task[None]) -> bool:
    return callback.get_name().startswith("wait ")
