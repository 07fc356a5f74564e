"""Where a job meets its store: through the running manager, or as a client of another process that
dispatches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from penstock.manager import Manager, Submission
from penstock.model.task import NewTask
from penstock.runtime.reranking import policy_for, told_last
from penstock.stores.contract import AddOutcome, Reader, Store, Transaction

T = TypeVar("T")


class Desk(Protocol):
    """Prepare tasks, run transactions, read."""

    def prepare(self, one: Submission) -> NewTask: ...
    def notice(self, outcomes: Sequence[AddOutcome]) -> None: ...
    async def run(self, work: Callable[[Transaction], T]) -> T: ...
    async def read(self, work: Callable[[Reader], T]) -> T: ...


class OwnDesk:
    """This process dispatches."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self.prepare = manager.prepare

    def notice(self, outcomes: Sequence[AddOutcome]) -> None:
        self._manager.notice(outcomes)

    async def run(self, work: Callable[[Transaction], T]) -> T:
        return await self._manager.node.committer.run(work)

    async def read(self, work: Callable[[Any], T]) -> T:
        return await self._manager.read(work)


class ClientDesk:
    """Another process dispatches this store; it notices what is added. `manager` is not started: it only
    ranks."""

    def __init__(self, manager: Manager, store: Store) -> None:
        self._store = store
        self._manager = manager
        self._told = store.read(told_last)
        self.prepare = manager.prepare

    def notice(self, outcomes: Sequence[AddOutcome]) -> None:
        """The dispatching process looks by itself."""

    async def run(self, work: Callable[[Transaction], T]) -> T:
        outcome = await asyncio.to_thread(self._store.run, work)
        await asyncio.to_thread(self._rank_as_told)
        return outcome

    async def read(self, work: Callable[[Any], T]) -> T:
        return await asyncio.to_thread(self._store.read, work)

    def _rank_as_told(self) -> None:
        """The strategy may have been switched meanwhile."""
        told = self._store.read(told_last)
        if told != self._told:
            self._told = told
            self._manager.ranker.use(policy_for(self._store, self._manager.settings))
