"""What callers hand over, checked before it is looked into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.errors import InvalidTask
from penstock.manager.task_config import TaskConfig
from penstock.model.task_type import TaskType

_NO_CONFIG = TaskConfig()


def read_config(given: TaskConfig | None) -> TaskConfig:
    """The configuration, or the default one."""
    if given is not None and not isinstance(given, TaskConfig):
        raise InvalidTask(f"config must be a TaskConfig(...), not {type(given).__name__}")
    return given or _NO_CONFIG


def check_batch(tasks: Any) -> None:
    """Raise `InvalidTask` unless these are objects in a list."""
    if not isinstance(tasks, Sequence) or isinstance(tasks, str):
        raise InvalidTask(f"tasks must be a list of objects with task_type and data, not {tasks!r:.80}")
    for place, one in enumerate(tasks):
        if not isinstance(one, Mapping):
            raise InvalidTask(f"task {place} must be an object with task_type and data, not {one!r:.80}")


def several(ids: Sequence[str]) -> Sequence[str]:
    """These ids; raises `InvalidTask` for a single one."""
    if isinstance(ids, str):
        raise InvalidTask(f"task_ids must be a list of ids, not the text {ids!r}")
    return ids


def type_name(given: TaskType | str) -> str:
    """The name of a type: a member, its name in capitals, or a name of one's own."""
    if isinstance(given, TaskType):
        return given.value
    if not isinstance(given, str) or not given:
        raise InvalidTask(f"task_type must be a TaskType or a name, not {given!r}")
    member = TaskType.__members__.get(given)
    return given if member is None else member.value
