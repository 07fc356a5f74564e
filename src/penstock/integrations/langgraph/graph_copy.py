"""A graph with another checkpointer, and a thread with another graph."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

_ALLOWED = "_serde_allowlist"


def copy_with(graph: Any, checkpointer: Any) -> Any:
    """A copy of this compiled graph; the graph itself stays as it was."""
    copied = graph.copy({"checkpointer": checkpointer})
    # LangGraph's copy (1.2) forgets which types the state may have: under LANGGRAPH_STRICT_MSGPACK nodes
    # would read plain data in the place of objects.
    if (allowed := getattr(graph, _ALLOWED, None)) is not None:
        setattr(copied, _ALLOWED, allowed)
        copied.checkpointer = checkpointer.with_allowlist(allowed)
    return copied


def for_one_run(graph: Any, checkpointer: Any) -> Any:
    """What `copy_with` gave, with a twin of its checkpointer. Nothing is looked at or checked again, and all
    but the checkpointer is shared, as it is among runs of one graph."""
    copied = copy.copy(graph)
    copied.checkpointer = checkpointer
    return copied


_BRANCH, _SENDS = "branch:to:", "__pregel_tasks"  # LangGraph's own names for what begins a node


def unknown_nodes(graph: Any, channels: Mapping[str, Any]) -> list[str]:
    """Nodes that these channels of a checkpoint would begin next, and that the graph does not have."""
    begun = [name.removeprefix(_BRANCH) for name in channels if name.startswith(_BRANCH)]
    begun += [str(getattr(one, "node", "")) for one in channels.get(_SENDS) or ()]
    return sorted({name for name in begun if name and name not in graph.nodes})
