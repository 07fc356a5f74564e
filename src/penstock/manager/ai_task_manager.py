"""The AI task manager: durable tasks, model calls within limits, budgets, callbacks and statistics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Self

from pydantic import BaseModel

from penstock.errors import ConfigurationError, InvalidTask, TaskNotFound
from penstock.manager.agents import AgentFace
from penstock.manager.ai_scheduling import AIScheduling
from penstock.manager.answering import AIAnswering
from penstock.manager.callbacks import Callbacks
from penstock.manager.client import OpenAICompatibleClient
from penstock.manager.costs import CostController
from penstock.manager.definitions import TaskDecorator, TaskTerms
from penstock.manager.engine import Manager
from penstock.manager.forking import AIForking
from penstock.manager.given import check_batch, read_config, several, type_name
from penstock.manager.goals import GoalFace
from penstock.manager.registering import Registering
from penstock.manager.setup import Setup, changed_settings, check_span, make_engine
from penstock.manager.statistics import by_priority, statistics
from penstock.manager.submission import Submission
from penstock.manager.task_config import SUBMISSION_FIELDS, TaskConfig
from penstock.manager.task_object import AITask, task_object
from penstock.manager.unset import UNSET, Unset
from penstock.manager.workflow_runs import AIWorkflows
from penstock.model.estimate import Estimate
from penstock.model.priority import Priority
from penstock.model.states import WAITING
from penstock.model.task_type import TaskType
from penstock.stores.contract import Event, TaskFilter


class AITaskManager(AgentFace, GoalFace, Registering, AIScheduling, AIForking, AIAnswering, AIWorkflows):
    """Tasks for AI work that wait durably, run within limits and budgets, and survive crashes.

    async with AITaskManager(ai_client=client, max_concurrent=5, budget_limit=10.0) as manager:
        id = await manager.submit_task(TaskType.LLM_CALL, {"prompt": "Say hello"})
        print(await manager.wait_for_task(id))

    Limits: requests per minute and hour, tokens per minute; budgets in US dollars: in all, per day, per hour.
    `store` is `sqlite:///path`, a path, or `memory`; a private file of this program when it is not given.
    `settings` are fields of `Setup`.
    """

    def __init__(
        self,
        ai_client: OpenAICompatibleClient | Sequence[OpenAICompatibleClient] | None = None,
        max_concurrent: int = 5,
        **settings: Any,
    ) -> None:
        self.setup = Setup.read(ai_client, max_concurrent, settings)
        self.engine: Manager = make_engine(self.setup)
        super().__init__(self.engine, self.setup)
        self._add_goal_types()
        self.cost_controller = CostController(self.engine)
        self._callbacks = Callbacks(self.engine)
        self.engine.check_scheduled = lambda one: self.engine.check_money([one], self.setup.base_url)
        self._background: set[asyncio.Task[Any]] = set()
        self._last: dict[str, Any] | None = None
        self._last_queue: dict[str, Any] | None = None

    # Life

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Open the store and begin; what an earlier process left goes on.

        Raises `StoreBusy` when another process works on this store.
        """
        if self.engine.is_running:
            return
        await self.engine.start()
        try:
            self.open_client()
            self.engine.node.on_progress = self._callbacks.progressed
            await _look_up_prices(self.engine, self.setup)
        except BaseException:  # the store must not stay locked
            await self.close_client()
            await self.engine.stop(now=True)
            raise

    async def stop(self, now: bool = False, timeout: float | None = None) -> None:
        """Start nothing more, let calls in flight and handlers between their steps come to an end, and close.

        With `now` they are cancelled, with `timeout` after so many seconds. What did not end goes on at the
        next start.
        """
        if not self.engine.is_running:
            return
        self._last = {
            **self.get_statistics(),
            "status": {**self.get_statistics()["status"], "running": False},
        }
        self._last_queue = self.get_queue_status()
        if self._background:
            await asyncio.gather(*self._background, return_exceptions=True)
        with ExitStack() as patience:
            if timeout is not None:
                later = asyncio.get_running_loop().call_later(timeout, self.engine.leave_now)
                patience.callback(later.cancel)
            await self.engine.node.drain(now)
        await self._callbacks.finish()
        await self.close_client()
        await self.engine.stop(now)

    @property
    def task(self) -> TaskDecorator:
        """`@manager.task`: make a function whose calls can be submitted as tasks."""
        return TaskDecorator(self, TaskTerms())

    def is_running(self) -> bool:
        return self.engine.is_running

    def is_paused(self) -> bool:
        return self.engine.is_running and self.engine.node.dispatcher.paused

    def pause(self) -> None:
        """Start no more tasks; what runs goes on. Holds over restarts, until `resume`."""
        self.engine.node.dispatcher.paused = True
        self._later(self.engine.pause())

    def resume(self) -> None:
        """Undo `pause`."""
        self.engine.node.dispatcher.paused = False
        self.engine.node.dispatcher.notice_all()
        self._later(self.engine.resume())

    # In

    async def submit_task(
        self,
        task_type: TaskType | str,
        data: Any = None,
        priority: Priority | int | str | None = None,
        config: TaskConfig | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> str:
        """Add one task; its id, once it is durable.

        Raises `InvalidTask` naming the field that is wrong, `QueueFull`, `BudgetExhausted` when the estimate
        is over what is left of a budget, `IdempotencyConflict`.
        """
        one = {
            "task_type": task_type,
            "data": data,
            "priority": priority,
            "config": config,
            "metadata": metadata,
        }
        return (await self.submit_batch([one]))[0]

    async def submit_batch(
        self,
        tasks: Sequence[Mapping[str, Any]],
        priority: Priority | int | str | None = None,
        config: TaskConfig | None = None,
    ) -> list[str]:
        """Add all of them in one transaction, or none; their ids in order.

        Each has `task_type` and `data`, and may have `priority`, `config` and `metadata` of its own.
        """
        check_batch(tasks)
        configs = [read_config(one.get("config") or config) for one in tasks]
        submissions = [
            self._submission(one, place, priority, own)
            for place, (one, own) in enumerate(zip(tasks, configs, strict=True))
        ]
        self.engine.check_money(submissions, self.setup.base_url)
        ids = await self.engine.submit_many(submissions)
        for id, own in zip(ids, configs, strict=True):
            self._callbacks.expect(id, own)
        return ids

    def _submission(
        self, one: Mapping[str, Any], place: int, priority: Priority | int | str | None, config: TaskConfig
    ) -> Submission:
        unknown = one.keys() - {"task_type", "data", "priority", "config", "metadata"}
        if unknown or "task_type" not in one:
            wrong = f"has the unknown field {sorted(unknown)[0]!r}" if unknown else "has no task_type"
            raise InvalidTask(f"task {place} {wrong}; it takes task_type, data, priority, config, metadata")
        data = one.get("data")
        own = one.get("priority")
        return Submission(
            type_name(one["task_type"], self.engine),
            data.model_dump(mode="json", exclude_unset=True) if isinstance(data, BaseModel) else data,
            priority=own if own is not None else priority,
            metadata=one.get("metadata"),
            options=config.options,
            **{name: getattr(config, name) for name in SUBMISSION_FIELDS},
        )

    # Out

    def get_task(self, task_id: str) -> AITask | None:
        """The task as it stands; `None` when there is none."""
        view = self.engine.peek(lambda reader: reader.task(task_id))
        return None if view is None else task_object(view, self.engine.clock.wall())

    def get_task_status(self, task_id: str) -> dict[str, Any] | None:
        """Status, instants (ISO 8601, UTC) and metrics of a task; `None` when there is none."""
        task = self.get_task(task_id)
        if task is None:
            return None
        told = task.as_dict()
        del told["data"], told["result"]
        return told

    def get_task_result(self, task_id: str) -> Any:
        """The result, or `None` while it is not there."""
        task = self.get_task(task_id)
        return None if task is None else task.result

    async def wait_for_task(self, task_id: str, timeout: float | None = None) -> Any:
        """The result, as soon as it is there.

        Raises `TaskFailed`, `TaskCancelled`, `TaskNotFound`, or `WaitTimeout` after `timeout` seconds.
        """
        return await self.engine.wait(task_id, timeout)

    async def wait_for_tasks(
        self, task_ids: Sequence[str], timeout: float | None = None, return_exceptions: bool = False
    ) -> list[Any]:
        """The results of all of them, in order; the first failure is raised as soon as it happens, or with
        `return_exceptions` takes the place of its result."""
        found: dict[str, Any] = {}
        async for outcome in self.engine.outcomes(several(task_ids), timeout):
            try:
                found[outcome.id] = outcome.value()
            except Exception as error:
                if not return_exceptions:
                    raise
                found[outcome.id] = error
        return [found[id] for id in task_ids]

    async def as_completed(
        self, task_ids: Sequence[str], timeout: float | None = None
    ) -> AsyncIterator[AITask]:
        """The tasks in the order in which they end, failed and cancelled ones included."""
        async for outcome in self.engine.outcomes(several(task_ids), timeout):
            view = await self.engine.get(outcome.id)
            if view is not None:
                yield task_object(view, self.engine.clock.wall())

    def events(
        self, task_id: str | None = None, after: int | None = None, kinds: Sequence[str] = ()
    ) -> AsyncIterator[Event]:
        """What happens after this call (or `after` an event's number), of one task or of all, as it becomes
        durable. Ends with the manager, and with one task's end."""
        if task_id is None and after is None:
            after = self.engine.peek(lambda reader: reader.last_event())
        return self.engine.events(task_id, after, kinds)

    def list_tasks(
        self, where: TaskFilter | None = None, limit: int = 100, after: str | None = None
    ) -> list[AITask]:
        """A page of tasks, newest first: by status, type, tenant, tags or metadata.

        `after` is the id of the last task of the page before. Raises `TaskNotFound` when it is gone.
        """
        if where is not None and not isinstance(where, TaskFilter):
            raise ConfigurationError(f"where must be a TaskFilter(...), not {where!r}")
        last = None if after is None else self.engine.peek(lambda reader: reader.task(after))
        if after is not None and last is None:
            raise TaskNotFound(f"there is no task {after}", after)
        seq = 0 if last is None else last.seq
        views = self.engine.peek(lambda reader: reader.tasks(where or TaskFilter(), seq, limit))
        now = self.engine.clock.wall()
        return [task_object(view, now) for view in views]

    # Control

    async def cancel_task(self, task_id: str) -> bool:
        """Cancel a task that waits, or one that runs at its next wait; False: too late or unknown."""
        return (await self.engine.cancel(task_id)).get(task_id, False)

    async def cancel_batch(self, task_ids: Sequence[str]) -> dict[str, bool]:
        """Cancel many in one transaction."""
        answers = await self.engine.cancel(*several(task_ids)) if task_ids else {}
        return {id: answers.get(id, False) for id in task_ids}

    async def retry_task(self, task_id: str, fresh: bool = False) -> str:
        """Try a failed or cancelled task again as a new one; its recorded steps are not paid again (unless
        `fresh`)."""
        return await self.engine.retry(task_id, fresh)

    def adjust_settings(  # noqa: PLR0913 - one keyword for each limit
        self,
        *,
        max_concurrent: int | Unset = UNSET,
        requests_per_minute: int | Unset | None = UNSET,
        requests_per_hour: int | Unset | None = UNSET,
        tokens_per_minute: int | Unset | None = UNSET,
        budget_limit: float | Unset | None = UNSET,
        daily_limit: float | Unset | None = UNSET,
        hourly_limit: float | Unset | None = UNSET,
        max_queue_size: int | Unset | None = UNSET,
    ) -> None:
        """Change limits while everything runs: they hold from the next call on. `None` takes a limit away."""
        given = {name: value for name, value in locals().items() if name != "self" and value is not UNSET}
        self.engine.adjust(changed_settings(self.engine.settings, given))

    async def switch_strategy(self, name: str, **settings: Any) -> int:
        """Use another scheduling strategy from now on; how many waiting tasks were ranked anew."""
        return await self.engine.switch_strategy(name, **settings)

    async def cleanup_old_tasks(self, older_than_hours: float = 24) -> int:
        """Remove tasks that ended longer ago than that; how many. Dispatch goes on meanwhile."""
        check_span("older_than_hours", older_than_hours)
        return await self.engine.clean_up(older_than_hours * 3600.0)

    # Figures

    def get_statistics(self) -> dict[str, Any]:
        """Everything at a glance, in constant time; after `stop`, as it was last."""
        if not self.engine.is_running and self._last is not None:
            return self._last
        return statistics(self.engine, self.is_paused())

    def get_queue_status(self) -> dict[str, Any]:
        """How many tasks wait, by priority, and whether there is room."""
        if not self.engine.is_running and self._last_queue is not None:
            return self._last_queue
        tallies = self.engine.peek(lambda reader: reader.tallies())
        waiting = sum(one.count for one in tallies if one.status in WAITING)
        capacity = self.engine.settings.max_queue_size
        unfinished = sum(one.count for one in tallies if not one.status.final)
        return {
            "total_size": waiting,
            "is_full": capacity is not None and unfinished >= capacity,
            "is_empty": waiting == 0,
            "by_priority": by_priority(tallies),
            "max_size": capacity,
        }

    def _later(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


async def create_ai_task_manager(
    api_key: str | None = None,
    max_concurrent: int = 5,
    budget_limit: float | None = None,
    base_url: str | None = None,
    timeout: float = 30,
    rate_limit: int | None = 60,
    **settings: Any,
) -> AITaskManager:
    """A running manager on an OpenAI-compatible endpoint; `rate_limit` is requests per minute.

    Key and address default to `OPENAI_API_KEY` and `OPENAI_BASE_URL`. `settings` are those of
    `AITaskManager`. Call `await manager.stop()` at the end, or use `async with await create_...`.
    """
    from penstock.manager.client import APIConfig

    client = OpenAICompatibleClient(APIConfig(api_key, base_url, timeout, rate_limit))
    manager = AITaskManager(
        client,
        max_concurrent,
        **{"requests_per_minute": rate_limit, "budget_limit": budget_limit, **settings},
    )
    await manager.start()
    return manager


async def _look_up_prices(engine: Manager, setup: Setup) -> None:
    """Load the published prices beside the loop: the first call would stop it for half a second."""
    weigher, url = engine.node.weigher, setup.base_url
    if not weigher.profile(url).local:
        await asyncio.to_thread(weigher.cost_of, Estimate(setup.clients[0].config.model), url)
