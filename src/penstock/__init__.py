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
    "ChildFailed": "penstock.errors",
    "EventTimeout": "penstock.errors",
    "InvalidPlan": "penstock.errors",
    "InvalidWorkflow": "penstock.errors",
    "JournalMismatch": "penstock.errors",
    "WorkflowFailed": "penstock.errors",
    "TaskCancelled": "penstock.errors",
    "TaskFailed": "penstock.errors",
    "TaskNotFound": "penstock.errors",
    "WaitTimeout": "penstock.errors",
    "PriceUnknown": "penstock.errors",
    "Event": "penstock.stores.contract",
    "TaskFunction": "penstock.manager.definitions",
    "TaskHandle": "penstock.manager.definitions",
    "AITask": "penstock.manager.task_object",
    "Agent": "penstock.task_types.agent_definition",
    "AgentPool": "penstock.workflows.agent_pools",
    "as_tool": "penstock.task_types.task_tools",
    "AITaskManager": "penstock.manager.ai_task_manager",
    "create_ai_task_manager": "penstock.manager.ai_task_manager",
    "OpenAICompatibleClient": "penstock.manager.client",
    "APIConfig": "penstock.manager.client",
    "TaskType": "penstock.model.task_type",
    "TaskConfig": "penstock.manager.task_config",
    "TaskMetrics": "penstock.manager.task_object",
    "StoreClient": "penstock.manager.store_client",
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
    "Decision": "penstock.model.decision",
    "Plan": "penstock.workflows.plans",
    "Subtask": "penstock.workflows.plans",
    "Workflow": "penstock.workflows",
    "pipeline": "penstock.workflows",
    "parallel": "penstock.workflows",
    "map_reduce": "penstock.workflows",
}

__all__ = [
    "AITask",
    "AITaskManager",
    "APIConfig",
    "Agent",
    "AgentPool",
    "BudgetExhausted",
    "ChildFailed",
    "ConfigurationError",
    "Decision",
    "Estimate",
    "Event",
    "EventTimeout",
    "InvalidPlan",
    "InvalidTask",
    "InvalidWorkflow",
    "JournalMismatch",
    "Keep",
    "Limits",
    "Manager",
    "ModelLimits",
    "OpenAICompatibleClient",
    "PenstockError",
    "Plan",
    "PriceUnknown",
    "Priority",
    "QueueFull",
    "Rank",
    "RateLimit",
    "Schedule",
    "ScheduleNotFound",
    "Settings",
    "Standing",
    "StoreClient",
    "Strategy",
    "Submission",
    "Subtask",
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
    "Workflow",
    "WorkflowFailed",
    "__version__",
    "as_tool",
    "create_ai_task_manager",
    "map_reduce",
    "parallel",
    "pipeline",
    "register_policy",
]

if TYPE_CHECKING:
    from penstock.admission import RateLimit
    from penstock.errors import (
        BudgetExhausted,
        ChildFailed,
        ConfigurationError,
        EventTimeout,
        InvalidPlan,
        InvalidTask,
        InvalidWorkflow,
        JournalMismatch,
        PenstockError,
        PriceUnknown,
        QueueFull,
        ScheduleNotFound,
        TaskCancelled,
        TaskFailed,
        TaskNotFound,
        WaitTimeout,
        WorkflowFailed,
    )
    from penstock.manager import Manager, Submission
    from penstock.manager.ai_task_manager import AITaskManager, create_ai_task_manager
    from penstock.manager.client import APIConfig, OpenAICompatibleClient
    from penstock.manager.definitions import TaskFunction, TaskHandle
    from penstock.manager.store_client import StoreClient
    from penstock.manager.synchronous import SyncTaskManager
    from penstock.manager.task_config import TaskConfig
    from penstock.manager.task_object import AITask, TaskMetrics
    from penstock.model.decision import Decision
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
    from penstock.task_types.agent_definition import Agent
    from penstock.task_types.task_tools import as_tool
    from penstock.workflows import Workflow, map_reduce, parallel, pipeline
    from penstock.workflows.agent_pools import AgentPool
    from penstock.workflows.plans import Plan, Subtask


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'penstock' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
