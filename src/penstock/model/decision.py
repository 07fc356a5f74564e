"""What a person answered."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to an approval: `by` whom (as they said), with a `comment` and `data` (JSON) for the
    handler; `at` in seconds since the epoch. True when it was approved."""

    approved: bool
    by: str = ""
    comment: str = ""
    data: Any = None
    at: float = 0.0

    def __bool__(self) -> bool:
        return self.approved

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Approval:
    """A question that a task asks a person, and that nobody has answered yet. `name` tells it from others of
    the same task; instants are seconds since the epoch, `until`: when the task does not wait any longer."""

    task_id: str
    name: str
    question: str
    details: Any
    type: str
    tenant: str
    asked_at: float
    until: float | None = None
