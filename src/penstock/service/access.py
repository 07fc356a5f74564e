"""What a principal may see and name."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Annotated

from fastapi import Depends, Path

from penstock.errors import TaskNotFound
from penstock.manager.engine import Manager
from penstock.model.task import TaskView
from penstock.service.auth import Principal, allowed
from penstock.service.errors import HttpProblem
from penstock.stores.contract import TaskFilter

Submitter = Annotated[Principal, Depends(allowed("submit"))]
Viewer = Annotated[Principal, Depends(allowed("read"))]
Admin = Annotated[Principal, Depends(allowed("admin"))]
TaskId = Annotated[str, Path(description="32 hexadecimal digits", max_length=200)]

_ID = re.compile(r"[0-9a-f]{32}")


def visible(principal: Principal, named: str | None = None) -> str | None:
    """The tenant whose tasks are meant, `None` for everybody's; `named` is the tenant asked for.

    Raises `HttpProblem` when it is another's.
    """
    if principal.sees_all:
        return named
    return own_tenant(principal, named)


def own_tenant(principal: Principal, named: str | None = None) -> str:
    """The tenant that something new belongs to. Raises `HttpProblem` when it is another's."""
    if named is None or named == principal.tenant:
        return principal.tenant
    if principal.sees_all:
        return named
    raise HttpProblem(403, "foreign_tenant", "this key belongs to another tenant", param="tenant")


def check_sees_all(principal: Principal) -> None:
    """Raises `HttpProblem` for those who may not touch what concerns every tenant."""
    if not principal.sees_all:
        raise HttpProblem(403, "forbidden", "this concerns every tenant; it needs an admin key of no tenant")


def is_task_id(id: str) -> bool:
    """Whether it is a whole id of a task; the store would also take the beginning of one."""
    return _ID.fullmatch(id) is not None


async def find_task(engine: Manager, principal: Principal, id: str) -> TaskView:
    """The task of that id; raises `TaskNotFound` also for those of others."""
    view = await engine.get(id) if is_task_id(id) else None
    tenant = visible(principal)
    if view is None or (tenant is not None and view.tenant != tenant):
        raise TaskNotFound(f"there is no task {id[:64]!r}", id[:64])
    return view


async def of_leader(engine: Manager, where: TaskFilter, workflow: str | None) -> TaskFilter:
    """The filter, where `workflow` is the id of a task: its nodes or children are meant."""
    if workflow is None or not is_task_id(workflow):
        return where
    leader = await engine.get(workflow)
    theirs = leader is None or where.tenant not in (None, leader.tenant)
    return where if theirs else replace(where, program=workflow)
