"""Built-in task types, one file each; `BUILT_IN` is all of them, loaded when it is first asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penstock.task_types.base import TaskKind

    BUILT_IN: tuple[TaskKind[Any], ...]

_MODULES = (
    "repository_analysis",
    "batch_analysis",
    "text_classification",
    "embedding_generation",
    "semantic_search",
    "llm_call",
    "function_call",
    "api_request",
    "file_operation",
    "python_function",
    "agent",
)


def __getattr__(name: str) -> Any:
    # The command line runs files of requests without any of them.
    if name != "BUILT_IN":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    kinds = tuple(import_module(f"{__name__}.{module}").KIND for module in _MODULES)
    globals()[name] = kinds
    return kinds
