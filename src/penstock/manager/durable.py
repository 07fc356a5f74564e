"""Events and approvals: what is sent to tasks that wait for it, in this process or from another."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar, cast

from penstock.errors import EventRefused, InvalidTask, PenstockError
from penstock.manager.given import type_name
from penstock.manager.submission import Submission
from penstock.model.clock import Clock
from penstock.model.decision import Approval
from penstock.model.json_text import json_text
from penstock.model.task import Added, NewTask
from penstock.model.waits import APPROVAL, LONGEST_NAME, Await, Letter, asked_name, is_event_name
from penstock.runtime.child_tasks import Nursery
from penstock.stores.contract import AddOutcome, Reader, Transaction

if TYPE_CHECKING:
    from penstock.manager.engine import Manager
    from penstock.manager.workflow_desk import WorkflowDesk
    from penstock.runtime.node import Node

T = TypeVar("T")

_TERMS = {one.name for one in fields(Submission)} - {"type", "data"}

MOST_DATA = 10_000_000
"""characters of JSON that go with an event or an answer"""


class Durable:
    """What a manager does for tasks that wait."""

    clock: Clock

    if TYPE_CHECKING:
        _node: Node | None
        workflows: WorkflowDesk

        @property
        def node(self) -> Node: ...
        async def read(self, work: Callable[[Any], T]) -> T: ...
        def prepare(self, one: Submission) -> NewTask: ...
        def notice(self, outcomes: Sequence[AddOutcome], tasks: Sequence[NewTask] = ()) -> None: ...

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

    def nursery(self, node: Node) -> Nursery:
        """How handlers on this node submit tasks."""

        def named(work: Any) -> str:
            return type_name(work, cast("Manager", self))

        def prepare(type: str, data: Any, details: dict[str, Any]) -> NewTask:
            if unknown := sorted(details.keys() - _TERMS):
                raise InvalidTask(
                    f"a child of type {type!r} has no term {unknown[0]!r}; its data go in one object, "
                    f"child({type!r}, {{{unknown[0]!r}: ...}}), terms are fields of Submission"
                )
            return self.prepare(Submission(type, data, **details))

        def notice(outcomes: Sequence[AddOutcome], tasks: Sequence[NewTask]) -> None:
            if self._node is not None:
                self.notice(outcomes, tasks)
                return
            for outcome in outcomes:  # the manager is about to have started
                if isinstance(outcome, Added):
                    node.notice(outcome.lane)

        return Nursery(named, prepare, notice, self.workflows.grow)


class AIDurable:
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


class Outgoing:
    """An event to be sent, checked."""

    def __init__(self, name: Any, data: Any = None, sender: str = "") -> None:
        if not is_event_name(name):
            raise EventRefused(
                f"the name of an event is a text of 1 to {LONGEST_NAME} characters, not {name!r:.80}"
            )
        if name.startswith(APPROVAL):
            raise EventRefused(f"events named {APPROVAL}... answer approvals; use decide")
        self._name, self._data, self._sender = name, _text(data), _sender(sender)

    def deliver(self, store: Transaction, id: str, now: float) -> Letter:
        """Keep it for the task; raises when that cannot be."""
        return _sent(store.deliver(id, self._name, self._data, self._sender, now))


class Answer:
    """An answer to an approval, checked."""

    def __init__(self, approved: Any, by: str = "", comment: str = "", data: Any = None) -> None:
        if not isinstance(approved, bool):
            raise EventRefused(f"approved is true or false, not {approved!r:.80}")
        self._by = _sender(by)
        self._data = _text({"approved": approved, "by": self._by, "comment": str(comment), "data": data})

    def deliver(self, store: Transaction, id: str, name: str | None, now: float) -> Letter:
        """Keep it for the task; raises when that asks for nothing."""
        return _sent(store.decide(id, name, self._data or "", self._by, now))


def approvals(reader: Reader, tenant: str | None = None) -> list[Approval]:
    """The open questions of tasks."""
    return [approval_of(one) for one in reader.approvals(tenant)]


def approval_of(one: Await) -> Approval:
    """An open wait for an answer, as people see it."""
    asked = json.loads(one.question or "{}")
    name = asked_name(one.what)
    return Approval(
        one.id, name, asked.get("question", ""), asked.get("details"), one.type, one.tenant, one.asked_at,
        one.until,
    )  # fmt: skip


def _sent(outcome: Letter | PenstockError) -> Letter:
    if isinstance(outcome, PenstockError):
        raise outcome
    return outcome


def _text(data: Any) -> str | None:
    try:
        text = None if data is None else json_text(data)
    except (TypeError, ValueError) as error:
        raise EventRefused(f"the data of an event must be JSON: {error}") from None
    if text is not None and len(text) > MOST_DATA:
        raise EventRefused(f"the data of an event are {len(text):,} characters; at most {MOST_DATA:,} go")
    return text


def _sender(sender: Any) -> str:
    if not isinstance(sender, str) or len(sender) > LONGEST_NAME:
        raise EventRefused(f"who sends an event is a text of at most {LONGEST_NAME} characters")
    return sender
