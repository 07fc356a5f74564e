"""Results of the tasks that a task waited for: they come with its claim, and are filled into its data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from penstock.model.json_text import json_text
from penstock.model.references import fill
from penstock.model.states import TaskStatus
from penstock.model.task import Claimed
from penstock.stores.contract import Reader

if TYPE_CHECKING:
    from penstock.runtime.context import TaskContext
    from penstock.runtime.handlers import Handler

_WITH_REFERENCES = '"refs":true'


class Results(Mapping[str, Any]):
    """Results of completed tasks by id, each read when it is asked for."""

    def __init__(self, found: Mapping[str, tuple[TaskStatus, str | None]]) -> None:
        self._texts = {id: text for id, (status, text) in found.items() if status is TaskStatus.COMPLETED}

    def __getitem__(self, id: str) -> Any:
        text = self._texts[id]
        return None if text is None else json.loads(text)

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)


def learn_inputs(store: Reader, tasks: Sequence[Claimed]) -> None:
    """Give tasks just claimed what their references stand for, in the transaction of the claim."""
    asking = [task for task in tasks if task.options is not None and _WITH_REFERENCES in task.options]
    if asking:
        found = store.inputs_of([task.seq for task in asking])
        for task in asking:
            task.inputs = found.get(task.seq, {})


async def inputs_of(context: TaskContext) -> Results:
    """The results that this task may refer to."""
    task = context.task
    if task.inputs is None:
        found = await context.services.committer.read(lambda reader: reader.inputs_of([task.seq]))
        task.inputs = found.get(task.seq, {})
    return Results(task.inputs)


async def filled(context: TaskContext, data: Any, handler: Handler) -> None:
    """Make this the task's data, with results in the place of references; it must pass the check of the
    handler's type then.

    Raises `ReferenceMissing` that names the node and what its result lacks, or `InvalidTask`.
    """
    if context.options.refs:
        data = fill(data, await inputs_of(context))
    data = handler.check(data)
    context.task.payload = None if data is None else json_text(data)
