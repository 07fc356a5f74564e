"""The library face, and the one place where concrete parts are wired together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any, Self, TypeVar

from penstock.errors import ConfigurationError, PenstockError, StoreError, TaskNotFound
from penstock.manager.answering import Answering
from penstock.manager.door import Door
from penstock.manager.feed import Feed
from penstock.manager.forking import Forking
from penstock.manager.given import foreign
from penstock.manager.nursery import nursery
from penstock.manager.scheduling import Scheduling
from penstock.manager.steering import Steering
from penstock.manager.submission import Submission
from penstock.manager.waiting import Outcome, Waiters
from penstock.manager.workflow_desk import WorkflowDesk
from penstock.manager.workflow_runs import WorkflowRuns
from penstock.model.clock import Clock, SystemClock
from penstock.model.task import Added, Existing, Finish, NewTask, TaskView
from penstock.runtime.handlers import Handler, HandlerFunction, Handlers
from penstock.runtime.node import Node
from penstock.runtime.ranking import Ranker
from penstock.runtime.reranking import policy_for
from penstock.runtime.settings import Settings
from penstock.runtime.transport import make_async_transport, make_sync_transport
from penstock.stores.contract import AddOutcome, Event, Reader, Store
from penstock.stores.sqlite.store import SqliteStore

T = TypeVar("T")


class Manager(Steering, WorkflowRuns, Answering, Forking, Scheduling):
    """Durable tasks on one store: add, run, wait, control.

    manager = Manager(Settings(store="work.db", max_concurrent=20))
    manager.register("greet", greet)
    async with manager:
        id = await manager.submit("greet", {"name": "Ada"})
        print(await manager.wait(id))
    """

    def __init__(
        self, settings: Settings | None = None, *, clock: Clock | None = None, store: Store | None = None
    ) -> None:
        self.settings = settings or Settings()
        self.clock: Clock = clock or SystemClock()
        self.ranker = Ranker(policy_for(store, self.settings), self.settings.unit)
        self.handlers = Handlers()
        self._given_store = store
        self._store: Store | None = None
        self._node: Node | None = None
        self.waiters = Waiters(self.read)
        self.feed = Feed(self.read)
        self._door = Door(self.handlers, self.ranker, self.clock)
        self.workflows = WorkflowDesk(
            self.handlers, partial(self.prepare, inner=True), partial(foreign, engine=self)
        )
        self._transports: list[Any] = []
        self.started_at = 0.0
        self.on_end: list[Callable[[Finish], None]] = []
        self.check_scheduled = lambda one: None
        self.on_added: list[Callable[[Sequence[NewTask], Sequence[AddOutcome]], None]] = []
        self.on_change: list[Callable[[], None]] = []
        """hear of tasks that were added here, and that another process wrote something"""

    # Life

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Open the store, become its dispatching process and begin.

        Raises `StoreBusy` when another process dispatches this store.
        """
        store = self._given_store or open_store(self.settings)
        try:
            store.lock_dispatch()
            self.ranker.use(policy_for(store, self.settings))
            node = Node(
                store, self.settings, self.ranker, self.handlers, self.clock, self._ended, self._store_failed
            )
            node.nursery = nursery(self, node)
            await node.start()
        except BaseException:
            store.close()
            raise
        self._store, self._node, self.started_at = store, node, self.clock.wall()
        node.on_others = self.waiters.look_soon
        node.on_change = lambda: [listener() for listener in self.on_change].clear()
        node.committer.on_commit.append(self.feed.wake)
        self.feed.open()
        node.cron.open(self.scheduled_task, self.notice)

    async def stop(self, now: bool = False) -> None:
        """Start nothing more, let calls in flight finish, and close. With `now`, cancel them; both resume
        later."""
        node, store = self._node, self._store
        if node is None or store is None:
            return
        await node.drain(now)
        await self.feed.close()
        await node.stop(now)
        self.waiters.failed(_stopped())
        for transport in self._transports:
            await transport.aclose()
        self._node = self._store = None
        await asyncio.to_thread(store.close)

    def leave_now(self) -> None:
        """Make a `stop` under way end at once."""
        if self._node is not None:
            self._node.leave_now()

    # Handlers

    def register(self, type: str, function: HandlerFunction, **details: Any) -> Handler:
        """Say which function runs tasks of this type: `async def f(context)`, or a plain function, which runs
        in a thread. `details` are fields of `Handler`: `options`, `check`, `model`, `pools`, `version`."""
        handler = self.handlers.register(type, function, **details)
        if self._node is not None:
            self._node.dispatcher.notice_all()
        return handler

    def transport(self, library: str = "httpx2") -> Any:
        """An async HTTP transport behind gate and journal, for `httpx2.AsyncClient(transport=...)` or
        `httpx`'s."""
        made = make_async_transport(self.node.services.exchange, library)
        self._transports.append(made)
        return made

    def sync_transport(self, library: str = "httpx2") -> Any:
        """The same for synchronous clients in synchronous handlers."""
        made = make_sync_transport(self.node.services.exchange, library)
        self._transports.append(made)
        return made

    # In and out

    async def submit(self, type: str, data: Any = None, **details: Any) -> str:
        """Add one task; its id, once it is durable. `details` are fields of `Submission`.

        Raises `InvalidTask` for data the type does not take, `QueueFull`, `IdempotencyConflict`.
        """
        tasks = [self.prepare(Submission(type, data, **details))]
        return self._accepted(await self.node.committer.do("add", tasks), tasks)[0]

    async def submit_many(self, submissions: Sequence[Submission]) -> list[str]:
        """Add all of them in one transaction, or none; their ids in order."""
        tasks = [self.prepare(one) for one in submissions]

        def add(store: Any) -> list[AddOutcome]:
            outcomes: list[AddOutcome] = store.add(tasks, self.node.settings.max_queue_size)
            for outcome in outcomes:
                if isinstance(outcome, PenstockError):
                    raise outcome
            return outcomes

        return self._accepted(await self.node.committer.run(add), tasks)

    def prepare(self, one: Submission, inner: bool = False) -> NewTask:
        """Check a submission and rank it; what the store is given. `inner` lets types pass that are not for
        submissions."""
        return self._door.prepare(one, self._node, inner)

    def notice(self, outcomes: Sequence[AddOutcome], tasks: Sequence[NewTask] = ()) -> None:
        """Tell the dispatcher of tasks that were added in a transaction of the caller's own."""
        for listener in self.on_added:
            listener(tasks, outcomes)
        if any(isinstance(outcome, Existing) for outcome in outcomes):
            # Perhaps it was added by a transaction whose answer never came, and nobody was told.
            self.node.dispatcher.notice_all()
        if not tasks:
            for lane in {outcome.lane for outcome in outcomes if isinstance(outcome, Added)}:
                self.node.notice(lane)
            return
        news = {
            (outcome.lane, task.due_at, task.flow): task
            for outcome, task in zip(outcomes, tasks, strict=True)
            if isinstance(outcome, Added)
        }
        for (lane, due_at, flow), task in news.items():
            size = 0.0 if flow is None else self.ranker.size_of(task)
            self.node.notice(lane, due_at, flow, size)
        later = [one.expires_at for one in tasks]
        later += [outcome.due_at for outcome in outcomes if isinstance(outcome, Existing)]
        if (first := min((at for at in later if at is not None), default=None)) is not None:
            self.node.timer.expect(first)

    async def get(self, id: str) -> TaskView | None:
        """The task as it stands; `None` when there is none of that id."""
        return await self.read(lambda reader: reader.task(id))

    async def wait(self, id: str, timeout: float | None = None) -> Any:
        """The task's result, as soon as it is there.

        Raises `TaskFailed`, `TaskCancelled`, `TaskNotFound`, or `WaitTimeout` after `timeout` seconds.
        """
        return (await self.waiters.outcome(id, timeout)).value()

    def outcomes(self, ids: Sequence[str], timeout: float | None = None) -> AsyncIterator[Outcome]:
        """How each of these tasks ended, in the order of their ends."""
        return self.waiters.outcomes(ids, timeout)

    async def events(
        self, id: str | None = None, after: int | None = None, kinds: Sequence[str] = ()
    ) -> AsyncIterator[Event]:
        """What happens from now on (or `after` an event's number), of one task or of all. Ends with the
        manager, and with one task's end."""
        view = None if id is None else await self.get(id)
        if id is not None and view is None:
            raise TaskNotFound(f"there is no task {id}", id)
        task = None if view is None else view.seq
        if after is not None or task is not None:
            begin = after or 0
        else:
            begin = await self.read(lambda reader: reader.last_event())
        async for event in self.feed.follow(task, begin, kinds):
            yield event

    async def idle(self) -> None:
        """Wait until nothing runs and nothing claimable is left."""
        await self.node.idle()

    def check_money(self, submissions: Sequence[Submission], base_url: str) -> None:
        """Raise `BudgetExhausted` when the estimates of these submissions are over what is left."""
        self._door.check_money(submissions, self.node, base_url)

    def peek(self, work: Callable[[Reader], T]) -> T:
        """Read the store at once, on this thread: for what takes no time."""
        if self._store is None:
            raise _not_running()
        return self._store.read(work)

    async def read(self, work: Callable[[Any], T]) -> T:
        """Read the store on the side."""
        return await self.node.committer.read(work)

    @property
    def node(self) -> Node:
        """The running node; raises when the manager was not started."""
        if self._node is None:
            raise _not_running()
        return self._node

    @property
    def failure(self) -> StoreError | None:
        """Why the store cannot be written any more (a full disk, say); nothing is started then."""
        return None if self._node is None else self._node.failure

    @property
    def is_running(self) -> bool:
        return self._node is not None

    def _accepted(self, outcomes: Sequence[AddOutcome], tasks: Sequence[NewTask] = ()) -> list[str]:
        for outcome in outcomes:
            if isinstance(outcome, PenstockError):
                raise outcome
        self.notice(outcomes, tasks)
        return [outcome.id for outcome in outcomes if isinstance(outcome, Added | Existing)]

    def _ended(self, end: Finish) -> None:
        self.waiters.ended(end)
        for listener in self.on_end:
            listener(end)

    def _store_failed(self, error: StoreError) -> None:
        self.waiters.failed(error)


def _stopped() -> ConfigurationError:
    return ConfigurationError("the manager was stopped meanwhile; what did not end goes on at its next start")


def _not_running() -> ConfigurationError:
    return ConfigurationError(
        "the manager is not running; use `async with manager:` or `await manager.start()`"
    )


def open_store(settings: Settings, read_only: bool = False) -> Store:
    """The store that the settings name."""
    path = ":memory:" if settings.store == "memory" else settings.store.removeprefix("sqlite:///")
    return SqliteStore.open(path, durability=settings.durability, read_only=read_only)
