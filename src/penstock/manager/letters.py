"""What is sent to tasks that wait for it, checked: events, and answers to approvals."""

from __future__ import annotations

import json
from typing import Any

from penstock.errors import EventRefused, PenstockError
from penstock.model.decision import Approval
from penstock.model.json_text import json_text
from penstock.model.waits import APPROVAL, LONGEST_NAME, Await, Letter, asked_name, is_event_name
from penstock.stores.contract import Reader, Transaction

MOST_DATA = 10_000_000
"""characters of JSON that go with an event or an answer"""


class Outgoing:
    """An event to be sent, checked."""

    def __init__(self, name: Any, data: Any = None, sender: str = "") -> None:
        if not is_event_name(name):
            raise EventRefused(
                f"the name of an event is a text of 1 to {LONGEST_NAME} characters, not {name!r:.80}"
            )
        if name.startswith(APPROVAL):
            raise EventRefused(
                f"events named {APPROVAL}... answer approvals; use decide, or `penstock approve`"
            )
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
