"""A store from outside: what Python may do with tasks that another process runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from penstock.errors import ConfigurationError, TaskNotFound, WaitTimeout
from penstock.manager.ai_task_manager import AITaskManager
from penstock.manager.client import APIConfig, OpenAICompatibleClient
from penstock.manager.engine import open_store
from penstock.manager.given import type_name
from penstock.manager.letters import Answer, Outgoing, approvals
from penstock.manager.submission import Submission
from penstock.manager.task_config import TaskConfig
from penstock.manager.task_object import AITask, task_object
from penstock.manager.unset import UNSET, Unset
from penstock.manager.waiting import Outcome
from penstock.manager.workflow_budgets import BudgetChange, Money
from penstock.manager.workflow_views import WorkflowSpending
from penstock.model.decision import Approval
from penstock.model.task import Added, Existing, NewTask
from penstock.model.task_type import TaskType
from penstock.runtime.reranking import policy_for
from penstock.runtime.settings import Settings
from penstock.stores.contract import Store, TaskFilter, Transaction

LOOK_SECONDS = 0.1
"""Between two looks of who waits for a task that another process runs."""


class StoreClient:
    """A store that another process dispatches, or will: its tasks are added, answered, followed and steered
    from here, and none of them runs here. Any thread may call.

    with StoreClient("work.db") as client:
        client.decide(client.approvals()[0].task_id, True, by="Ada")

    `store` is `sqlite:///path` or a path. Raises `ConfigurationError` when there is no such file.
    """

    def __init__(self, store: str | Path) -> None:
        path = str(store).removeprefix("sqlite:///")
        if not Path(path).expanduser().is_file():
            raise ConfigurationError(
                f"there is no store {path}; give the file that a manager made (its `store=`)"
            )
        self._store = open_store(Settings(store=path))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; its tasks go on."""
        self._store.close()

    def submit(self, task_type: TaskType | str, data: Any = None, **details: Any) -> str:
        """Add one task; its id, once it is durable. `details` are fields of `Submission`.

        Data of built-in types are checked as a manager does. Those of a type that is registered in the other
        process are taken as they are, and so is its name: what does not suit fails when it runs, and a type
        that nobody knows waits. Budgets and the queue's capacity are the other process's, and not asked.
        Raises `InvalidTask`, `IdempotencyConflict`.
        """
        return submit_outside(self._store, Submission(type_name(task_type), data, **details))

    def get(self, task_id: str) -> AITask | None:
        """The task as it stands; `None` when there is none."""
        view = self._store.read(lambda reader: reader.task(task_id))
        return None if view is None else task_object(view, time.time())

    def wait(self, task_id: str, timeout: float | None = None) -> Any:
        """The task's result, as soon as it is there.

        Raises `TaskFailed`, `TaskCancelled`, `TaskNotFound`, or `WaitTimeout` after `timeout` seconds.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while (outcome := self._outcome(task_id)) is None:
            left = LOOK_SECONDS if until is None else until - time.monotonic()
            if left <= 0:
                raise WaitTimeout(f"task {task_id} was not done within {timeout:g} seconds; it goes on")
            time.sleep(min(left, LOOK_SECONDS))
        return outcome.value()

    def _outcome(self, task_id: str) -> Outcome | None:
        found = self._store.read(lambda reader: reader.results_of([task_id])).get(task_id)
        if found is None:
            raise TaskNotFound(f"there is no task {task_id}", task_id)
        return Outcome(task_id, *found) if found[0].final else None

    def send_event(self, task_id: str, name: str, data: Any = None, sender: str = "") -> None:
        """As `AITaskManager.send_event`."""
        letter = Outgoing(name, data, sender)
        self._store.run(lambda tx: letter.deliver(tx, task_id, time.time()))

    def approvals(self, tenant: str | None = None) -> list[Approval]:
        """As `AITaskManager.approvals`."""
        return self._store.read(lambda reader: approvals(reader, tenant))

    def decide(
        self,
        task_id: str,
        approved: bool,
        *,
        name: str | None = None,
        by: str = "",
        comment: str = "",
        data: Any = None,
    ) -> None:
        """As `AITaskManager.decide`."""
        answer = Answer(approved, by, comment, data)
        self._store.run(lambda tx: answer.deliver(tx, task_id, name, time.time()))

    def adjust_budget(
        self,
        workflow_id: str,
        *,
        budget: Money | Unset | None = UNSET,
        max_tokens: int | Unset | None = UNSET,
    ) -> WorkflowSpending:
        """As `WorkflowRun.adjust_budget`; who runs the workflow hears of it within 50 ms."""
        change = BudgetChange.read(budget, max_tokens)
        return self._store.run(lambda tx: change.make(tx, workflow_id, time.time())[0])

    def cancel(self, task_id: str) -> bool:
        """Cancel a task that waits, or one that runs at its next wait; False: too late or unknown."""
        one = TaskFilter(ids=(task_id,))
        return any(self._store.run(lambda tx: tx.cancel(one, time.time())).values())

    def pause(self, *task_ids: str) -> int:
        """Start none of these tasks, or (without ids) nothing at all; how many wait paused. What runs goes
        on."""
        return self._store.run(lambda tx: _steer(tx, tx.pause, task_ids, True))

    def resume(self, *task_ids: str) -> int:
        """Undo `pause`, or wake these tasks where they are suspended; how many."""
        return self._store.run(lambda tx: _steer(tx, tx.resume, task_ids, False))


def submit_outside(store: Store, one: Submission) -> str:
    """Add a task for the process that dispatches the store; its id. Raises as `StoreClient.submit`."""
    new = _prepare(store, one)
    outcome = store.run(lambda tx: tx.add([new]))[0]
    if isinstance(outcome, Added | Existing):
        return outcome.id
    raise outcome


def _prepare(store: Store, one: Submission) -> NewTask:
    """Check and rank a task as the process that dispatches the store would; data of types made elsewhere are
    taken as they are."""
    engine = AITaskManager(OpenAICompatibleClient(APIConfig("")), store="memory").engine
    engine.ranker.use(policy_for(store, engine.settings))
    if one.type not in engine.handlers:
        engine.register(one.type, lambda context: None)
    options = one.options or TaskConfig().options
    return engine.prepare(replace(one, options=options))


def _steer(
    tx: Transaction, verb: Callable[[TaskFilter, float], int], ids: tuple[str, ...], paused: bool
) -> int:
    if ids:
        return verb(TaskFilter(ids=ids), time.time())
    tx.set_pause("all", paused)
    return 0
