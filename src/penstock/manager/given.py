"""What callers hand over, checked before it is looked into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from penstock.errors import InvalidTask
from penstock.manager.definitions import TaskFunction
from penstock.manager.task_config import TaskConfig
from penstock.model.task_type import TaskType

if TYPE_CHECKING:
    from penstock.manager.ai_task_manager import AITaskManager
    from penstock.manager.engine import Manager

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


def type_name(given: Any, engine: Manager | None = None) -> str:
    """The name of a type: a member, its name in capitals, a name of one's own, or a task function (of this
    manager, where one is given)."""
    if isinstance(given, TaskType):
        return given.value
    function = getattr(given, "_inner", given)  # the synchronous face's
    if isinstance(function, TaskFunction):
        if engine is not None and (why := foreign(function.name, function.manager, engine)):
            raise InvalidTask(why)
        return function.name
    if callable(given):
        name = getattr(given, "__name__", repr(given))
        raise InvalidTask(f"{name} is no task function; decorate it (@manager.task), or give its type's name")
    if not isinstance(given, str) or not given:
        raise InvalidTask(f"task_type must be a TaskType or a name, not {given!r}")
    member = TaskType.__members__.get(given)
    return given if member is None else member.value


def foreign(name: str, owner: AITaskManager, engine: Manager) -> str:
    """Why a task function of `owner` cannot run on this manager; nothing where it can."""
    if owner.engine is engine:
        return ""
    return (
        f"task function {name!r} belongs to another manager (store {owner.engine.settings.store}), "
        f"not to this one (store {engine.settings.store}): decorate it with this manager's @task"
    )
