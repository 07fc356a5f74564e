"""Trying again what failed or was cancelled."""

from __future__ import annotations

from dataclasses import replace

from penstock.errors import InvalidTask, TaskNotFound
from penstock.manager.door import UNRANKED
from penstock.model.ids import new_id
from penstock.model.json_text import json_text
from penstock.model.lane import Lane
from penstock.model.options import read_options
from penstock.model.states import TaskStatus
from penstock.model.task import NewTask, TaskView
from penstock.workflows.taking_over import EVERYTHING, WORKFLOW


def again(old: TaskView | None, id: str, now: float, fresh: bool) -> NewTask:
    """A new task that does again what an ended one did not bring about."""
    if old is None:
        raise TaskNotFound(f"there is no task {id}", id)
    if old.status not in (TaskStatus.FAILED, TaskStatus.CANCELLED):
        raise InvalidTask(
            f"task {old.id} is {old.status}; only failed and cancelled tasks can be tried again"
        )
    if old.payload is None and isinstance(old.options, dict) and old.options.get("keep") is False:
        raise InvalidTask(f"the data of task {old.id} were not kept (keep was off); submit it again")
    copy = copy_of(old, now)
    if old.type == WORKFLOW:  # its nodes are others and have the journals, and its time begins anew
        options = replace(read_options(copy.options), redo=EVERYTHING if fresh else "")
        return replace(copy, deadline=None, options=options.as_text())
    return replace(copy, inherit_journal=not fresh)


def copy_of(old: TaskView, now: float) -> NewTask:
    """A new task with the data, options and place in its workflow of an old one, without its journal."""
    options = replace(read_options(None), **(old.options or {}))
    return NewTask(
        id=new_id(),
        type=old.type,
        lane=Lane(old.type, old.model),
        rank=UNRANKED,
        created_at=now,
        entered_at=now,
        payload=None if old.payload is None else json_text(old.payload),
        priority=old.priority,
        tenant=old.tenant,
        deadline=old.deadline,
        options=options.as_text(),
        metadata=None if old.metadata is None else json_text(old.metadata),
        retry_of=old.id,
        batch=old.batch,
        position=old.position,
        tags=old.tags,
        program=old.program,
        after=old.after if options.refs else (),
    )
