"""Events and approvals: what a manager sends to tasks that wait for it, and what they ask people."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from penstock.manager.letters import Answer, Outgoing, approvals
from penstock.model.clock import Clock
from penstock.model.decision import Approval

if TYPE_CHECKING:
    from penstock.manager.engine import Manager
    from penstock.runtime.node import Node

T = TypeVar("T")


class Answering:
    """What a manager does for tasks that wait."""

    clock: Clock

    if TYPE_CHECKING:

        @property
        def node(self) -> Node: ...
        async def read(self, work: Callable[[Any], T]) -> T: ...

    async def send_event(self, id: str, name: str, data: Any = None, sender: str = "") -> None:
        """Send an event to a task, running or not: it is kept until the task waits for it, durable when this
        returns. `data` is JSON, `sender` whatever the reader is to know of it.

        Raises `TaskNotFound`, `EventRefused` for a task that has ended.
        """
        letter = Outgoing(name, data, sender)
        now = self.clock.wall()
        await self.node.committer.run(lambda store: letter.deliver(store, id, now))

    async def decide(
        self,
        id: str,
        approved: bool,
        *,
        name: str | None = None,
        by: str = "",
        comment: str = "",
        data: Any = None,
    ) -> None:
        """Answer an approval that a task asks for; `name` says which where there are several.

        Raises `TaskNotFound`, `EventRefused` when the task asks for none (any more).
        """
        answer = Answer(approved, by, comment, data)
        now = self.clock.wall()
        await self.node.committer.run(lambda store: answer.deliver(store, id, name, now))

    async def approvals(self, tenant: str | None = None) -> list[Approval]:
        """What people are asked by tasks (of a tenant), and nobody has answered yet, the oldest first."""
        return await self.read(lambda reader: approvals(reader, tenant))


class AIAnswering:
    """The same on an `AITaskManager`."""

    if TYPE_CHECKING:
        engine: Manager

    async def send_event(self, task_id: str, name: str, data: Any = None, sender: str = "") -> None:
        """Send an event to a task, running or not: it is kept until the task waits for it, durable when this
        returns. Raises `TaskNotFound`, `EventRefused` for a task that has ended."""
        await self.engine.send_event(task_id, name, data, sender)

    async def decide(
        self,
        task_id: str,
        approved: bool,
        *,
        name: str | None = None,
        by: str = "",
        comment: str = "",
        data: Any = None,
    ) -> None:
        """Answer an approval that a task asks for; `name` says which where there are several. Raises
        `TaskNotFound`, `EventRefused` when the task asks for none (any more)."""
        await self.engine.decide(task_id, approved, name=name, by=by, comment=comment, data=data)

    def approvals(self, tenant: str | None = None) -> list[Approval]:
        """What people are asked by tasks (of a tenant), and nobody has answered yet, the oldest first."""
        return self.engine.peek(lambda reader: approvals(reader, tenant))
