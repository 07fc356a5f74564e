"""The steps of a task for synchronous handlers: they run in a thread, the journal stays on the loop."""

from __future__ import annotations

import contextlib
import inspect
import json
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from penstock.model.decision import Decision
from penstock.runtime.branches import comes_from_thread
from penstock.runtime.portal import wait_for
from penstock.runtime.position import owns_scope, within

if TYPE_CHECKING:
    from penstock.runtime.child_tasks import Work
    from penstock.runtime.context import TaskContext

T = TypeVar("T")


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
        known = wait_for(self._loop, context.recorder.find(step, owns_scope()))
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

    def sleep(self, seconds: float) -> None:
        """The same as `TaskContext.sleep`."""
        self._waited(self._context.sleep(seconds))

    def sleep_until(self, instant: float) -> None:
        """The same as `TaskContext.sleep_until`."""
        self._waited(self._context.sleep_until(instant))

    def wait_for_event(self, name: str, timeout: float | None = None) -> Any:
        """The same as `TaskContext.wait_for_event`."""
        return self._waited(self._context.wait_for_event(name, timeout))

    def approve(self, question: str, **details: Any) -> Decision:
        """The same as `TaskContext.approve`."""
        return self._waited(self._context.approve(question, **details))

    def child(self, type: Work, data: Any = None, *, key: str | None = None, **details: Any) -> Any:
        """The same as `TaskContext.child`."""
        return self._waited(self._context.child(type, data, key=key, **details))

    def check_cancelled(self) -> None:
        """The same as `TaskContext.check_cancelled`."""
        self._context.check_cancelled()

    def _waited(self, work: Coroutine[Any, Any, T]) -> T:
        return wait_for(self._loop, _for_thread(self._context, owns_scope(), work))

    @contextlib.contextmanager
    def branch(self, key: str) -> Iterator[None]:
        """A scope of its own; enter it in the thread that runs the branch."""
        with self._context.inside(f"{self._context.scope}/{key}"):
            yield

    def validating(self, validate: Callable[[Any], Any]) -> contextlib.AbstractContextManager[None]:
        """The same as `TaskContext.validating`."""
        return self._context.validating(validate)

    def capturing(self) -> contextlib.AbstractContextManager[None]:
        """The same as `TaskContext.capturing`."""
        return self._context.capturing()


async def _for_thread(context: TaskContext, owned: bool, work: Coroutine[Any, Any, T]) -> T:
    """What the code of a thread does by means of this asyncio task."""
    comes_from_thread()
    with within(context, context.scope) if owned else contextlib.nullcontext():
        return await work


async def _awaited(result: Any) -> Any:
    return await result
