"""How a checkpointer comes at a store: through a running manager, or by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeVar

from penstock.errors import BlockingCall, ConfigurationError
from penstock.manager.ai_task_manager import AITaskManager
from penstock.manager.engine import Manager, open_store
from penstock.manager.synchronous import SyncTaskManager
from penstock.model.clock import Clock, SystemClock
from penstock.runtime.committer import Committer
from penstock.runtime.portal import on_loop, wait_for
from penstock.runtime.settings import Settings
from penstock.stores.contract import Reader, Store, Transaction
from penstock.stores.sqlite.store import Durability

T = TypeVar("T")

# Of the loop, from what a node wrote to the checkpoint behind it.
TURNS = 3


class Access(Protocol):
    """Transactions on one store, from any thread and any loop."""

    clock: Clock

    def read(self, work: Callable[[Reader], T]) -> T: ...
    def write(self, work: Callable[[Transaction], T]) -> T:
        """Durable when it returns."""

    async def awrite(self, work: Callable[[Transaction], T]) -> T: ...
    async def open(self) -> None: ...
    async def aclose(self) -> None: ...
    def close(self) -> None: ...


def in_a_moment(loop: asyncio.AbstractEventLoop, act: Callable[[], None], turns: int = TURNS) -> None:
    """Act a few turns of the loop from now."""
    if turns:
        loop.call_soon(in_a_moment, loop, act, turns - 1)
    else:
        act()


class Together:
    """Hands over in one go what is written within a few turns of the loop: a graph saves what its nodes wrote
    and the checkpoint behind it one right after the other, and each alone would be a transaction."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Committer, Callable[[Transaction], Any], asyncio.Future[Any]]] = []

    async def run(self, committer: Committer, work: Callable[[Transaction], T]) -> T:
        """As `committer.run`, on its loop."""
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[T] = loop.create_future()
        if self._waiting and self._waiting[0][2].get_loop() is not loop:
            self._waiting = []  # that one ended before it came to it
        self._waiting.append((committer, work, outcome))
        if len(self._waiting) == 1:
            in_a_moment(loop, self._hand_over)
        return await outcome

    def _hand_over(self) -> None:
        waiting, self._waiting = self._waiting, []
        for committer, work, outcome in waiting:
            committer.send_run(work, partial(_resolve, outcome), partial(_reject, outcome))


def _resolve(outcome: asyncio.Future[T], value: T) -> None:
    if not outcome.done():  # whoever waited may be cancelled
        outcome.set_result(value)


def _reject(outcome: asyncio.Future[Any], error: BaseException) -> None:
    if not outcome.done():
        outcome.set_exception(error)


class ManagerAccess:
    """The store of a manager, while it runs: writes go with its group commit."""

    def __init__(self, engine: Manager) -> None:
        self._engine = engine
        self._together = Together()
        self.clock = engine.clock

    def read(self, work: Callable[[Reader], T]) -> T:
        # A graph reads first. Refused here, it does not go on in threads that would wait for ever.
        self._loop_to_wait_for()
        return self._engine.peek(work)

    def write(self, work: Callable[[Transaction], T]) -> T:
        return wait_for(self._loop_to_wait_for(), self._engine.node.committer.run(work))

    def _loop_to_wait_for(self) -> asyncio.AbstractEventLoop:
        loop = self._engine.node.services.loop
        if on_loop(loop):
            raise BlockingCall(
                "a graph was run with a synchronous call on the manager's own loop, which it would block; "
                "use its async methods (ainvoke, astream, aget_state), or call from a plain function, "
                "which runs in a thread"
            )
        return loop

    async def awrite(self, work: Callable[[Transaction], T]) -> T:
        node = self._engine.node
        loop = node.services.loop
        if on_loop(loop):
            return await self._together.run(node.committer, work)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(node.committer.run(work), loop))

    async def open(self) -> None:
        """Nothing to open: the manager does."""

    async def aclose(self) -> None:
        """Nothing to close either."""

    def close(self) -> None:
        """The same."""


class StoreAccess:
    """A store of its own, beside whatever process dispatches it."""

    def __init__(self, store: Store) -> None:
        self.clock: Clock = SystemClock()
        self._store = store
        self._committer: Committer | None = None
        self._together = Together()
        self._loop: asyncio.AbstractEventLoop | None = None

    def read(self, work: Callable[[Reader], T]) -> T:
        return self._store.read(work)

    def write(self, work: Callable[[Transaction], T]) -> T:
        return self._store.run(work)

    async def awrite(self, work: Callable[[Transaction], T]) -> T:
        if self._committer is not None and self._loop is asyncio.get_running_loop():
            return await self._together.run(self._committer, work)
        return await asyncio.to_thread(self._store.run, work)

    async def open(self) -> None:
        """What this loop writes at the same time is written together from now on."""
        if self._committer is None:
            committer = Committer(self._store)
            await committer.start()
            self._committer, self._loop = committer, asyncio.get_running_loop()

    async def aclose(self) -> None:
        committer, self._committer = self._committer, None
        if committer is not None:
            await committer.stop()
        await asyncio.to_thread(self._store.close)

    def close(self) -> None:
        self._store.close()


def engine_of(manager: Any) -> Manager:
    """The manager behind any face of it; raises `ConfigurationError` for what is none."""
    if isinstance(manager, SyncTaskManager):
        manager = manager.manager
    if isinstance(manager, AITaskManager):
        manager = manager.engine
    if not isinstance(manager, Manager):
        raise ConfigurationError(
            f"a manager is needed, not {type(manager).__name__}; "
            "a checkpointer without one is made by PenstockSaver.from_store(path)"
        )
    return manager


def open_access(store: str, durability: Durability) -> StoreAccess:
    """The access to a store that is opened for it."""
    return StoreAccess(open_store(Settings(store=store, durability=durability)))
