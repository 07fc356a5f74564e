"""What workflows need of the manager they run in: its task types, its door, its dispatcher."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from penstock.errors import InvalidTask, InvalidWorkflow, Problem
from penstock.manager.door import not_for_submissions
from penstock.manager.partial import check_around
from penstock.manager.submission import Submission
from penstock.model.options import TaskOptions
from penstock.model.references import holds_marks
from penstock.model.task import NewTask
from penstock.runtime.context import TaskContext
from penstock.runtime.handlers import Handlers
from penstock.workflows.builder import Workflow, read_workflow
from penstock.workflows.coordinator import TYPE, lead
from penstock.workflows.definition import WorkflowDefinition
from penstock.workflows.growing import grow
from penstock.workflows.plan_nodes import GoalFlow

_MANY = 200


class WorkflowDesk:
    """Registers the type `workflow`, and lets nodes in."""

    def __init__(
        self,
        handlers: Handlers,
        prepare: Callable[[Submission], NewTask],
        foreign: Callable[[str, Any], str],
    ) -> None:
        self._handlers = handlers
        self._foreign = foreign
        self._prepare = prepare
        self._checked: WorkflowDefinition | None = None

        async def run(context: TaskContext) -> Any:
            return await lead(context, self)

        handlers.register(TYPE, run, check=self._check_again)

    @property
    def types(self) -> frozenset[str]:
        return self._handlers.types

    def options_of(self, type: str) -> TaskOptions:
        return self._handlers[type].options

    def prepare(self, type: str, data: Any, **details: Any) -> NewTask:
        return self._prepare(Submission(type, data, **details))

    async def grow(self, context: TaskContext, nodes: Sequence[Any]) -> dict[str, str]:
        """What `ctx.grow` does."""
        return await grow(context, nodes, self)

    def read(self, given: Any) -> WorkflowDefinition:
        """The definition, its nodes' data checked as far as they are known.

        Raises `InvalidWorkflow` with everything that is wrong.
        """
        if isinstance(given, Workflow):
            told = (self._foreign(name, owner) for name, owner in sorted(given.owners, key=itemgetter(0)))
            if wrong := [Problem("nodes", why) for why in told if why]:
                raise InvalidWorkflow(wrong, given.name)
        definition = read_workflow({} if given is None else given, types=self.types)
        problems: list[Problem] = []
        inner = isinstance(given, GoalFlow)
        for place, node in enumerate(definition.nodes):
            parts = [("data", node.type, node.data)]
            for name, work in (("fallback", node.fallback), ("compensate", node.compensate)):
                if work is not None and work.type is not None:
                    parts.append((f"{name}.data", work.type, work.data))
            for path, type, data in parts:
                if self._handlers[type].inner and not inner:
                    problems.append(
                        Problem(f"nodes.{place}.{path}", f"node {node.id!r}: {not_for_submissions(type)}")
                    )
                    continue
                try:
                    self._check(type, data)
                except InvalidTask as error:
                    problems.append(Problem(f"nodes.{place}.{path}", f"node {node.id!r}: {error}"))
        if problems:
            raise InvalidWorkflow(problems, definition.name)
        return definition

    async def check(self, given: Any) -> WorkflowDefinition:
        """The same; a large one is checked in a thread, so that it keeps nobody from running."""
        large = len(given.nodes if isinstance(given, WorkflowDefinition) else _nodes(given)) > _MANY
        definition = await asyncio.to_thread(self.read, given) if large else self.read(given)
        self._checked = definition
        return definition

    def _check_again(self, given: Any) -> dict[str, Any]:
        definition, self._checked = self._checked, None
        return (definition if definition is not None and given is definition else self.read(given)).as_dict()

    def _check(self, type: str, data: Any) -> None:
        handler = self._handlers[type]
        if holds_marks(data):
            check_around(handler, data)
        else:
            handler.check(data)


def _nodes(given: Any) -> Sequence[Any]:
    if isinstance(given, Workflow):
        return range(len(given))
    nodes = given.get("nodes") if isinstance(given, Mapping) else None
    return nodes if isinstance(nodes, Sequence) else ()
