"""Group commit: what arrives while one transaction runs goes into the next, together.

One thread runs the transactions; waiters are woken after theirs is durable. Outcomes are per operation. When
a batch fails for a reason that lies in one of its operations, it is replayed one by one, so that only the
culprit fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from penstock.errors import StoreError
from penstock.stores.contract import Store, Transaction

T = TypeVar("T")

# The order of the verbs inside one transaction: what a task did before, first. A task has at most one
# operation of each kind under way, so this order keeps the order of each task.
VERBS = ("settle", "record", "finish", "put_back", "reserve", "add")

BOUND = 50_000


class _Operation:
    __slots__ = ("deliver", "fail", "items", "run", "verb")

    def __init__(
        self,
        verb: str,
        items: Sequence[Any],
        run: Callable[[Transaction], Any] | None,
        deliver: Callable[[Any], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        self.verb = verb
        self.items = items
        self.run = run
        self.deliver = deliver
        self.fail = fail


class Committer:
    """Coalesces store operations into transactions; bounded, in order, with one outcome per operation."""

    def __init__(
        self,
        store: Store,
        capacity: int | None = None,
        on_store_error: Callable[[StoreError], None] | None = None,
    ) -> None:
        self.capacity = capacity
        self._store = store
        self._on_store_error = on_store_error
        self._pending: list[_Operation] = []
        self._size = 0
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="penstock-store")
        self.transactions = 0
        self.operations = 0

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._commit_forever(), name="penstock-committer")

    async def stop(self) -> None:
        """Commit what is pending, then end."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await self._task
        self._thread.shutdown(wait=True)

    def send(
        self,
        verb: str,
        items: Sequence[Any],
        deliver: Callable[[Any], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        """Put a batch of one verb into the next transaction; `deliver` gets the list of outcomes when
        durable."""
        self._enqueue(_Operation(verb, items, None, deliver, fail))

    async def do(self, verb: str, items: Sequence[Any]) -> list[Any]:
        """The outcomes of a batch of one verb, once durable."""
        await self._room.wait()
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        self.send(verb, items, _resolver(future), _rejecter(future))
        return await future

    async def run(self, work: Callable[[Transaction], T]) -> T:
        """The result of `work`, run in the next transaction after its verbs."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._enqueue(_Operation("", (), work, _resolver(future), _rejecter(future)))
        return await future

    def send_run(
        self,
        work: Callable[[Transaction], T],
        deliver: Callable[[T], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        """Like `run`, for callers that must see the outcome in the order of the commits."""
        self._enqueue(_Operation("", (), work, deliver, fail))

    async def read(self, work: Callable[[Any], T]) -> T:
        """A read on the side, in the order of nothing."""
        return await asyncio.to_thread(self._store.read, work)

    def _enqueue(self, operation: _Operation) -> None:
        if self._closing and self._task is not None and self._task.done():
            operation.fail(StoreError("the store of this manager is closed; start the manager again"))
            return
        self._pending.append(operation)
        self._size += len(operation.items) or 1
        if self._size > BOUND:
            self._room.clear()
        self._wake.set()

    async def _commit_forever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._pending:
                batch, self._pending = self._pending, []
                self._size = 0
                self._room.set()
                await self._commit(batch)
            if self._closing:
                return

    async def _commit(self, batch: list[_Operation]) -> None:
        outcomes = await self._loop.run_in_executor(self._thread, self._transact_safely, batch)
        self.transactions += 1
        self.operations += len(batch)
        for operation, (outcome, error) in zip(batch, outcomes, strict=True):
            if error is None:
                operation.deliver(outcome)
            else:
                operation.fail(error)
                if isinstance(error, StoreError) and self._on_store_error is not None:
                    self._on_store_error(error)

    def _transact_safely(self, batch: list[_Operation]) -> list[tuple[Any, BaseException | None]]:
        try:
            return [(outcome, None) for outcome in self._transact(batch)]
        except StoreError as error:
            return [(None, error)] * len(batch)
        except Exception as error:
            if len(batch) == 1:
                return [(None, error)]
            return [outcome for single in batch for outcome in self._transact_safely([single])]

    def _transact(self, batch: list[_Operation]) -> list[Any]:
        """One transaction over the whole batch; the outcome of each operation, in the batch's order."""

        def work(transaction: Transaction) -> list[Any]:
            outcomes: list[Any] = [None] * len(batch)
            for verb in VERBS:
                self._run_verb(transaction, verb, batch, outcomes)
            for place, operation in enumerate(batch):
                if operation.run is not None:
                    outcomes[place] = operation.run(transaction)
            return outcomes

        return self._store.run(work)

    def _run_verb(
        self, transaction: Transaction, verb: str, batch: list[_Operation], outcomes: list[Any]
    ) -> None:
        places = [place for place, operation in enumerate(batch) if operation.verb == verb]
        if not places:
            return
        items = (
            batch[places[0]].items
            if len(places) == 1
            else [item for place in places for item in batch[place].items]
        )
        answers = (
            transaction.add(items, self.capacity) if verb == "add" else getattr(transaction, verb)(items)
        )
        begin = 0
        for place in places:
            end = begin + len(batch[place].items)
            outcomes[place] = answers[begin:end]
            begin = end


def _resolver(future: asyncio.Future[T]) -> Callable[[T], None]:
    def resolve(outcome: T) -> None:
        if not future.done():
            future.set_result(outcome)

    return resolve


def _rejecter(future: asyncio.Future[Any]) -> Callable[[BaseException], None]:
    def reject(error: BaseException) -> None:
        if not future.done():
            future.set_exception(error)

    return reject
