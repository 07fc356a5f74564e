"""Tasks on their way in: from what a client sent to what the store is given, in the name of a tenant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from penstock.errors import InvalidTask, PenstockError, TaskNotFound, UnknownTaskType
from penstock.manager.submission import Submission
from penstock.manager.task_config import TaskConfig
from penstock.model.options import DEFAULTS, TaskOptions
from penstock.model.states import TaskStatus
from penstock.model.task import Added, Existing, NewTask
from penstock.model.task_type import TaskType
from penstock.service.access import own_tenant, visible
from penstock.service.auth import Principal
from penstock.service.confining import own_workflow
from penstock.service.errors import HttpProblem
from penstock.service.labels import (
    ESTIMATED_TIME,
    NAME,
    WEBHOOK,
    WEBHOOK_TAG,
    batch_tag,
    workflow_key,
)
from penstock.service.schemas import TaskIn, TaskTerms
from penstock.service.service import Service
from penstock.service.webhook_delivery import TYPE as WEBHOOK_TYPE
from penstock.service.webhook_delivery import check_url
from penstock.stores.contract import AddOutcome, Reader, TaskFilter
from penstock.workflows.coordinator import TYPE as WORKFLOW_TYPE

_OPTIONS = ("max_retries", "retry_delay", "timeout", "cache_ttl", "merge")
_AS_IS = (
    *("service_class", "slo_seconds", "delay", "expires", "result_ttl", "estimated_tokens"),
    *("deadline", "unique_key", "debounce"),
)
_PLAIN = TaskConfig().options
_MESSAGES = {
    TaskStatus.QUEUED: "the task is durable and waits its turn",
    TaskStatus.BLOCKED: "the task is durable and waits for others",
    TaskStatus.FAILED: "the task failed at once: one that it waits for did not complete",
}
KNOWN = "this task was submitted before"


def submission_of(
    service: Service, principal: Principal, one: TaskIn, key: str | None = None, batch: str | None = None
) -> Submission:
    """The submission that a client's words stand for.

    Raises `HttpProblem` for another's tenant or another key than that of the header, `InvalidTask`.
    """
    tenant = own_tenant(principal, one.tenant)
    if key is not None and one.idempotency_key not in (None, key):
        raise HttpProblem(422, "invalid_request", "header and body differ", param="idempotency_key")
    made = terms_of(service, principal, one, tenant)
    if batch is not None:
        made.tags = (*made.tags, batch_tag(tenant, batch))
    for name in ("deadline", "unique_key", "debounce"):
        setattr(made, name, getattr(one, name))
    made.after = tuple(one.after)
    made.idempotency_key = key or one.idempotency_key
    return made


def terms_of(service: Service, principal: Principal, one: TaskTerms, tenant: str) -> Submission:
    """The same without what belongs to one task only."""
    type = type_of(getattr(one, "task_type"))  # noqa: B009 - both kinds of terms have one
    given = {name: getattr(one, name) for name in _AS_IS if name in TaskTerms.model_fields}
    if one.webhook is not None:
        check_url(service.manager.setup.allowed_hosts, one.webhook)
    payload = getattr(one, "payload")  # noqa: B009
    return Submission(
        type,
        own_workflow(principal, payload, tenant) if type == WORKFLOW_TYPE else payload,
        priority=one.priority,
        tenant=tenant,
        metadata=_metadata(one),
        options=_options(service, type, one),
        program=None if one.workflow is None else workflow_key(tenant, one.workflow),
        estimated_seconds=one.estimated_time,
        tags=(*one.tags, WEBHOOK_TAG) if one.webhook is not None else tuple(one.tags),
        pools=one.pools,
        **given,
    )


def type_of(given: str) -> str:
    """The name of a type: a built-in one's also in capitals. Raises `UnknownTaskType` for what only we
    submit."""
    member = TaskType.__members__.get(given)
    if given == WEBHOOK_TYPE:
        raise UnknownTaskType(f"task type {given!r} is not for submissions")
    return given if member is None else member.value


async def submit(
    service: Service, principal: Principal, submissions: Sequence[Submission]
) -> tuple[list[AddOutcome], list[NewTask]]:
    """Add each of them that can be added, in one transaction; one outcome each.

    Raises `InvalidTask` and what else the door refuses.
    """
    await check_after(service, principal, submissions)
    for one in submissions:
        if one.type == WORKFLOW_TYPE:  # a large one, in a thread
            one.data = await service.engine.workflows.check(one.data)
    tasks = [prepare(service, one) for one in submissions]
    outcomes: list[AddOutcome] = await service.engine.node.committer.do("add", tasks)
    service.engine.notice(*entered(outcomes, tasks))
    return outcomes, tasks


def prepare(service: Service, one: Submission) -> NewTask:
    """Let one in at the door."""
    if one.type != WORKFLOW_TYPE:  # its nodes are weighed one by one
        service.engine.check_money([one], service.manager.setup.base_url)
    return service.engine.prepare(one)


def entered(
    outcomes: Sequence[AddOutcome], tasks: Sequence[NewTask]
) -> tuple[list[AddOutcome], list[NewTask]]:
    """Those that were not refused, with their tasks."""
    kept = [
        (outcome, task)
        for outcome, task in zip(outcomes, tasks, strict=True)
        if not isinstance(outcome, PenstockError)
    ]
    return [outcome for outcome, _ in kept], [task for _, task in kept]


async def accepted(service: Service, outcome: AddOutcome, task: NewTask) -> dict[str, Any]:
    """What a client is told of one outcome, as `Accepted` says. Raises the refusal."""
    if isinstance(outcome, PenstockError):
        raise outcome
    if isinstance(outcome, Added) and not task.after:
        return told(outcome.id, TaskStatus.QUEUED)
    id = outcome.id
    found = await service.engine.read(lambda reader: reader.results_of([id]))
    if id not in found:
        raise TaskNotFound(f"task {id} was removed", id)
    status: TaskStatus = found[id][0]
    return told(id, status, known=isinstance(outcome, Existing))


def told(id: str, status: TaskStatus, known: bool = False) -> dict[str, Any]:
    """`Accepted` for a task in this status."""
    message = KNOWN if known else _MESSAGES.get(status, f"the task is {status}")
    return {"task_id": id, "status": str(status), "message": message}


async def check_after(service: Service, principal: Principal, submissions: Sequence[Submission]) -> None:
    """Raise `InvalidTask` where a task is to get the result of one that its sender cannot see."""
    wanted = {id for one in submissions for id in one.after}
    if not wanted:
        return
    if len(wanted) > 10_000:
        raise InvalidTask("these tasks name more than 10,000 others in `after`")
    where = TaskFilter(ids=tuple(sorted(wanted)), tenant=visible(principal))

    def look(reader: Reader) -> set[str]:
        return {id for _, id in reader.ids(where, limit=len(wanted))}

    if missing := sorted(wanted - await service.engine.read(look)):
        raise TaskNotFound(f"there is no task {missing[0]}, which `after` names", missing[0])


def _metadata(one: TaskTerms) -> dict[str, Any] | None:
    labels = {NAME: one.name, ESTIMATED_TIME: one.estimated_time, WEBHOOK: one.webhook}
    kept = {name: value for name, value in labels.items() if value is not None}
    return {**(one.metadata or {}), **kept} if kept else one.metadata


def _options(service: Service, type: str, one: TaskTerms) -> TaskOptions:
    own = service.engine.handlers[type].options
    base = _PLAIN if own is DEFAULTS or own == DEFAULTS else own
    given = {name: value for name in _OPTIONS if (value := getattr(one, name)) is not None}
    return replace(base, **given) if given else base
