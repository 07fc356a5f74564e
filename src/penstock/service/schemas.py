"""The shapes of requests and replies of the REST routes.

Instants are ISO 8601 texts in UTC, durations seconds, money US dollars.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator

from penstock.model.states import TaskStatus
from penstock.service.labels import RESERVED

# No control characters; half a character is refused by the reader.
_PLAIN = r"^[^\x00-\x1f\x7f]*$"
_LAST_INSTANT = 2.5e11

Name = Annotated[str, Field(min_length=1, max_length=200, pattern=_PLAIN)]
ShortName = Annotated[str, Field(min_length=1, max_length=100, pattern=_PLAIN)]
TenantName = Annotated[str, Field(max_length=100, pattern=_PLAIN)]
Url = Annotated[
    str, Field(min_length=1, max_length=2_000, pattern=r"^[hH][tT][tT][pP][sS]?://[^\s\x00-\x1f\x7f]+$")
]
BatchId = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
Seconds = Annotated[float, Field(strict=True, ge=0, le=3.2e8, allow_inf_nan=False)]
Amount = Annotated[float, Field(strict=True, ge=0, lt=1e6, allow_inf_nan=False)]
Whole = Annotated[int, Field(strict=True, ge=1, le=1_000_000_000)]
Level = Annotated[int, Field(strict=True, ge=0, le=100)]
LevelName = Literal["LOW", "MEDIUM", "HIGH", "URGENT", "low", "medium", "high", "urgent"]
ServiceClassName = Literal["immediate", "scheduled", "background", "batch"]
Instant = Annotated[float, Field(strict=True, ge=0, le=_LAST_INSTANT, allow_inf_nan=False)] | AwareDatetime
Metadata = dict[Annotated[str, Field(max_length=1_000)], Any]


class Body(BaseModel):
    """Base of what clients send: unknown fields are refused, so that a misspelt one is found."""

    model_config = ConfigDict(extra="forbid")


class TaskTerms(Body):
    """How a task is to be run; all of it may be left out."""

    name: Name | None = Field(None, description="for people; `task_type` where it is not given")
    priority: Level | LevelName | None = Field(None, description="0 to 100 or a name; the highest goes first")
    estimated_time: Seconds | None = Field(None, description="seconds that it is expected to run")
    estimated_tokens: Annotated[float, Field(strict=True, ge=0, le=1e12)] | None = None
    tags: list[Name] = Field(default_factory=list, max_length=64)
    tenant: TenantName | None = Field(None, description="only an admin key of no tenant may name another's")
    metadata: Metadata | None = Field(None, description='names that begin with "penstock." are reserved')
    service_class: ServiceClassName | None = None
    slo_seconds: Seconds | None = Field(None, description="deadline, counted from the submission")
    delay: Seconds = Field(0.0, description="seconds before it may start")
    expires: Seconds | None = Field(None, description="fails unless it has started so many seconds from now")
    result_ttl: Seconds | None = Field(None, description="seconds that its result is kept")
    workflow: Name | None = Field(None, description="the workflow that it belongs to")
    max_retries: Annotated[int, Field(strict=True, ge=0, le=1_000)] | None = None
    retry_delay: Annotated[float, Field(strict=True, ge=0, le=86_400)] | None = None
    timeout: Annotated[float, Field(strict=True, gt=0, le=3.2e8)] | None = Field(
        None, description="seconds of one attempt; waiting does not count"
    )
    cache_ttl: Seconds | None = None
    merge: Annotated[bool, Field(strict=True)] | None = None
    pools: dict[ShortName, Annotated[int, Field(strict=True, ge=0, le=1_000_000)]] = Field(
        default_factory=dict, max_length=20
    )
    webhook: Url | None = Field(None, description="told of the end of the task")

    @field_validator("tags")
    @classmethod
    def _own_tags(cls, tags: list[str]) -> list[str]:
        if any(tag.startswith(RESERVED) for tag in tags):
            raise ValueError(f"tags that begin with {RESERVED!r} are reserved")
        return tags

    @field_validator("metadata")
    @classmethod
    def _own_fields(cls, metadata: dict[str, Any] | None) -> dict[str, Any] | None:
        if metadata and any(name.startswith(RESERVED) for name in metadata):
            raise ValueError(f"names that begin with {RESERVED!r} are reserved")
        return metadata


class TaskIn(TaskTerms):
    """A task to be submitted."""

    task_type: ShortName = Field(description="llm_call, function_call, api_request, ... or one of your own")
    payload: Any = Field(None, description="the data of the task, as its type takes it")
    deadline: Instant | None = Field(None, description="ISO 8601 with a zone, or seconds since the epoch")
    after: list[Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]] = Field(
        default_factory=list, max_length=1_000, description="ids of tasks whose results it needs"
    )
    unique_key: Name | None = Field(None, description="while a task with it has not ended, it is that task")
    debounce: Seconds | None = None
    idempotency_key: Name | None = Field(None, description="the same as the header `Idempotency-Key`")

    @field_validator("deadline")
    @classmethod
    def _epoch(cls, deadline: float | datetime | None) -> float | None:
        seconds = deadline.timestamp() if isinstance(deadline, datetime) else deadline
        if seconds is not None and not 0 <= seconds <= _LAST_INSTANT:
            raise ValueError("this instant is out of range")
        return seconds


class ListQuery(Body):
    """Which tasks to list: every parameter that is given must match, by one of its values."""

    limit: Annotated[int, Field(ge=1, le=500)] = 100
    status: list[TaskStatus] = Field(default_factory=list, max_length=20)
    priority: list[Annotated[int, Field(ge=0, le=100)] | LevelName] = Field(
        default_factory=list, max_length=101
    )
    task_type: list[ShortName] = Field(default_factory=list, max_length=100)
    tag: list[Name] = Field(default_factory=list, max_length=20, description="all of them must be there")
    tenant: TenantName | None = None
    name: Name | None = None
    workflow: Name | None = None
    batch_id: BatchId | None = None
    metadata: Annotated[str, Field(max_length=10_000)] | None = Field(None, description="a JSON object")
    cursor: Annotated[int, Field(ge=1, le=2**62)] | None = None


class Accepted(BaseModel):
    """A task that is durable."""

    task_id: str
    status: str
    message: str


class TaskReply(BaseModel):
    """A task as it stands. `wait_time` and `execution_time` are seconds, so far while they go on."""

    id: str
    name: str
    priority: int
    status: TaskStatus
    task_type: str
    created_at: str
    started_at: str | None
    completed_at: str | None
    wait_time: float | None
    execution_time: float | None
    estimated_time: float | None
    result: Any = Field(description="in lists, only what is at most 2 KB; `result_omitted` tells of others")
    result_omitted: bool
    result_expired: bool
    error: str | None
    error_code: str | None
    retry_count: int
    tags: list[str]
    dependencies: list[str] = Field(description="ids of the tasks whose results it needs")
    dependents: list[str] = Field(description="ids of the tasks that need its result")
    subtasks: list[str] = Field(
        description="ids of its child tasks and of a workflow's nodes, the first 1,000; in lists, none"
    )
    metadata: Any
    progress: Any
    tenant: str
    workflow: str | None
    batch_id: str | None
    deadline: str | None
    due_at: str | None
    model: str
    input_tokens: int
    output_tokens: int
    cost_usd: float
    retry_of: str | None
    webhook: str | None


class ResultReply(BaseModel):
    """How a task ended, or how it stands when the wait was over."""

    task_id: str
    status: TaskStatus
    done: bool
    result: Any
    error: str | None
    error_code: str | None


class RetryIn(Body):
    """How to try again; `fresh` forgets what was recorded, and pays for it again."""

    fresh: Annotated[bool, Field(strict=True)] = False


class Changed(BaseModel):
    """What became of a request to change one task; false: it is too late for that."""

    task_id: str
    changed: bool
    status: TaskStatus


class Selection(Body):
    """Which tasks: every field that is given must match; `everything` stands alone."""

    everything: Literal[True] | None = None
    task_type: ShortName | None = None
    tenant: TenantName | None = None
    tag: Name | None = None
    workflow: Name | None = None
    batch_id: BatchId | None = None


class ChangedMany(BaseModel):
    """How many tasks changed."""

    changed: int
    message: str


class ControlReply(BaseModel):
    """What is paused as a whole: "all", "type:NAME", "tenant:NAME"."""

    paused: list[str]


class BatchIn(Body):
    """Tasks to be submitted together, all of them or none."""

    tasks: list[TaskIn] = Field(min_length=1, max_length=10_000)
    batch_id: BatchId | None = Field(None, description="made up where it is not given")
    tenant: TenantName | None = Field(None, description="of all tasks")
    webhook: Url | None = Field(None, description="for all tasks that name none themselves")


class BatchAccepted(BaseModel):
    """A batch that is durable."""

    batch_id: str
    task_ids: list[str]
    status: str
    message: str


class ProgressReply(BaseModel):
    """How far many tasks are; `progress` is the share of them that ended, from 0 to 1."""

    total: int
    done: int
    progress: float
    by_status: dict[str, int]


class BatchReply(ProgressReply):
    batch_id: str


class StatsReply(BaseModel):
    """How many tasks there are; averages in seconds over those that ran. `details` is for admins."""

    total: int
    completed: int
    failed: int
    cancelled: int
    avg_wait_time: float
    avg_execution_time: float
    queued_tasks: int
    running_tasks: int
    by_status: dict[str, int]
    strategy: str
    paused: bool
    details: dict[str, Any] | None
