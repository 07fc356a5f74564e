"""Workflows that come over HTTP stay with their tenant: their nodes are its own, and of types that may be
submitted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from penstock.errors import InvalidWorkflow, Problem
from penstock.model.references import LITERAL, holds_marks
from penstock.service.access import own_tenant
from penstock.service.auth import Principal
from penstock.service.labels import RESERVED
from penstock.service.webhook_delivery import TYPE as WEBHOOK_TYPE
from penstock.workflows.coordinator import TYPE


def own_workflow(principal: Principal, form: Any, tenant: str) -> Any:
    """The data of a workflow as that of a tenant. What makes no sense in it is left to its own check.

    Raises `HttpProblem` for another's tenant at any depth, `InvalidWorkflow` for what HTTP may not submit.
    """
    if not isinstance(form, dict):
        return form
    problems = list(_problems(principal, form, tenant, ""))
    if problems:
        name = form.get("name")
        raise InvalidWorkflow(problems, name if isinstance(name, str) else "")
    return {**form, "tenant": tenant} if tenant else form


def _problems(principal: Principal, form: dict[str, Any], tenant: str, path: str) -> Iterator[Problem]:
    _check_tenant(principal, form, tenant)
    metadata = form.get("metadata")
    for name in metadata if isinstance(metadata, dict) else ():
        if name.startswith(RESERVED):
            yield Problem(f"{path}metadata.{name}", f"names that begin with {RESERVED!r} are reserved")
    nodes = form.get("nodes")
    for place, node in enumerate(nodes if isinstance(nodes, list) else ()):
        if not isinstance(node, dict):
            continue
        _check_tenant(principal, node, tenant)
        where = f"{path}nodes.{place}"
        for part, work in (
            ("", node),
            ("fallback.", node.get("fallback")),
            ("compensate.", node.get("compensate")),
        ):
            if isinstance(work, dict):
                yield from _of_work(principal, work, tenant, f"{where}.{part}")


def _of_work(principal: Principal, work: dict[str, Any], tenant: str, path: str) -> Iterator[Problem]:
    type, data = work.get("type"), work.get("data")
    if type == WEBHOOK_TYPE:
        yield Problem(f"{path}type", f"task type {type!r} is not for submissions")
    if type != TYPE:
        return
    if isinstance(data, dict) and set(data) == {LITERAL}:
        data, path = data[LITERAL], f"{path}data.{LITERAL}."
    elif holds_marks(data) and not principal.sees_all:
        # What is filled in later could name anybody's tenant.
        told = f"a workflow in a workflow must be given as it is, in {{{LITERAL!r}: ...}}"
        yield Problem(f"{path}data", told)
    else:
        path = f"{path}data."
    if isinstance(data, dict):
        yield from _problems(principal, data, tenant, path)


def _check_tenant(principal: Principal, part: dict[str, Any], tenant: str) -> None:
    named = part.get("tenant")
    if isinstance(named, str) and named != tenant:
        own_tenant(principal, named)
