"""Scheduling strategies, one pure file each. The registry is here; a new one is one line."""

from __future__ import annotations

from penstock.errors import ConfigurationError
from penstock.model.rank import Policy
from penstock.policies.fifo import Fifo
from penstock.policies.priority import PriorityWithAgeing

POLICIES: dict[str, type[Policy]] = {"fifo": Fifo, "priority": PriorityWithAgeing}
ALIASES = {"priority_based": "priority"}


def policy_named(name: str) -> Policy:
    """The strategy of that name, with its default settings."""
    chosen = POLICIES.get(ALIASES.get(name, name))
    if chosen is None:
        raise ConfigurationError(f"strategy {name!r} is unknown: choose one of {', '.join(sorted(POLICIES))}")
    return chosen()
