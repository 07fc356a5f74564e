"""The steps of a task for synchronous handlers: they run in a thread, the journal stays on the loop."""

from __future__ import annotations

import contextlib
import inspect
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from penstock.runtime.portal import wait_for

if TYPE_CHECKING:
    from penstock.runtime.context import TaskContext


class SyncContext:
    """`context.sync` of a `TaskContext`, for plain functions in threads: the same steps, scopes and journal.

    Raises `BlockingCall` when used on the loop's own thread.
    """

    def __init__(self, context: TaskContext) -> None:
        self._context = context
        self._loop = context.services.loop

    def step(
        self,
        name: str,
        function: Callable[..., Any],
        *args: Any,
        key: str | None = None,
        validate: Callable[[Any], Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Like `TaskContext.step`; a plain function runs in the calling thread."""
        context = self._context
        step = context.step_key(name, args, kwargs, key)
        known = wait_for(self._loop, context.recorder.find(step))
        if known is not None:
            return json.loads(known)
        context.check_parked()
        wait_for(self._loop, context.let_others_pass())
        scope = wait_for(self._loop, context.steps.begin(step))
        try:
            with context.inside(scope):
                result = function(*args, **kwargs)
                if inspect.isawaitable(result):
                    result = wait_for(self._loop, _awaited(result))
        except BaseException as error:
            self._loop.call_soon_threadsafe(context.steps.failed, scope, error)
            raise
        return wait_for(self._loop, context.steps.end(step, scope, result, validate))

    def progress(self, current: float, total: float | None = None, message: str = "") -> None:
        """The same as `TaskContext.progress`, from any thread."""
        self._context.progress(current, total, message)

    def report_use(self, pool: str, amount: float) -> None:
        """The same as `TaskContext.report_use`."""
        self._context.report_use(pool, amount)

    def now(self) -> float:
        """The wall clock in seconds since the epoch, recorded."""
        return wait_for(self._loop, self._context.now())

    def random(self) -> float:
        """A random number in [0, 1), recorded."""
        return wait_for(self._loop, self._context.random())

    def uuid(self) -> str:
        """A random UUID, recorded."""
        return wait_for(self._loop, self._context.uuid())

    @contextlib.contextmanager
    def branch(self, key: str) -> Iterator[None]:
        """A scope of its own; enter it in the thread that runs the branch."""
        with self._context.inside(f"{self._context.scope}/{key}"):
            yield

    def validating(self, validate: Callable[[Any], Any]) -> contextlib.AbstractContextManager[None]:
        """The same as `TaskContext.validating`."""
        return self._context.validating(validate)


async def _awaited(result: Any) -> Any:
    return await result
