"""Figures at a glance, and the strategy that orders what waits."""

from __future__ import annotations

from typing import Any

from fastapi import Request, Response

from penstock.errors import ConfigurationError
from penstock.manager.engine import Manager
from penstock.model.states import WAITING, TaskStatus
from penstock.policies.registry import ALIASES, defaults_of, policy_names, rule_of, settings_of
from penstock.service.access import Admin, Viewer, check_sees_all, visible
from penstock.service.json_body import Reply
from penstock.service.routing import make_router
from penstock.service.schemas import StatsReply
from penstock.service.service import service_of
from penstock.service.steering_schemas import StrategyIn, StrategyInfo, StrategyReply
from penstock.stores.contract import TaskFilter

router = make_router("scheduler")


@router.get("/stats", name="get_stats", response_model=StatsReply)
async def get_stats(request: Request, principal: Viewer) -> Response:
    """How many tasks there are, and how long they waited and ran; a tenant's own for its keys."""
    service, tenant = service_of(request), visible(principal)
    strategy = service.engine.ranker.policy.name
    common = {"strategy": strategy, "paused": service.manager.is_paused()}
    if tenant is None:
        whole = service.manager.get_statistics()
        counts, performance = whole["tasks"]["by_status"], whole["performance"]
        waited, ran = performance["average_queue_time"], performance["average_execution_time"]
        return Reply({**_figures(counts, waited, ran), **common, "details": whole})
    found = await service.engine.read(lambda reader: reader.counts(TaskFilter(tenant=tenant)))
    counts = {str(status): found[status].count if status in found else 0 for status in TaskStatus}
    ended = [one for status, one in found.items() if status.final and status is not TaskStatus.CANCELLED]
    number = sum(one.count for one in ended) or 1
    waited = sum(one.queue_seconds for one in ended) / number
    ran = sum(one.run_seconds for one in ended) / number
    return Reply({**_figures(counts, waited, ran), **common, "details": None})


@router.get("/scheduler/strategies", name="list_strategies", response_model=list[StrategyInfo])
async def list_strategies(request: Request, principal: Viewer) -> Response:
    """The strategies there are, their rules and their settings with the defaults."""
    now = service_of(request).engine.ranker.policy.name
    return Reply(
        [
            {
                "name": name,
                "rule": rule_of(name),
                "settings": _plain(defaults_of(name)),
                "in_force": name == now,
            }
            for name in policy_names()
        ]
    )


@router.put("/scheduler/strategy", name="set_strategy", response_model=StrategyReply)
async def set_strategy(request: Request, principal: Admin, wanted: StrategyIn) -> Response:
    """Order what waits by another strategy from now on; dispatch goes on meanwhile."""
    check_sees_all(principal)
    engine = service_of(request).engine
    settings = dict(wanted.settings)
    name = ALIASES.get(wanted.strategy, wanted.strategy)
    if wanted.time_slice is not None and "time_slice" in (_settings_of(name) or ("time_slice",)):
        # Clients of other schedulers send it whatever the strategy.
        settings["time_slice"] = wanted.time_slice
    ranked = await _switch(engine, name, settings)
    reply = {
        "strategy": engine.ranker.policy.name,
        "time_slice": settings.get("time_slice"),
        "ranked": ranked,
        "message": f"{engine.ranker.policy.name} orders what waits; {ranked} tasks were ranked anew",
    }
    return Reply(reply)


async def _switch(engine: Manager, name: str, settings: dict[str, Any]) -> int:
    try:
        return await engine.switch_strategy(name, **settings)
    except TypeError as error:
        raise ConfigurationError(f"strategy {name}: {error}") from None


def _settings_of(name: str) -> tuple[str, ...] | None:
    return settings_of(name) if name in policy_names() else None


def _figures(counts: dict[str, int], waited: float, ran: float) -> dict[str, Any]:
    return {
        "total": sum(counts.values()),
        "completed": counts["completed"],
        "failed": counts["failed"],
        "cancelled": counts["cancelled"],
        "avg_wait_time": waited,
        "avg_execution_time": ran,
        "queued_tasks": sum(counts[str(status)] for status in WAITING),
        "running_tasks": counts["running"],
        "by_status": counts,
    }


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value if isinstance(value, str | int | float | bool | None) else str(value)
        for name, value in settings.items()
    }
