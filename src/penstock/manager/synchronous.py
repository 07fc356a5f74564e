"""The task manager for plain synchronous code: the same calls, on an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, cast, overload

from penstock.errors import BlockingCall, ConfigurationError, PenstockError
from penstock.manager.ai_task_manager import AITaskManager
from penstock.manager.client import OpenAICompatibleClient
from penstock.manager.synchronous_definitions import SyncTaskDecorator
from penstock.manager.synchronous_workflows import SyncGoals, SyncWorkflowRun
from penstock.manager.workflow_runs import Flow
from penstock.task_types.functions import Functions

P = ParamSpec("P")
R = TypeVar("R")


def _awaited(
    method: Callable[Concatenate[AITaskManager, P], Awaitable[R]],
) -> Callable[Concatenate[SyncTaskManager, P], R]:
    @functools.wraps(method)
    def call(self: SyncTaskManager, *args: P.args, **kwargs: P.kwargs) -> R:
        async def work() -> R:
            return await method(self.manager, *args, **kwargs)

        return self.run(work())

    return cast("Callable[Concatenate[SyncTaskManager, P], R]", call)


def _called(
    method: Callable[Concatenate[AITaskManager, P], R],
) -> Callable[Concatenate[SyncTaskManager, P], R]:
    @functools.wraps(method)
    def call(self: SyncTaskManager, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.call(method, self.manager, *args, **kwargs)

    return cast("Callable[Concatenate[SyncTaskManager, P], R]", call)


def _iterated(
    method: Callable[Concatenate[AITaskManager, P], AsyncIterator[R]],
) -> Callable[Concatenate[SyncTaskManager, P], Iterator[R]]:
    @functools.wraps(method)
    def call(self: SyncTaskManager, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        return _steps(self, self.call(method, self.manager, *args, **kwargs))

    return cast("Callable[Concatenate[SyncTaskManager, P], Iterator[R]]", call)


def _steps(manager: SyncTaskManager, source: AsyncIterator[R]) -> Iterator[R]:
    async def step() -> list[R]:
        return [one async for one in _first(source)]

    try:
        while found := manager.run(step()):
            yield from found
    finally:
        # Also when the caller leaves early; `stop` has closed it already.
        if manager.is_running() and isinstance(source, AsyncGenerator) and not _on_a_loop():
            manager.run(source.aclose())


async def _first(source: AsyncIterator[R]) -> AsyncIterator[R]:
    try:
        yield await anext(source)
    except StopAsyncIteration:
        return


class SyncTaskManager(SyncGoals):
    """`AITaskManager` without `await`: for scripts, threads and frameworks that have no event loop.

    with SyncTaskManager(client, max_concurrent=5) as manager:
        id = manager.submit_task(TaskType.LLM_CALL, {"prompt": "Say hello"})
        print(manager.wait_for_task(id))

    Handlers and callbacks run on the loop's thread (or, plain functions, in the pool). Any thread may call;
    on an event loop's own thread a call is refused, for it would block it.
    """

    def __init__(
        self,
        ai_client: OpenAICompatibleClient | Sequence[OpenAICompatibleClient] | None = None,
        max_concurrent: int = 5,
        **settings: Any,
    ) -> None:
        self.manager = AITaskManager(ai_client, max_concurrent, **settings)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._life = threading.RLock()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin, on a loop in a new thread. Raises as `AITaskManager.start`."""
        _refuse_on_a_loop()
        with self._life:
            if self._loop is not None:
                return
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="penstock-loop", daemon=True)
            self._thread.start()
            try:
                self.run(self.manager.start())
            except BaseException:
                self._close_loop()
                raise

    def stop(self, now: bool = False, timeout: float | None = None) -> None:
        """As `AITaskManager.stop`; the thread ends with it. Ctrl-C meanwhile: as with `now`."""
        _refuse_on_a_loop()
        with self._life:
            if self._loop is None:
                return
            try:
                self.run(self.manager.stop(now, timeout))
            except KeyboardInterrupt:
                self.run(self.manager.stop(now=True))
                raise
            finally:
                self._close_loop()

    @overload
    def run(self, work: Coroutine[Any, Any, R]) -> R: ...
    @overload
    def run(self, work: Flow, **details: Any) -> SyncWorkflowRun: ...

    def run(self, work: Any, **details: Any) -> Any:
        """The result of a coroutine, run on the manager's loop; or a run of a workflow, as
        `AITaskManager.run`."""
        if isinstance(work, Coroutine):
            return self._result_of(work)
        return SyncWorkflowRun(self, self._result_of(self.manager.run(work, **details)))

    def _result_of(self, work: Coroutine[Any, Any, R]) -> R:
        loop = self._loop
        try:
            _refuse_on_a_loop()
            if loop is None:
                raise _not_running()
            future = asyncio.run_coroutine_threadsafe(work, loop)
        except RuntimeError:  # the loop was closed since
            work.close()
            raise _not_running() from None
        except PenstockError:
            work.close()
            raise
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise _not_running() from None
        except BaseException:
            future.cancel()  # a Ctrl-C here must not leave the work behind
            raise

    def workflow(self, id: str) -> SyncWorkflowRun:
        """As `AITaskManager.workflow`."""
        return SyncWorkflowRun(self, self.manager.workflow(id))

    def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The result of a plain function, called on the manager's loop while there is one."""
        if self._loop is None:
            return function(*args, **kwargs)
        return self.run(_soon(function, *args, **kwargs))

    def _close_loop(self) -> None:
        loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.run_until_complete(_cancel_others())  # calls that other threads made meanwhile
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    # What is registered

    @property
    def task(self) -> SyncTaskDecorator:
        """`@manager.task`: make a function whose calls can be submitted as tasks."""
        return SyncTaskDecorator(self, self.manager.task)

    @property
    def tool(self) -> Any:
        """As `AITaskManager.tool`."""
        return self.manager.tool

    @property
    def functions(self) -> Functions:
        """As `AITaskManager.functions`."""
        return self.manager.functions

    @property
    def cost_controller(self) -> SyncCostController:
        """As `AITaskManager.cost_controller`."""
        return SyncCostController(self)

    def register_type(self, name: str, handler: Callable[..., Any], **details: Any) -> None:
        """As `AITaskManager.register_type`."""
        self.call(self.manager.register_type, name, handler, **details)

    # The calls

    submit_task = _awaited(AITaskManager.submit_task)
    submit_batch = _awaited(AITaskManager.submit_batch)
    wait_for_task = _awaited(AITaskManager.wait_for_task)
    wait_for_tasks = _awaited(AITaskManager.wait_for_tasks)
    cancel_task = _awaited(AITaskManager.cancel_task)
    cancel_batch = _awaited(AITaskManager.cancel_batch)
    retry_task = _awaited(AITaskManager.retry_task)
    fork_task = _awaited(AITaskManager.fork_task)
    plan_made = _awaited(AITaskManager.plan_made)
    read_plan = _called(AITaskManager.read_plan)
    send_event = _awaited(AITaskManager.send_event)
    decide = _awaited(AITaskManager.decide)
    approvals = _called(AITaskManager.approvals)
    cleanup_old_tasks = _awaited(AITaskManager.cleanup_old_tasks)
    schedule = _awaited(AITaskManager.schedule)
    unschedule = _awaited(AITaskManager.unschedule)
    pause_schedule = _awaited(AITaskManager.pause_schedule)
    resume_schedule = _awaited(AITaskManager.resume_schedule)
    run_schedule_now = _awaited(AITaskManager.run_schedule_now)
    schedules = _called(AITaskManager.schedules)
    as_completed = _iterated(AITaskManager.as_completed)
    events = _iterated(AITaskManager.events)
    get_task = _called(AITaskManager.get_task)
    get_task_status = _called(AITaskManager.get_task_status)
    get_task_result = _called(AITaskManager.get_task_result)
    list_tasks = _called(AITaskManager.list_tasks)
    get_statistics = _called(AITaskManager.get_statistics)
    get_queue_status = _called(AITaskManager.get_queue_status)
    adjust_settings = _called(AITaskManager.adjust_settings)
    add_tool = _called(AITaskManager.add_tool)
    add_agent = _called(AITaskManager.add_agent)
    add_team = _called(AITaskManager.add_team)
    pause = _called(AITaskManager.pause)
    resume = _called(AITaskManager.resume)

    def switch_strategy(self, name: str, **settings: Any) -> int:
        """As `AITaskManager.switch_strategy`."""
        return self.run(self.manager.switch_strategy(name, **settings))

    def is_running(self) -> bool:
        return self.manager.is_running()

    def is_paused(self) -> bool:
        return self.manager.is_paused()


class SyncCostController:
    """As `CostController`, from any thread."""

    def __init__(self, manager: SyncTaskManager) -> None:
        self._manager = manager
        self._inner = manager.manager.cost_controller

    @property
    def total_cost(self) -> float:
        """US dollars since the store was made or the total was reset."""
        return self.get_costs()["total"]["cost"] or 0.0

    def get_costs(self) -> dict[str, dict[str, float | None]]:
        """Cost, limit, remaining and percentage: total, daily, hourly."""
        return self._manager.call(self._inner.get_costs)

    def reset_total_cost(self) -> None:
        """Count the total from now on."""
        self._manager.call(self._inner.reset_total_cost)


async def _soon(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """A plain call, made on the loop."""
    return function(*args, **kwargs)


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def _not_running() -> ConfigurationError:
    return ConfigurationError("the manager is not running; use `with manager:` or `manager.start()`")


def _refuse_on_a_loop() -> None:
    if _on_a_loop():
        raise BlockingCall(
            "a SyncTaskManager was called on an event loop's own thread, which it would block; "
            "use AITaskManager there"
        )


def _on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
