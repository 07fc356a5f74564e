"""LangGraph on Penstock: graphs as tasks, and a checkpointer on our stores. Needs the extra `langgraph`."""

from __future__ import annotations

from penstock.errors import MissingExtra

try:
    import langgraph.checkpoint.base as _base
except ModuleNotFoundError:
    raise MissingExtra("langgraph", "langgraph") from None

from penstock.integrations.langgraph.graph_run import GraphOptions
from penstock.integrations.langgraph.graph_task import (
    GraphTask,
    add_graph,
    current_task,
    resume_graph,
    state,
)
from penstock.integrations.langgraph.saver import PenstockSaver

__all__ = ["GraphOptions", "GraphTask", "PenstockSaver", "add_graph", "current_task", "resume_graph", "state"]

del _base
