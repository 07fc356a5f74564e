"""Changing the limits of a node that works."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from penstock.errors import ConfigurationError

if TYPE_CHECKING:
    from penstock.runtime.node import Node
    from penstock.runtime.settings import Settings

ADJUSTABLE = frozenset(
    ("limits", "counts", "max_concurrent", "max_open", "max_queue_size", "keep", "cache_bytes")
)


def adjust(node: Node, settings: Settings) -> None:
    """Take on changed limits: each holds from the next call, claim or submission on, in both directions.

    What runs goes on: after a limit is lowered, nothing starts before use has fallen below it. Nothing that
    was used or spent is forgotten. What can never go under the new limits fails, as it would at the door.
    """
    before = node.settings
    fixed = [
        field.name
        for field in fields(settings)
        if field.name not in ADJUSTABLE and getattr(settings, field.name) != getattr(before, field.name)
    ]
    if fixed:
        raise ConfigurationError(
            f"{', '.join(fixed)} cannot be changed while the node runs; what can be: "
            f"{', '.join(sorted(ADJUSTABLE))}"
        )
    if settings.max_concurrent < 1:
        raise ConfigurationError(f"max_concurrent is at least 1, not {settings.max_concurrent}")
    limits = settings.gate_limits
    node.settings = settings
    node.gate.reconfigure(limits, node.clock.monotonic())
    node.services.slots.limit = settings.max_concurrent
    node.services.pools.look_again()
    node.committer.capacity = settings.max_queue_size
    node.dispatcher.put_backs.max_open = settings.open_limit
    node.dispatcher.notice_all()
    node.admitter.pump_soon()
