"""Settings, budgets and limits that can be changed while everything runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from fastapi import Request, Response

from penstock.admission import Budget, RateLimit
from penstock.model.usage import from_pico
from penstock.runtime.settings import ModelLimits
from penstock.service.access import Admin, Viewer, check_sees_all
from penstock.service.auth import Principal
from penstock.service.json_body import Reply
from penstock.service.routing import make_router
from penstock.service.service import Service, service_of
from penstock.service.steering_schemas import (
    BudgetReply,
    BudgetsIn,
    LimitReply,
    LimitsIn,
    LimitTerms,
    SettingsIn,
    SettingsReply,
)

router = make_router("settings")


@router.get("/settings", name="get_settings", response_model=SettingsReply)
async def get_settings(request: Request, principal: Admin) -> Response:
    """Limits and budgets in force."""
    check_sees_all(principal)
    return Reply(_settings(service_of(request)))


@router.patch("/settings", name="change_settings", response_model=SettingsReply)
async def change_settings(request: Request, principal: Admin, changes: SettingsIn) -> Response:
    """Change what is given, at once; nothing restarts. It holds until the process ends."""
    check_sees_all(principal)
    service = service_of(request)
    service.manager.adjust_settings(**changes.model_dump(exclude_unset=True))
    return Reply(_settings(service))


@router.get("/budgets", name="list_budgets", response_model=list[BudgetReply])
async def list_budgets(request: Request, principal: Viewer) -> Response:
    """Every budget and how full it is; a tenant's own for its keys."""
    return Reply(_budgets(service_of(request), principal))


@router.patch("/budgets", name="change_budgets", response_model=list[BudgetReply])
async def change_budgets(request: Request, principal: Admin, changes: BudgetsIn) -> Response:
    """Set or take away budgets, in all and by tenant, at once. It holds until the process ends."""
    check_sees_all(principal)
    service = service_of(request)
    names = {"total": "budget", "daily": "daily_budget", "hourly": "hourly_budget"}
    given = changes.model_dump(exclude_unset=True)
    limits = service.engine.settings.limits
    tenants = _merged(limits.tenant_budgets, given.get("tenants", {}))
    limits = replace(limits, **{names[name]: given[name] for name in names if name in given})
    _adjust(service, replace(limits, tenant_budgets=tenants))
    return Reply(_budgets(service, principal))


@router.post("/budgets/reset", name="reset_total_cost", response_model=list[BudgetReply])
async def reset_total_cost(request: Request, principal: Admin) -> Response:
    """Count the total spending from now on."""
    check_sees_all(principal)
    service = service_of(request)
    service.engine.reset_total_cost()
    return Reply(_budgets(service, principal))


@router.get("/limits", name="list_limits", response_model=list[LimitReply])
async def list_limits(request: Request, principal: Viewer) -> Response:
    """Every rate limit, given or learned, and how full it is; a tenant's own for its keys."""
    return Reply(_limits(service_of(request), principal))


@router.patch("/limits", name="change_limits", response_model=list[LimitReply])
async def change_limits(request: Request, principal: Admin, changes: LimitsIn) -> Response:
    """Set or take away limits of models and tenants, at once. It holds until the process ends."""
    check_sees_all(principal)
    service = service_of(request)
    limits = service.engine.settings.limits
    limits = replace(
        limits,
        models=_merged(limits.models, _terms(changes.models)),
        tenants=_merged(limits.tenants, _terms(changes.tenants)),
    )
    _adjust(service, limits)
    return Reply(_limits(service, principal))


def _adjust(service: Service, limits: Any) -> None:
    service.engine.adjust(replace(service.engine.settings, limits=limits))


def _terms(given: Mapping[str, LimitTerms | None]) -> dict[str, ModelLimits | None]:
    return {name: None if one is None else ModelLimits(**one.model_dump()) for name, one in given.items()}


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**old, **new}.items() if value is not None}


def _settings(service: Service) -> dict[str, Any]:
    settings = service.engine.settings
    limits = settings.limits

    def usd(amount: Any) -> float | None:
        return None if amount is None else float(amount)

    return {
        "max_concurrent": settings.max_concurrent,
        "max_queue_size": settings.max_queue_size,
        "requests_per_minute": limits.requests_per_minute,
        "requests_per_hour": limits.requests_per_hour,
        "tokens_per_minute": limits.tokens_per_minute,
        "budget_limit": usd(limits.budget),
        "daily_limit": usd(limits.daily_budget),
        "hourly_limit": usd(limits.hourly_budget),
    }


def _budgets(service: Service, principal: Principal) -> list[dict[str, Any]]:
    engine = service.engine
    own = _own_keys(principal, engine.node.gate.limits.budgets)
    told = []
    for one in engine.node.gate.money(engine.clock.monotonic()):
        left = max(0, one.limit - one.spent - one.uncertain - one.held)
        figures = {"limit": one.limit, "spent": one.spent, "held": one.held, "uncertain": one.uncertain}
        figures |= {"remaining": left}
        told.append({"key": one.key, **{name: float(from_pico(pico)) for name, pico in figures.items()}})
    return [one for one in told if own is None or one["key"] in own]


def _limits(service: Service, principal: Principal) -> list[dict[str, Any]]:
    engine = service.engine
    own = _own_keys(principal, engine.node.gate.limits.rates)
    return [
        {
            "key": one.key,
            "used": one.used,
            "held": one.held,
            "limit": one.limit,
            "window_seconds": one.window_seconds,
        }
        for one in engine.node.gate.usage(engine.clock.monotonic())
        if own is None or one.key in own
    ]


def _own_keys(principal: Principal, limits: Iterable[RateLimit | Budget]) -> set[str] | None:
    """The keys of the limits that bind this tenant alone; `None` for those who see all."""
    if principal.sees_all:
        return None
    return {one.key for one in limits if one.tenant is not None and one.tenant == principal.tenant}
