"""Lets what tenants are granted take effect in the engine that runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from penstock.manager.engine import Manager
from penstock.model.api_key import TenantTerms
from penstock.model.usage import from_pico
from penstock.runtime.settings import Limits, ModelLimits

LIMITS = ("requests_per_minute", "requests_per_hour", "tokens_per_minute", "max_concurrent")


def grant(
    engine: Manager, terms: Sequence[TenantTerms], before: frozenset[str], base: Mapping[str, Any]
) -> frozenset[str]:
    """Put the limits, budgets and weights of these tenants in force, and for tenants of `before` that are not
    among them what was configured (`base`); the tenants of whom something is said now."""
    limits = with_terms(engine.settings.limits, terms, before, base)
    if limits != engine.settings.limits:
        engine.adjust(replace(engine.settings, limits=limits))
    engine.ranker.tenant_weights = {one.tenant: one.weight for one in terms if one.weight is not None}
    return frozenset(one.tenant for one in terms)


def with_terms(
    limits: Limits, terms: Sequence[TenantTerms], before: frozenset[str], base: Mapping[str, Any]
) -> Limits:
    """These limits with what the terms say of tenants; what they are silent about stays as configured."""
    tenants, budgets = dict(limits.tenants), dict(limits.tenant_budgets)
    for tenant in before | {one.tenant for one in terms}:
        _restore(tenants, base["tenants"], tenant)
        _restore(budgets, base["budgets"], tenant)
    for one in terms:
        told = {name: getattr(one, name) for name in LIMITS if getattr(one, name) is not None}
        if told:
            tenants[one.tenant] = replace(tenants.get(one.tenant, ModelLimits()), **told)
        if one.budget is not None:
            budgets[one.tenant] = from_pico(one.budget)
    return replace(limits, tenants=tenants, tenant_budgets=budgets)


def _restore(values: dict[str, Any], base: Mapping[str, Any], name: str) -> None:
    if name in base:
        values[name] = base[name]
    else:
        values.pop(name, None)
