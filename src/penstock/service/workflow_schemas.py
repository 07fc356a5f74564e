"""The shapes of requests and replies about tasks that wait for others, and about workflows of nodes."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from penstock.model.states import TaskStatus
from penstock.model.waits import APPROVAL
from penstock.service.schemas import Body, Name, ProgressReply
from penstock.workflows.definition import MOST_TOKENS

Comment = Annotated[str, Field(max_length=10_000)]


def _example(**fields: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [fields]})


class EventIn(Body):
    """An event for a task; it is kept until the task waits for it."""

    model_config = _example(name="paid", data={"amount": 5})

    name: Name
    data: Any = None

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str) -> str:
        if not name.isprintable():
            raise ValueError("only printable characters are possible")
        if name.startswith(APPROVAL):
            raise ValueError(f"events named {APPROVAL}... answer approvals; send a decision")
        return name


class Sent(BaseModel):
    """An event that is durable."""

    task_id: str
    name: str
    message: str


class DecisionIn(Body):
    """The answer to an approval; `name` says which where a task asks for several."""

    model_config = _example(approved=True, name="send", comment="fine")

    approved: Annotated[bool, Field(strict=True)]
    name: Name | None = None
    comment: Comment = ""
    data: Any = None


class ApprovalReply(BaseModel):
    """A question that a task asks a person, and that nobody has answered yet."""

    task_id: str
    name: str
    question: str
    details: Any
    task_type: str
    tenant: str
    asked_at: str
    until: str | None = Field(description="when the task does not wait any longer")


class ForkIn(Body):
    """Where a copy of a task goes on: the first step that it makes again, by its number from 1 or its name;
    of a workflow the node from which on it runs anew. `data` stand in the place of the old ones."""

    model_config = _example(step="write")

    step: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] | Name
    data: Any = None


class WorkflowReply(ProgressReply):
    """How far a workflow is. Of one that has nodes (`POST /workflows`), `by_status` counts those that ended,
    `open` the others; of a name that tasks were given, the fields behind `open` are null."""

    workflow: str
    open: int
    name: str | None
    status: TaskStatus | None
    stopped_by: str | None = Field(description="the node whose failure stopped it")
    created_at: str | None
    started_at: str | None
    completed_at: str | None
    result: Any
    error: str | None
    error_code: str | None


class NodeReply(BaseModel):
    """How one node of a workflow stands; `task_id` is its task."""

    node: str
    task_id: str
    task_type: str
    status: TaskStatus
    attempts: int
    created_at: str
    freed_at: str | None = Field(description="when the last node that it needs had ended")
    started_at: str | None
    completed_at: str | None
    input_tokens: int
    output_tokens: int
    cost_usd: float
    error: str | None
    error_code: str | None


class StopIn(Body):
    """How to stop a workflow; with `undo` what completed is undone, and it ends as failed."""

    undo: Annotated[bool, Field(strict=True)] = False


class WorkflowBudgetIn(Body):
    """What a workflow may use in all from now on, in US dollars and in tokens; null takes a limit away."""

    model_config = _example(budget=2.5)

    budget: Annotated[float, Field(strict=True, ge=0, le=1_000_000, allow_inf_nan=False)] | None = None
    max_tokens: Annotated[int, Field(strict=True, ge=1, le=MOST_TOKENS)] | None = None


class WorkflowBudgetReply(BaseModel):
    """What a workflow may use in all and what was booked on it, without what calls in flight hold; null
    limits nothing. Money is US dollars."""

    workflow: str
    budget: float | None
    spent: float
    uncertain: float
    max_tokens: int | None
    tokens: int
    uncertain_tokens: int


class NodeFiguresReply(BaseModel):
    """One node's part in a workflow's time, in seconds: blocked, then queued, then run. Money is text."""

    id: str
    type: str
    status: str
    begin: float | None
    blocked_seconds: float
    queued_seconds: float
    run_seconds: float
    waited_for: str | None
    slack_seconds: float
    critical: bool
    attempts: int
    cost: str
    tokens: int
    waits: dict[str, float]


class AnalysisReply(BaseModel):
    """What took a workflow's time: its critical path, and how nodes held each other up."""

    name: str
    started: float
    total_seconds: float
    run_seconds: float
    critical_path: list[str]
    critical_seconds: float
    held_up: list[str]
    parallelism: float
    most_at_once: int
    cost: str
    tokens: int
    statuses: dict[str, int]
    nodes: list[NodeFiguresReply]
