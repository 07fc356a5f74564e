"""The shapes of requests and replies about the service as a whole: strategy, limits, schedules, webhooks."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from penstock.service.schemas import (
    Amount,
    Body,
    Name,
    ShortName,
    TaskTerms,
    TenantName,
    Url,
    Whole,
)

WebhookEvent = Literal["ended", "approval_requested"]


class StrategyIn(Body):
    """The strategy that orders what waits; `settings` are its own."""

    strategy: ShortName
    time_slice: Annotated[float, Field(strict=True, gt=0, le=86_400)] | None = None
    settings: dict[ShortName, Any] = Field(default_factory=dict)


class StrategyReply(BaseModel):
    strategy: str
    time_slice: float | None
    ranked: int
    message: str


class StrategyInfo(BaseModel):
    name: str
    rule: str
    settings: dict[str, Any]
    in_force: bool


class SettingsReply(BaseModel):
    """Limits and budgets that can be changed while everything runs; null limits nothing."""

    max_concurrent: int
    max_queue_size: int | None
    requests_per_minute: int | None
    requests_per_hour: int | None
    tokens_per_minute: int | None
    budget_limit: float | None
    daily_limit: float | None
    hourly_limit: float | None


class SettingsIn(Body):
    """What is to change; null takes a limit away. Holds until the process ends."""

    max_concurrent: Whole | None = None
    max_queue_size: Whole | None = None
    requests_per_minute: Whole | None = None
    requests_per_hour: Whole | None = None
    tokens_per_minute: Whole | None = None
    budget_limit: Amount | None = None
    daily_limit: Amount | None = None
    hourly_limit: Amount | None = None


class BudgetReply(BaseModel):
    """One budget. `remaining` is less what is held for calls in flight, too."""

    key: str
    limit: float
    spent: float
    held: float
    uncertain: float
    remaining: float


class BudgetsIn(Body):
    """Budgets to set, in all and by tenant; null takes one away."""

    total: Amount | None = None
    daily: Amount | None = None
    hourly: Amount | None = None
    tenants: dict[TenantName, Amount | None] = Field(default_factory=dict, max_length=10_000)


class LimitReply(BaseModel):
    """One rate limit and how full its window is."""

    key: str
    used: int
    held: int
    limit: int
    window_seconds: float


class LimitTerms(Body):
    """Limits of one model or tenant; what is left out limits nothing."""

    requests_per_minute: Whole | None = None
    requests_per_hour: Whole | None = None
    tokens_per_minute: Whole | None = None
    max_concurrent: Whole | None = None


class LimitsIn(Body):
    """Limits to set by model and by tenant; null takes all limits of one away."""

    models: dict[ShortName, LimitTerms | None] = Field(default_factory=dict, max_length=1_000)
    tenants: dict[TenantName, LimitTerms | None] = Field(default_factory=dict, max_length=10_000)


class ScheduleIn(TaskTerms):
    """A task to be made again and again."""

    when: Name = Field(description='such as "daily at 9:00", "every 15 minutes" or "0 9 * * MON-FRI"')
    task_type: ShortName
    payload: Any = None
    zone: ShortName = "UTC"
    jitter_seconds: Annotated[float, Field(strict=True, ge=0, le=86_400)] = 0.0
    missed: Literal["skip", "once", "all"] = "once"


class ScheduleReply(BaseModel):
    """How a schedule stands."""

    name: str
    when: str
    cron: str | None
    every_seconds: float | None
    zone: str
    jitter_seconds: float
    missed: str
    task_type: str
    payload: Any
    priority: int
    tenant: str
    tags: list[str]
    enabled: bool
    created_at: str
    next_at: str | None
    upcoming: list[str]
    last_at: str | None
    last_task: str | None
    last_error: str | None
    fired: int


class WebhookIn(Body):
    """Ends of tasks to be told to a URL, or what people are asked: of all, or of those that match;
    `statuses` are of ends."""

    url: Url
    task_type: ShortName | None = None
    tag: Name | None = None
    statuses: list[Literal["completed", "failed", "cancelled"]] = Field(default_factory=list, max_length=3)
    events: list[WebhookEvent] = Field(["ended"], min_length=1, max_length=2)
    tenant: TenantName | None = None


class WebhookReply(BaseModel):
    id: str
    url: str
    task_type: str | None
    tag: str | None
    statuses: list[str]
    events: list[str]
    tenant: str
    created_at: str


class SecretReply(BaseModel):
    """The secret that signs what is sent; `previous` goes on signing beside it until `previous_until`."""

    secret: str
    previous: str | None
    previous_until: str | None


class Removed(BaseModel):
    removed: bool
