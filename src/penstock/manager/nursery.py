"""How handlers submit tasks: what the runtime asks of the manager for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from penstock.errors import InvalidTask
from penstock.manager.given import type_name
from penstock.manager.submission import Submission
from penstock.model.task import Added, NewTask
from penstock.runtime.child_tasks import Nursery
from penstock.stores.contract import AddOutcome

if TYPE_CHECKING:
    from penstock.manager.engine import Manager
    from penstock.runtime.node import Node

_TERMS = {one.name for one in fields(Submission)} - {"type", "data"}


def nursery(manager: Manager, node: Node) -> Nursery:
    """How handlers on this node submit tasks."""

    def named(work: Any) -> str:
        return type_name(work, manager)

    def prepare(type: str, data: Any, details: dict[str, Any]) -> NewTask:
        if unknown := sorted(details.keys() - _TERMS):
            raise InvalidTask(
                f"a child of type {type!r} has no term {unknown[0]!r}; its data go in one object, "
                f"child({type!r}, {{{unknown[0]!r}: ...}}), terms are fields of Submission"
            )
        return manager.prepare(Submission(type, data, **details))

    def notice(outcomes: Sequence[AddOutcome], tasks: Sequence[NewTask]) -> None:
        if manager.is_running:
            manager.notice(outcomes, tasks)
            return
        for outcome in outcomes:  # the manager is about to have started
            if isinstance(outcome, Added):
                node.notice(outcome.lane)

    return Nursery(named, prepare, notice, manager.workflows.grow)
