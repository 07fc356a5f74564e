"""The library face, and the one place where concrete parts are wired together."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

from penstock.errors import (
    ConfigurationError,
    InvalidTask,
    PenstockError,
    StoreError,
    TaskCancelled,
    TaskFailed,
    TaskNotFound,
    WaitTimeout,
)
from penstock.model.clock import Clock, SystemClock
from penstock.model.ids import new_id
from penstock.model.json_text import json_text
from penstock.model.lane import Lane
from penstock.model.options import TaskOptions, read_options
from penstock.model.priority import Priority, read_priority
from penstock.model.rank import Rank
from penstock.model.service_class import ServiceClass, service_class
from penstock.model.states import TaskStatus
from penstock.model.task import Added, Existing, Finish, NewTask, TaskView
from penstock.runtime.handlers import Handler, HandlerFunction, Handlers
from penstock.runtime.node import Node
from penstock.runtime.ranking import Ranker
from penstock.runtime.reranking import policy_for
from penstock.runtime.settings import Settings
from penstock.runtime.transport import make_async_transport, make_sync_transport
from penstock.stores.contract import AddOutcome, Store, TaskFilter
from penstock.stores.sqlite.store import SqliteStore

T = TypeVar("T")

_UNRANKED = Rank(0, 0.0)


@dataclass(slots=True)
class Submission:
    """One task to be: its type and data (JSON), and how it is to be run.

    `delay` are seconds before it may start, `deadline` an instant in seconds since the epoch (or
    `slo_seconds` from now). `service_class` presets what is not given of priority (else 20) and deadline:
    immediate, scheduled, background, batch. `program` names the workflow it belongs to; `size` (in the scarce
    unit), `estimated_tokens` and `estimated_seconds` help strategies that look at sizes, which are learned
    otherwise. The same `idempotency_key` of a tenant gives the same task, or an error when type or data
    differ.
    """

    type: str
    data: Any = None
    priority: int | str | None = None
    tenant: str = ""
    metadata: Any = None
    options: TaskOptions | None = None
    delay: float = 0.0
    deadline: float | None = None
    idempotency_key: str | None = None
    batch: int | None = None
    position: int | None = None
    error: dict[str, Any] | None = None
    service_class: str | None = None
    slo_seconds: float | None = None
    program: str | None = None
    size: float | None = None
    estimated_tokens: float | None = None
    estimated_seconds: float | None = None


class Manager:
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
        self._waiters: dict[str, list[asyncio.Future[Finish]]] = {}
        self._transports: list[Any] = []
        self._started_at = 0.0
        self.on_end: list[Callable[[Finish], None]] = []

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
            await node.start()
        except BaseException:
            store.close()
            raise
        self._store, self._node, self._started_at = store, node, self.clock.wall()

    async def stop(self, now: bool = False) -> None:
        """Start nothing more, let calls in flight finish, and close. With `now`, cancel them; both resume
        later."""
        node, store = self._node, self._store
        if node is None or store is None:
            return
        await node.stop(now)
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
        in a thread. `details` are fields of `Handler`: `options`, `check`, `model`, `pools`."""
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
            outcomes: list[AddOutcome] = store.add(tasks, self.settings.max_queue_size)
            for outcome in outcomes:
                if isinstance(outcome, PenstockError):
                    raise outcome
            return outcomes

        return self._accepted(await self.node.committer.run(add), tasks)

    def prepare(self, one: Submission) -> NewTask:
        """Check a submission and rank it; what the store is given."""
        handler = self.handlers[one.type]
        now = self.clock.wall()
        data = one.data if one.error is not None else handler.check(one.data)
        try:
            payload = None if data is None else json_text(data)
            metadata = None if one.metadata is None else json_text(one.metadata)
        except (TypeError, ValueError) as error:
            raise InvalidTask(f"data and metadata of a {one.type!r} task must be JSON: {error}") from None
        options = one.options or handler.options
        preset = None if one.service_class is None else service_class(one.service_class)
        task = NewTask(
            id=new_id(),
            type=one.type,
            lane=handler.lane(data) if one.error is None else handler.lane(None),
            rank=_UNRANKED,
            created_at=now,
            payload=payload,
            priority=_priority(one, preset),
            tenant=one.tenant,
            program=one.program,
            entered_at=now + one.delay,
            due_at=now + one.delay if one.delay > 0 else None,
            deadline=_deadline(one, preset, now),
            options=options.as_text(),
            metadata=metadata,
            idempotency_key=one.idempotency_key,
            batch=one.batch,
            position=one.position,
            error=None if one.error is None else json_text(one.error),
        )
        if one.idempotency_key is not None:
            task.fingerprint = hashlib.sha256(f"{one.type}\n{payload}".encode()).hexdigest()[:32]
        size, seconds = self.ranker.expected((one.type, task.lane.model, one.tenant), one.estimated_tokens)
        self.ranker.enter(task, size if one.size is None else one.size, one.estimated_seconds or seconds, now)
        return task

    def notice(self, outcomes: Sequence[AddOutcome], tasks: Sequence[NewTask] = ()) -> None:
        """Tell the dispatcher of tasks that were added in a transaction of the caller's own."""
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

    async def get(self, id: str) -> TaskView | None:
        """The task as it stands; `None` when there is none of that id."""
        return await self.read(lambda reader: reader.task(id))

    async def wait(self, id: str, timeout: float | None = None) -> Any:
        """The task's result, as soon as it is there.

        Raises `TaskFailed`, `TaskCancelled`, `TaskNotFound`, or `WaitTimeout` after `timeout` seconds.
        """
        future: asyncio.Future[Finish] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(id, []).append(future)
        try:
            task = await self.get(id)
            if task is None:
                raise TaskNotFound(f"there is no task {id}", id)
            if task.status.final:
                return _result_of(id, task.status, task.result, task.error)
            async with asyncio.timeout(timeout):
                end = await future
        except TimeoutError:
            raise WaitTimeout(f"task {id} was not done within {timeout:g} seconds; it goes on") from None
        finally:
            self._forget_waiter(id, future)
        result = None if end.result is None else json.loads(end.result)
        return _result_of(id, end.status, result, None if end.error is None else json.loads(end.error))

    async def idle(self) -> None:
        """Wait until nothing runs and nothing claimable is left."""
        await self.node.idle()

    # Control

    async def cancel(self, *ids: str) -> dict[str, bool]:
        """Cancel tasks: those that wait at once, those that run at their next wait. False: too late or
        unknown."""
        return await self.cancel_where(TaskFilter(ids=ids))

    async def cancel_where(self, where: TaskFilter) -> dict[str, bool]:
        """Cancel every task that matches."""

        def work(store: Any) -> tuple[dict[str, bool], list[tuple[int, str]]]:
            answers: dict[str, bool] = store.cancel(where, self.clock.wall())
            running = []
            for id, taken in answers.items():
                view = store.task(id) if taken else None
                if view is not None and view.status is TaskStatus.RUNNING:
                    running.append((view.seq, id))
            return answers, running

        answers, running = await self.node.committer.run(work)
        for seq, _ in running:
            self.node.cancel_running(seq)
        return answers

    async def pause(self, where: TaskFilter | None = None) -> int:
        """Start none of the tasks that match, or (without a filter) nothing at all; how many wait paused."""
        now = self.clock.wall()
        if where is not None:
            return await self.node.committer.run(lambda store: store.pause(where, now))
        await self._set_pause("all", True)
        return 0

    async def resume(self, where: TaskFilter | None = None) -> int:
        """Undo `pause`."""
        now = self.clock.wall()
        if where is None:
            await self._set_pause("all", False)
            return 0
        count = await self.node.committer.run(lambda store: store.resume(where, now))
        self.node.dispatcher.notice_all()
        return count

    async def retry(self, id: str, fresh: bool = False) -> str:
        """Try a failed or cancelled task again, as a new task that has its journal (not with `fresh`); its
        id."""

        def work(store: Any) -> list[AddOutcome]:
            task = again(store.task(id), id, self.clock.wall(), fresh)
            self.ranker.enter(task, 0.0, 0.0, self.clock.wall())
            return list(store.add([task]))

        return self._accepted(await self.node.committer.run(work))[0]

    async def switch_strategy(self, name: str, **settings: Any) -> int:
        """Use another strategy from now on; how many waiting tasks were ranked anew for it. Dispatch goes on
        meanwhile. Raises `ConfigurationError` for a strategy or a setting that there is not."""
        return await self.node.switcher.switch(name, settings)

    async def read(self, work: Callable[[Any], T]) -> T:
        """Read the store on the side."""
        return await self.node.committer.read(work)

    @property
    def node(self) -> Node:
        """The running node; raises when the manager was not started."""
        if self._node is None:
            raise ConfigurationError(
                "the manager is not running; use `async with manager:` or `await manager.start()`"
            )
        return self._node

    @property
    def failure(self) -> StoreError | None:
        """Why the store cannot be written any more (a full disk, say); nothing is started then."""
        return None if self._node is None else self._node.failure

    @property
    def is_running(self) -> bool:
        return self._node is not None

    async def _set_pause(self, scope: str, paused: bool) -> None:
        def work(store: Any) -> list[str]:
            store.set_pause(scope, paused)
            return list(store.pauses())

        self.node.apply_pauses(await self.node.committer.run(work))

    def _accepted(self, outcomes: Sequence[AddOutcome], tasks: Sequence[NewTask] = ()) -> list[str]:
        for outcome in outcomes:
            if isinstance(outcome, PenstockError):
                raise outcome
        self.notice(outcomes, tasks)
        return [outcome.id for outcome in outcomes if isinstance(outcome, Added | Existing)]

    def _ended(self, end: Finish) -> None:
        if self._waiters:
            for future in self._waiters.get(end.task.id, ()):
                if not future.done():
                    future.set_result(end)
        for listener in self.on_end:
            listener(end)

    def _store_failed(self, error: StoreError) -> None:
        for futures in self._waiters.values():
            for future in futures:
                if not future.done():
                    future.set_exception(error)

    def _forget_waiter(self, id: str, future: asyncio.Future[Finish]) -> None:
        waiters = self._waiters.get(id, [])
        if future in waiters:
            waiters.remove(future)
        if not waiters:
            self._waiters.pop(id, None)


def open_store(settings: Settings, read_only: bool = False) -> Store:
    """The store that the settings name."""
    path = ":memory:" if settings.store == "memory" else settings.store.removeprefix("sqlite:///")
    return SqliteStore.open(path, durability=settings.durability, read_only=read_only)


def _priority(one: Submission, preset: ServiceClass | None) -> int:
    if one.priority is not None:
        return read_priority(one.priority)
    return int(Priority.MEDIUM) if preset is None else preset.priority


def _deadline(one: Submission, preset: ServiceClass | None, now: float) -> float | None:
    slo = (
        one.slo_seconds if one.slo_seconds is not None else preset.slo_seconds if preset is not None else None
    )
    deadline = one.deadline if one.deadline is not None else None if slo is None else now + slo
    if deadline is not None and deadline <= now:
        late = f"{now - deadline:.3g} seconds in the past"
        raise InvalidTask(f"the deadline of this {one.type!r} task is {late}; give a later one")
    return deadline


def again(old: TaskView | None, id: str, now: float, fresh: bool) -> NewTask:
    """A new task that does again what an ended one did not bring about."""
    if old is None:
        raise TaskNotFound(f"there is no task {id}", id)
    if old.status not in (TaskStatus.FAILED, TaskStatus.CANCELLED):
        raise InvalidTask(
            f"task {old.id} is {old.status}; only failed and cancelled tasks can be tried again"
        )
    options = replace(read_options(None), **(old.options or {}))
    return NewTask(
        id=new_id(),
        type=old.type,
        lane=Lane(old.type, old.model),
        rank=_UNRANKED,
        created_at=now,
        entered_at=now,
        payload=None if old.payload is None else json_text(old.payload),
        priority=old.priority,
        tenant=old.tenant,
        deadline=old.deadline,
        options=options.as_text(),
        metadata=None if old.metadata is None else json_text(old.metadata),
        retry_of=old.id,
        inherit_journal=not fresh,
        batch=old.batch,
        position=old.position,
    )


def _result_of(id: str, status: TaskStatus, result: Any, error: dict[str, Any] | None) -> Any:
    if status is TaskStatus.COMPLETED:
        return result
    reason = str((error or {}).get("code", ""))
    message = str((error or {}).get("message", "no reason was given"))
    if status is TaskStatus.CANCELLED:
        raise TaskCancelled(f"task {id} was cancelled", id, reason)
    raise TaskFailed(f"task {id} failed ({reason}): {message}", id, reason)
