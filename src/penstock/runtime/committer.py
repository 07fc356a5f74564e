"""Group commit: what arrives while one transaction runs goes into the next, together.

One thread runs the transactions; waiters are woken after theirs is durable. Outcomes are per operation. When
a batch fails for a reason that lies in one of its operations, it is replayed one by one, so that only the
culprit fails. What ends a task or books what was paid waits while another process holds the store, and is
tried a few times when it fails for an unknown reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from penstock.errors import StoreBusy, StoreError
from penstock.stores.contract import Store, Transaction

T = TypeVar("T")

# The order of the verbs inside one transaction: what a task did before, first. A task has at most one
# operation of each kind under way, so this order keeps the order of each task.
VERBS = ("settle", "record", "tell", "finish", "put_back", "reserve", "add")

BOUND = 50_000

# What already happened and only has to be written. Each is a compare-and-set under its fence, so to try it
# again does nothing twice, and nothing at all once another node has the task.
INSISTENT = frozenset({"settle", "record", "finish", "put_back"})
# What carries stamps that ages are reckoned from after a restart.
STAMPED = frozenset({"reserve", "settle"})
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
# Of what insists, when it failed for a reason that is not the store's.
TRIES = 3

log = logging.getLogger("penstock.store")


class Rider(Protocol):
    """Writes something of its own into transactions that happen anyway; both are called on the store's
    thread."""

    def write(self, store: Transaction) -> None:
        """Called in a transaction, behind all of its operations."""

    def kept(self) -> None:
        """Called when that transaction is durable."""


class _Operation:
    __slots__ = ("deliver", "fail", "insists", "items", "last", "run", "verb")

    def __init__(
        self,
        verb: str,
        items: Sequence[Any],
        run: Callable[[Transaction], Any] | None,
        deliver: Callable[[Any], None],
        fail: Callable[[BaseException], None],
        last: bool = False,
    ) -> None:
        self.insists = last or verb in INSISTENT
        self.last = last
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
        self._overdue: list[_Operation] = []
        self._pause = FIRST_PAUSE
        self._retry: asyncio.TimerHandle | None = None
        self._patient = True
        self._size = 0
        self.before_stamps: Callable[[], None] = lambda: None
        """told before something with stamps of the wall clock is taken in; may send something of its own"""
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="penstock-store")
        self.riders: list[Rider] = []
        self.transactions = 0
        self.on_commit: list[Callable[[], None]] = []

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._commit_forever(), name="penstock-committer")

    async def stop(self) -> None:
        """Commit what is pending, then end."""
        self._closing = True
        self._try_again()
        if self._task is not None:
            await self._task
        self._thread.shutdown(wait=True)

    def send(
        self,
        verb: str,
        items: Sequence[Any],
        deliver: Callable[[Any], None] = lambda _: None,
        fail: Callable[[BaseException], None] = lambda _: None,
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

    def send_between(self, work: Callable[[Transaction], Any], fail: Callable[[BaseException], None]) -> None:
        """Run `work` after everything sent earlier and before everything sent later; tried until the store
        is free."""
        self._enqueue(_Operation("", (), work, lambda _: None, fail, last=True))

    async def read(self, work: Callable[[Any], T]) -> T:
        """Read the store on the side: in no order with what is written."""
        return await asyncio.to_thread(self._store.read, work)

    def _enqueue(self, operation: _Operation) -> None:
        if self._closing and self._task is not None and self._task.done():
            operation.fail(StoreError("the store of this manager is closed; start the manager again"))
            return
        if operation.verb in STAMPED:
            self.before_stamps()
        self._pending.append(operation)
        self._size += len(operation.items) or 1
        if self._size > BOUND:
            self._room.clear()
        self._wake.set()

    async def _commit_forever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while batch := self._next_batch():
                await self._commit(batch)
            if self._closing and not self._overdue:
                return
            if self._closing:
                self._patient = False
                self._try_again()

    def _next_batch(self) -> list[_Operation]:
        """What waits, up to the first operation that nothing sent later may accompany. What is overdue is
        tried with whatever comes, and by itself when its pause is over."""
        if self._retry is not None and (not self._pending or any(one.last for one in self._overdue)):
            return []
        waiting, self._overdue = [*self._overdue, *self._pending], []
        cut = next((place for place, one in enumerate(waiting, 1) if one.last), len(waiting))
        batch, self._pending = waiting[:cut], waiting[cut:]
        self._size = sum(len(one.items) or 1 for one in self._pending)
        if self._size <= BOUND:
            self._room.set()
        return batch

    def _postpone(self, operations: list[_Operation]) -> None:
        """Another process holds the store: these are tried again soon, before everything sent later."""
        if self._pause == FIRST_PAUSE:
            log.warning("another process holds the store; what ended meanwhile is written when it lets go")
        self._overdue = operations
        if self._size > BOUND:
            self._room.clear()
        if self._retry is None:
            self._retry = self._loop.call_later(self._pause, self._try_again)
            self._pause = min(2.0 * self._pause, LONGEST_PAUSE)

    def _written(self) -> None:
        """Nothing is overdue any more."""
        self._pause = FIRST_PAUSE
        log.info("the store is free again")
        self._try_again()

    def _try_again(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._wake.set()

    def _may_wait(self, operation: _Operation, error: BaseException) -> bool:
        return isinstance(error, StoreBusy) and operation.insists and self._patient and self._size < 2 * BOUND

    async def _commit(self, batch: list[_Operation]) -> None:
        outcomes = await self._loop.run_in_executor(self._thread, self._transact_safely, batch)
        self.transactions += 1
        overdue: list[_Operation] = []
        for operation, (outcome, error) in zip(batch, outcomes, strict=True):
            if error is None:
                operation.deliver(outcome)
            elif self._may_wait(operation, error):
                overdue.append(operation)
                self._size += len(operation.items) or 1
            else:
                operation.fail(error)
                if isinstance(error, StoreError) and self._on_store_error is not None:
                    self._on_store_error(error)
        if overdue:
            self._postpone(overdue)
        elif self._pause > FIRST_PAUSE:
            self._written()
        for hear in self.on_commit:
            hear()

    def _transact_safely(
        self, batch: list[_Operation], tries: int = TRIES
    ) -> list[tuple[Any, BaseException | None]]:
        try:
            return [(outcome, None) for outcome in self._transact(batch)]
        except StoreError as error:
            return [(None, error)] * len(batch)
        except Exception as error:
            if len(batch) == 1 and batch[0].insists and tries > 1:
                return self._transact_safely(batch, tries - 1)
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
            for rider in self.riders:
                rider.write(transaction)
            return outcomes

        outcomes = self._store.run(work)
        for rider in self.riders:
            rider.kept()
        return outcomes

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


async def run_whole(committer: Committer, work: Callable[[Transaction], T], landed: Callable[[T], None]) -> T:
    """`committer.run(work)` for a caller that must know the outcome even when it is cancelled meanwhile: it
    is left only when the transaction is over, and `landed` was told first."""
    future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    resolve = _resolver(future)

    def deliver(outcome: T) -> None:
        landed(outcome)
        resolve(outcome)

    committer.send_run(work, deliver, _rejecter(future))
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        while not future.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([future])
        if not future.cancelled():
            future.exception()  # nobody else asks
        raise


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
