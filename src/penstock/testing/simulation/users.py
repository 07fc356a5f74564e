"""The users of a simulation: they submit until they are heard, and ask for this and that."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from penstock.errors import PenstockError
from penstock.manager import Manager
from penstock.model.options import TaskOptions
from penstock.stores.contract import TaskFilter
from penstock.testing.simulation.loop import VirtualLoop
from penstock.testing.simulation.nodes import Node, Nodes, Say
from penstock.testing.simulation.scenario import Plan


class Users:
    """`acknowledged` holds the ids of the tasks whose submission was answered, by name."""

    def __init__(self, loop: VirtualLoop, nodes: Nodes, say: Say) -> None:
        self.acknowledged: dict[str, str] = {}
        self._waiting: dict[str, Plan] = {}
        self._loop, self._nodes, self._say = loop, nodes, say

    def give(self, plan: Plan) -> None:
        """Submit this task as soon as a node is up, and again until it was acknowledged."""
        self._waiting[plan.name] = plan
        self._submit(plan)

    def submit_again(self) -> None:
        """A node began: nobody knows what became of submissions under way."""
        for plan in list(self._waiting.values()):
            self._submit(plan)

    def _submit(self, plan: Plan) -> None:
        node = self._nodes.current
        if node is not None:
            self._loop.start_in(node.life, self._submitted(node, plan))

    async def _submitted(self, node: Node, plan: Plan) -> None:
        options = TaskOptions(**plan.options)
        details = {**plan.details, "options": options, "idempotency_key": plan.name}
        try:
            id = await node.manager.submit(plan.type, plan.data, **details)
        except (PenstockError, RuntimeError) as error:
            self._say("not taken", f"{plan.name} {type(error).__name__}")
            self._loop.in_world(1.0, self._submit, plan)
            return
        self._waiting.pop(plan.name, None)
        self.acknowledged.setdefault(plan.name, id)
        if plan.event_after is not None:
            self._loop.in_world(plan.event_after, self._send_event, id, plan.name)
        self._say("acknowledged", plan.name)

    def _send_event(self, id: str, name: str) -> None:
        """Once; whether anybody is there to take it, and whether it comes too late, is not known."""
        node = self._nodes.current
        if node is not None:
            self._say("event", name)
            self.ask(node, node.manager.send_event(id, "go", {"to": name}))

    def ask(self, node: Node, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Ask a node for something; a refusal is noted."""
        self._loop.start_in(node.life, self._asked(coroutine))

    async def _asked(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        try:
            await coroutine
        except (PenstockError, RuntimeError) as error:
            self._say("refused", type(error).__name__)

    def resume_all(self) -> None:
        """Undo every pause, where a node is up."""
        node = self._nodes.current
        if node is not None:
            self._loop.start_in(node.life, self.resume(node.manager))

    async def resume(self, manager: Manager) -> None:
        for where in (None, TaskFilter()):
            await self._asked(manager.resume(where))
