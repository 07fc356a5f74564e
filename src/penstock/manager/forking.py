"""Forks: a copy of a task that goes on from before one of its recorded steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from penstock.errors import InvalidTask, TaskNotFound
from penstock.manager.retrying import copy_of
from penstock.model.clock import Clock
from penstock.model.json_text import json_text
from penstock.model.options import read_options
from penstock.model.step import StepKey
from penstock.model.task import NewTask, TaskView
from penstock.runtime.handlers import Handlers
from penstock.runtime.ranking import Ranker
from penstock.stores.contract import AddOutcome, Transaction
from penstock.workflows.taking_over import WORKFLOW

if TYPE_CHECKING:
    from penstock.manager.engine import Manager
    from penstock.runtime.node import Node

_SHOWN = 20


class Forking:
    """What a manager does with forks."""

    clock: Clock
    handlers: Handlers
    ranker: Ranker

    if TYPE_CHECKING:

        @property
        def node(self) -> Node: ...
        def _accepted(self, outcomes: list[AddOutcome]) -> list[str]: ...

    async def fork(self, id: str, step: int | str, data: Any = None) -> str:
        """Add a task like this one, running or not, that has its journal up to but without a step; its id.

        `step` is its number from 1, as `penstock show` counts them, or its name; of a workflow the node from
        which on it runs anew. `data` stand in the place of the old ones. The old task goes on as it is.
        Raises `InvalidTask` that names the steps there are.
        """

        def work(store: Any) -> list[AddOutcome]:
            task = fork_of(store, id, step, data, self.clock.wall(), self.handlers)
            self.ranker.enter(task, 0.0, 0.0, self.clock.wall())
            return list(store.add([task]))

        return self._accepted(await self.node.committer.run(work))[0]


class AIForking:
    """The same on an `AITaskManager`."""

    if TYPE_CHECKING:
        engine: Manager

    async def fork_task(self, task_id: str, step: int | str, data: Any = None) -> str:
        """Add a task like this one, running or not, that has its recorded steps up to but without `step`
        (its number from 1, or its name), and perhaps other data; its id. The old task goes on as it is.

        Of a workflow `step` is a node: it and all that needs it run anew, and results of other nodes that
        completed are taken over.

        Raises `InvalidTask` that names the steps there are, `TaskNotFound`.
        """
        return await self.engine.fork(task_id, step, data)


def fork_of(
    store: Transaction, id: str, step: int | str, data: Any, now: float, handlers: Handlers | None = None
) -> NewTask:
    """The task to be added; `handlers` check its data."""
    old = store.task(id)
    if old is None:
        raise TaskNotFound(f"there is no task {id}", id)
    if old.payload is None and isinstance(old.options, dict) and old.options.get("keep") is False:
        raise InvalidTask(f"the data and steps of task {id} were not kept (keep was off)")
    task = copy_of(old, now)
    task.batch = task.position = None
    task.after = tuple(store.dependencies(old.seq))
    if old.type == WORKFLOW:
        return _fork_of_workflow(task, old, step, data)
    before = find_step(old, step)
    if task.deadline is not None and task.deadline <= now:
        task.deadline = None
    if handlers is not None and old.type in handlers:
        handler = handlers[old.type]
        payload = old.payload if data is None else handler.check(data)
        task.lane = handler.lane(payload)
    else:
        payload = old.payload if data is None else data
    task.payload = None if payload is None else json_text(payload)
    return replace(task, inherit_journal=True, fork_before=before)


def _fork_of_workflow(task: NewTask, old: TaskView, node: int | str, data: Any) -> NewTask:
    """A workflow's steps are its nodes: `node`, and all that needs it, runs anew."""
    given = old.payload.get("nodes") if isinstance(old.payload, dict) else None
    names = [one["id"] for one in given or () if isinstance(one, dict) and "id" in one]
    if node not in names:
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        raise InvalidTask(
            f"workflow {old.id} has no node {node!r}; name the node from which on it is to run anew: "
            f"{', '.join(names[:_SHOWN])}{more}"
        )
    if data is not None:
        raise InvalidTask("a fork of a workflow takes no other data; run the changed workflow as a new one")
    task.options = replace(read_options(task.options), redo=str(node)).as_text()
    return replace(task, deadline=None)


def find_step(task: TaskView, step: int | str) -> tuple[StepKey, int]:
    """The recorded step of that number or name, and its occurrence.

    Raises `InvalidTask` naming those there are when there is none, or several have the name.
    """
    steps = task.steps
    if isinstance(step, int):
        places = [step - 1] if 1 <= step <= len(steps) else []
    else:
        places = [place for place, one in enumerate(steps) if one["name"] == step]
    if len(places) == 1:
        (place,) = places
        one = steps[place]
        return StepKey(one["scope"], one["name"], one["digest"]), int(one["occurrence"])
    if places:
        raise InvalidTask(
            f"task {task.id} has {len(places)} steps {step!r}; give the number of one: "
            f"{_listed(task, places)}"
        )
    known = f"its steps: {_listed(task, range(len(steps)))}" if steps else "none was recorded"
    raise InvalidTask(f"task {task.id} has no step {step!r}; {known}")


def _listed(task: TaskView, places: Sequence[int]) -> str:
    texts = [
        f"{place + 1} {task.steps[place]['name']}"
        + (f" in {scope}" if (scope := task.steps[place]["scope"]) else "")
        for place in places[:_SHOWN]
    ]
    more = len(places) - len(texts)
    return ", ".join(texts) + (f" and {more} more" if more > 0 else "")
