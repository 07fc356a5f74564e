"""Every REST route."""

from __future__ import annotations

from fastapi import APIRouter

from penstock.service.routes import (
    batches,
    control,
    events,
    schedules,
    settings,
    stats,
    tasks,
    waiting,
    webhooks,
    workflows,
)


def router() -> APIRouter:
    """All of them in one list, the most used first: every router inside another costs at each request."""
    whole = APIRouter()
    for part in (tasks, batches, waiting, workflows, events, stats, control, schedules, webhooks, settings):
        whole.routes.extend(part.router.routes)
    return whole
