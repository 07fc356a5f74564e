"""What a handler sees: its task, its recorded steps, and the way to the gate."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeVar

from penstock.errors import Parked
from penstock.model.options import TaskOptions
from penstock.model.step import StepKey, digest_arguments
from penstock.model.task import Claimed
from penstock.runtime.footing import Footing
from penstock.runtime.holding import Holding
from penstock.runtime.recorder import Recorder
from penstock.runtime.services import Services
from penstock.runtime.sync_context import SyncContext

T = TypeVar("T")


class Position(NamedTuple):
    """Where in which task the running code is."""

    context: TaskContext
    scope: str


_position: ContextVar[Position | None] = ContextVar("penstock_position", default=None)
_validator: ContextVar[Callable[[Any], Any] | None] = ContextVar("penstock_validator", default=None)


def current_position() -> Position | None:
    """The task and scope of the running code; `None` outside any handler."""
    return _position.get()


def current_validator() -> Callable[[Any], Any] | None:
    """What a model's reply must pass before it is recorded, if anything was set by `ctx.validating`."""
    return _validator.get()


class TaskContext:
    """Handed to a handler. Steps made through it are recorded before the handler goes on, so that after a
    crash they answer from the journal and are not paid again."""

    def __init__(self, task: Claimed, options: TaskOptions, services: Services) -> None:
        self.task = task
        self.options = options
        self.services = services
        self.parked = False
        self.holding = Holding(services.slots, services.clock, options.timeout)
        self.recorder = Recorder(task, options, services)
        self.footing = Footing(task, services.ranker, services.shares, services.clock)
        self.sync = SyncContext(self)
        self._branches: dict[str, int] = {}

    @property
    def task_id(self) -> str:
        return self.task.id

    @property
    def attempt(self) -> int:
        return self.task.attempt

    @property
    def tenant(self) -> str:
        return self.task.tenant

    @property
    def data(self) -> Any:
        """The task's data, read anew at each call."""
        return None if self.task.payload is None else json.loads(self.task.payload)

    @property
    def metadata(self) -> Any:
        return None if self.task.metadata is None else json.loads(self.task.metadata)

    # Steps

    async def step(
        self,
        name: str,
        function: Callable[..., Any],
        *args: Any,
        key: str | None = None,
        validate: Callable[[Any], Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """The recorded result of `function(*args, **kwargs)`, run at most once to its end over all attempts.

        The step is known by its name, scope and arguments (or `key`); its result must be JSON. A plain
        function runs in the thread pool; what it returns is awaited when it is a coroutine. What
        `validate` raises rejects the result before it is recorded.
        """
        step = self.step_key(name, args, kwargs, key)
        known = await self.recorder.find(step)
        if known is not None:
            return json.loads(known)
        self.check_parked()
        await self.let_others_pass()
        before, begun = self.footing.steps, self.services.clock.monotonic()
        with self.inside(await self.recorder.scope_of(step)):
            result = await _call(self.services, function, *args, **kwargs)
        kept = await self.recorder.keep(step, result, validate)
        self.footing.over(before, self.services.clock.monotonic() - begun)
        return kept

    async def now(self) -> float:
        """The wall clock in seconds since the epoch, recorded: the same after a crash."""
        return float(await self.step("now", _async(self.services.clock.wall)))

    async def random(self) -> float:
        """A random number in [0, 1), recorded."""
        return float(await self.step("random", _async(self.services.random.random)))

    async def uuid(self) -> str:
        """A random UUID, recorded."""
        return str(await self.step("uuid", _async(lambda: str(uuid.uuid4()))))

    async def gather(self, *branches: Awaitable[Any]) -> list[Any]:
        """Run branches side by side, each in a scope of its own; their results in order.

        When one fails the others are cancelled, and its error is raised.
        """
        scope = self.scope
        number = self._branches[scope] = self._branches.get(scope, -1) + 1

        async def run(place: int, branch: Awaitable[Any]) -> Any:
            with self.inside(f"{scope}/gather{number}.{place}"):
                return await branch

        try:
            async with asyncio.TaskGroup() as group:
                running = [group.create_task(run(place, branch)) for place, branch in enumerate(branches)]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return [task.result() for task in running]

    @contextlib.asynccontextmanager
    async def branch(self, key: str) -> AsyncIterator[None]:
        """A scope of its own for code that runs beside other code of the same task."""
        with self.inside(f"{self.scope}/{key}"):
            yield

    @contextlib.contextmanager
    def validating(self, validate: Callable[[Any], Any]) -> Iterator[None]:
        """Replies of model calls made inside (by any SDK on the gated transport) must pass `validate(body)`
        before they are recorded; what it raises makes the call a failed try. Streams have reached their
        reader by the time they are whole, and are not validated."""
        token = _validator.set(validate)
        try:
            yield
        finally:
            _validator.reset(token)

    # What the transport and the runner need

    @contextlib.asynccontextmanager
    async def off_slot(self) -> AsyncIterator[None]:
        """Wait for something that is no call without keeping others from running."""
        self.holding.wait()
        try:
            yield
        except BaseException:
            self.holding.gave_up()
            raise
        await self.regain_slot()

    async def regain_slot(self) -> None:
        """Come back from a wait that brought no slot."""
        try:
            await self.services.exchange.admitter.regain_slot(self.footing.caller())
        except BaseException:
            self.holding.gave_up()
            raise
        self.holding.returned()

    @property
    def scope(self) -> str:
        position = _position.get()
        return position.scope if position is not None and position.context is self else ""

    @contextlib.contextmanager
    def inside(self, scope: str) -> Iterator[None]:
        token = _position.set(Position(self, scope))
        try:
            yield
        finally:
            _position.reset(token)

    def step_key(
        self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], key: str | None = None
    ) -> StepKey:
        return StepKey(self.scope, name, key if key is not None else digest_arguments(args, kwargs))

    async def let_others_pass(self) -> None:
        """Between steps a better-ranked task takes the slot, where the policy says that steps compete."""
        admitter = self.services.exchange.admitter
        if self.services.ranker.preemptive and admitter.contended:
            self.holding.wait()
            await self.regain_slot()

    def check_parked(self) -> None:
        """Raise `Parked` when the task is to leave; again at each step when a handler swallowed it."""
        if self.parked or self.services.stopping:
            raise Parked


async def _call(services: Services, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if inspect.iscoroutinefunction(function):
        return await function(*args, **kwargs)
    result = await services.in_thread(function, *args, **kwargs)
    return await result if inspect.isawaitable(result) else result


def _async(function: Callable[[], T]) -> Callable[[], Awaitable[T]]:
    """For functions that are over at once: a thread would cost more than they do."""

    async def call() -> T:
        return function()

    return call
