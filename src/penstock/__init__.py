"""Penstock: a durable, token- and cost-aware scheduler for AI agents and LLM work.

Names load on first use, so that `import penstock` stays quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0.dev0"

_HOMES = {
    "BudgetExhausted": "penstock.errors",
    "ConfigurationError": "penstock.errors",
    "InvalidTask": "penstock.errors",
    "QueueFull": "penstock.errors",
    "TaskCancelled": "penstock.errors",
    "TaskFailed": "penstock.errors",
    "TaskNotFound": "penstock.errors",
    "WaitTimeout": "penstock.errors",
    "PriceUnknown": "penstock.errors",
    "Event": "penstock.stores.contract",
    "TaskFunction": "penstock.manager.definitions",
    "TaskHandle": "penstock.manager.definitions",
    "AITask": "penstock.manager.task_object",
    "AITaskManager": "penstock.manager.ai_task_manager",
    "create_ai_task_manager": "penstock.manager.ai_task_manager",
    "OpenAICompatibleClient": "penstock.manager.client",
    "APIConfig": "penstock.manager.client",
    "TaskType": "penstock.model.task_type",
    "TaskConfig": "penstock.manager.task_config",
    "TaskMetrics": "penstock.manager.task_object",
    "SyncTaskManager": "penstock.manager.synchronous",
    "Estimate": "penstock.model.estimate",
    "Manager": "penstock.manager",
    "Submission": "penstock.manager",
    "Settings": "penstock.runtime.settings",
    "Limits": "penstock.runtime.settings",
    "ModelLimits": "penstock.runtime.settings",
    "Keep": "penstock.runtime.settings",
    "RateLimit": "penstock.admission",
    "Schedule": "penstock.model.schedule",
    "ScheduleNotFound": "penstock.errors",
    "TaskContext": "penstock.runtime.context",
    "TaskOptions": "penstock.model.options",
    "TaskStatus": "penstock.model.states",
    "TaskFilter": "penstock.stores.contract",
    "Priority": "penstock.model.priority",
    "PenstockError": "penstock.errors",
    "Rank": "penstock.model.rank",
    "Standing": "penstock.model.standing",
    "Strategy": "penstock.policies.base",
    "register_policy": "penstock.policies.registry",
}

__all__ = [
    "AITask",
    "AITaskManager",
    "APIConfig",
    "BudgetExhausted",
    "ConfigurationError",
    "Estimate",
    "Event",
    "InvalidTask",
    "Keep",
    "Limits",
    "Manager",
    "ModelLimits",
    "OpenAICompatibleClient",
    "PenstockError",
    "PriceUnknown",
    "Priority",
    "QueueFull",
    "Rank",
    "RateLimit",
    "Schedule",
    "ScheduleNotFound",
    "Settings",
    "Standing",
    "Strategy",
    "Submission",
    "SyncTaskManager",
    "TaskCancelled",
    "TaskConfig",
    "TaskContext",
    "TaskFailed",
    "TaskFilter",
    "TaskFunction",
    "TaskHandle",
    "TaskMetrics",
    "TaskNotFound",
    "TaskOptions",
    "TaskStatus",
    "TaskType",
    "WaitTimeout",
    "__version__",
    "create_ai_task_manager",
    "register_policy",
]

if TYPE_CHECKING:
    from penstock.admission import RateLimit
    from penstock.errors import (
        BudgetExhausted,
        ConfigurationError,
        InvalidTask,
        PenstockError,
        PriceUnknown,
        QueueFull,
        ScheduleNotFound,
        TaskCancelled,
        TaskFailed,
        TaskNotFound,
        WaitTimeout,
    )
    from penstock.manager import Manager, Submission
    from penstock.manager.ai_task_manager import AITaskManager, create_ai_task_manager
    from penstock.manager.client import APIConfig, OpenAICompatibleClient
    from penstock.manager.definitions import TaskFunction, TaskHandle
    from penstock.manager.synchronous import SyncTaskManager
    from penstock.manager.task_config import TaskConfig
    from penstock.manager.task_object import AITask, TaskMetrics
    from penstock.model.estimate import Estimate
    from penstock.model.options import TaskOptions
    from penstock.model.priority import Priority
    from penstock.model.rank import Rank
    from penstock.model.schedule import Schedule
    from penstock.model.standing import Standing
    from penstock.model.states import TaskStatus
    from penstock.model.task_type import TaskType
    from penstock.policies.base import Strategy
    from penstock.policies.registry import register_policy
    from penstock.runtime.context import TaskContext
    from penstock.runtime.settings import Keep, Limits, ModelLimits, Settings
    from penstock.stores.contract import Event, TaskFilter


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'penstock' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
