"""What a handler sees: its task, its recorded steps, and the way to the gate."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import logging
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextvars import ContextVar
from typing import Any, TypeVar

from penstock.errors import Parked, TaskNotFound
from penstock.model.options import TaskOptions
from penstock.model.states import TaskStatus
from penstock.model.step import StepKey, digest_arguments
from penstock.model.task import Claimed
from penstock.runtime.branches import Branch, carried, uncarried
from penstock.runtime.counted_steps import CountedSteps
from penstock.runtime.durable import DurableContext
from penstock.runtime.footing import Footing
from penstock.runtime.holding import Holding
from penstock.runtime.position import current_position, owns_scope, within
from penstock.runtime.recorder import Recorder
from penstock.runtime.services import Services
from penstock.runtime.sync_context import SyncContext
from penstock.stores.contract import Reader

log = logging.getLogger("penstock.journal")

T = TypeVar("T")


_validator: ContextVar[Callable[[Any], Any] | None] = ContextVar("penstock_validator", default=None)


def current_validator() -> Callable[[Any], Any] | None:
    """What a model's reply must pass before it is recorded, if anything was set by `ctx.validating`."""
    return _validator.get()


class TaskContext(DurableContext):
    """Handed to a handler. Steps made through it are recorded before the handler goes on, so that after a
    crash they answer from the journal and are not paid again."""

    def __init__(self, task: Claimed, options: TaskOptions, services: Services) -> None:
        super().__init__(task, services)
        self.options = options
        self.parked = False
        self.holding = Holding(services.slots, services.clock, options.timeout)
        self.recorder = Recorder(task, options, services)
        self.footing = Footing(task, services.ranker, services.shares, services.clock)
        self.steps = CountedSteps(self.recorder, self.footing, self.holding.under_way, services.clock)
        self.sync = SyncContext(self)
        self._branches: dict[str, int] = {}
        self._gathering: Counter[str] = Counter()

    async def results(self) -> dict[str, Any]:
        """The results of the tasks that this one waited for (`after`), by id, in the order given."""

        def look(reader: Reader) -> tuple[list[str], dict[str, tuple[TaskStatus, str | None, str | None]]]:
            ids = reader.dependencies(self.task.seq)
            return ids, reader.results_of(ids)

        ids, found = await self.services.committer.read(look)
        if gone := [id for id in ids if id not in found]:
            raise TaskNotFound(
                f"task {gone[0]}, whose result task {self.task_id} needs, was removed", gone[0]
            )
        return {id: None if (text := found[id][1]) is None else json.loads(text) for id in ids}

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
        scope = await self.steps.begin(step)
        try:
            with self.inside(scope):
                result = await _call(self.services, function, *args, **kwargs)
        except BaseException as error:
            self.steps.failed(scope, error)
            raise
        return await self.steps.end(step, scope, result, validate)

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

        When one fails the others are cancelled, and its error is raised. When one has to leave, because the
        node stops or the task is put back, steps of the others that are under way come to their end first.
        """
        for one in branches:
            if not inspect.isawaitable(one):
                raise TypeError(f"ctx.gather takes what can be awaited, gather(*branches), not {one!r:.80}")
        scope = self.scope
        number = self._branches[scope] = self._branches.get(scope, -1) + 1
        self._warn_of_two(scope)

        async def run(place: int, known: Branch, branch: Awaitable[Any]) -> Any:
            with (
                within(self, f"{scope}/gather{number}.{place}"),
                self.waits.branches.running(known),
                carried(),
            ):
                async with self._leaving_politely():
                    return await branch

        forked = self.waits.branches.fork(len(branches))
        self._gathering[scope] += 1
        try:
            async with asyncio.TaskGroup() as group:
                running = [
                    group.create_task(run(place, known, branch))
                    for place, (known, branch) in enumerate(zip(forked, branches, strict=True))
                ]
        except BaseExceptionGroup as errors:
            raise uncarried(errors.exceptions[0]) from None
        finally:
            self._gathering[scope] -= 1
            self.waits.branches.join(forked)
        return [task.result() for task in running]

    def _warn_of_two(self, scope: str) -> None:
        """Gathers are known by their number; which of two at once has which may differ after a crash."""
        if self._gathering[scope]:
            log.warning(
                "task %s: two ctx.gather at once in scope %r, whose steps may not be found again after "
                "a crash; put the code around each into `async with ctx.branch(key)`, or use one ctx.gather",
                self.task_id,
                scope or "top",
            )

    @contextlib.asynccontextmanager
    async def branch(self, key: str) -> AsyncIterator[None]:
        """A scope of its own for code that runs beside other code of the same task."""
        with self.inside(f"{self.scope}/{key}"):
            async with self._leaving_politely():
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

    @contextlib.asynccontextmanager
    async def _leaving_politely(self) -> AsyncIterator[None]:
        """Around code whose end cancels others."""
        try:
            yield
        except Parked:
            self.parked = True
            await self.holding.under_way.others_end(self.scope)
            raise

    def check_cancelled(self) -> None:
        """A place where the handler may be left: raises what takes it off its slot when the task was
        cancelled, timed out, or its node stops. For code that computes long without a step or an await."""
        self.check_parked()

    # What the transport and the runner need

    @contextlib.asynccontextmanager
    async def off_slot(self) -> AsyncIterator[None]:
        """Wait for something that is no call without keeping others from running."""
        self.holding.wait()
        try:
            yield
        except BaseException as error:
            self.holding.gave_up(error, self.scope)
            raise
        await self.regain_slot()

    async def regain_slot(self) -> None:
        """Come back from a wait that brought no slot."""
        try:
            await self.services.exchange.admitter.regain_slot(self.footing.caller())
        except BaseException as error:
            self.holding.gave_up(error, self.scope)
            raise
        self.holding.returned()

    @property
    def scope(self) -> str:
        position = current_position()
        return position.scope if position is not None and position.context is self else ""

    def inside(
        self, scope: str, narrow: Callable[[], str] | None = None
    ) -> contextlib.AbstractContextManager[None]:
        if self.task.journaled and not owns_scope():
            self.recorder.share(self.scope)
        return within(self, scope, narrow)

    def step_key(
        self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], key: str | None = None
    ) -> StepKey:
        return StepKey(self.scope, name, key if key is not None else digest_arguments(args, kwargs))

    async def let_others_pass(self) -> None:
        """Between steps a better-ranked task takes the slot, where the policy says that steps compete."""
        admitter = self.services.exchange.admitter
        if self.services.ranker.preemptive and admitter.contended:
            self.holding.wait()
            with self.footing.in_line():
                await self.regain_slot()

    def check_parked(self) -> None:
        """Raise `Parked` when the task is to leave; again at each step when a handler swallowed it."""
        if self.parked or self.services.stopping:
            self.holding.under_way.turn_away(self.scope)
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
