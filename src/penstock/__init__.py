"""Penstock: a durable, token- and cost-aware scheduler for AI agents and LLM work.

Names load on first use, so that `import penstock` stays quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0.dev0"

_HOMES = {
    "Manager": "penstock.manager",
    "Submission": "penstock.manager",
    "Settings": "penstock.runtime.settings",
    "Limits": "penstock.runtime.settings",
    "ModelLimits": "penstock.runtime.settings",
    "Keep": "penstock.runtime.settings",
    "RateLimit": "penstock.admission",
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
    "Keep",
    "Limits",
    "Manager",
    "ModelLimits",
    "PenstockError",
    "Priority",
    "Rank",
    "RateLimit",
    "Settings",
    "Standing",
    "Strategy",
    "Submission",
    "TaskContext",
    "TaskFilter",
    "TaskOptions",
    "TaskStatus",
    "__version__",
    "register_policy",
]

if TYPE_CHECKING:
    from penstock.admission import RateLimit
    from penstock.errors import PenstockError
    from penstock.manager import Manager, Submission
    from penstock.model.options import TaskOptions
    from penstock.model.priority import Priority
    from penstock.model.rank import Rank
    from penstock.model.standing import Standing
    from penstock.model.states import TaskStatus
    from penstock.policies.base import Strategy
    from penstock.policies.registry import register_policy
    from penstock.runtime.context import TaskContext
    from penstock.runtime.settings import Keep, Limits, ModelLimits, Settings
    from penstock.stores.contract import TaskFilter


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'penstock' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
