"""The door: what a submission must pass, and the place in the line that it gets."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from penstock.errors import BudgetExhausted, InvalidTask, PriceUnknown, UnknownTaskType
from penstock.manager.partial import check_around, handler_around
from penstock.manager.submission import Submission
from penstock.model.clock import Clock
from penstock.model.estimate import NOTHING, Estimate
from penstock.model.ids import new_id
from penstock.model.json_text import json_text
from penstock.model.options import TaskOptions
from penstock.model.priority import Priority, read_priority
from penstock.model.rank import Rank
from penstock.model.seconds import is_seconds
from penstock.model.service_class import ServiceClass, service_class
from penstock.model.task import NewTask
from penstock.model.usage import from_pico
from penstock.runtime.handlers import Handler, Handlers
from penstock.runtime.node import Node
from penstock.runtime.ranking import Ranker

UNRANKED = Rank(0, 0.0)

_SECONDS = ("delay", "deadline", "debounce", "expires", "result_ttl", "slo_seconds", "estimated_seconds")
_SIZES = ("size", "estimated_tokens", "estimated_seconds")


def not_for_submissions(type: str) -> str:
    """Why an inner type is refused."""
    return f"task type {type!r} is not for submissions: other tasks make those of this type"


class Door:
    """Checks submissions and ranks them."""

    def __init__(self, handlers: Handlers, ranker: Ranker, clock: Clock) -> None:
        self._handlers = handlers
        self._ranker = ranker
        self._clock = clock

    def prepare(self, one: Submission, node: Node | None, inner: bool = False) -> NewTask:
        """Check a submission and rank it; what the store is given. `node` knows what pools there are; `inner`
        lets types pass that are not for submissions."""
        handler = self._handlers[one.type]
        if handler.inner and not inner:
            raise UnknownTaskType(not_for_submissions(one.type))
        options = _options(one, handler)
        now = self._clock.wall()
        handler, data = _checked(handler, options, one)
        payload, metadata = _texts(one, data)
        preset = None if one.service_class is None else service_class(one.service_class)
        due_at = _due_at(one, now)
        lane = handler.lane(None if one.error is not None else data, one.pools)
        if node is not None:
            lane = node.services.pools.lane(lane)
        task = NewTask(
            id=new_id(),
            type=one.type,
            lane=lane,
            rank=UNRANKED,
            created_at=now,
            payload=payload,
            priority=_priority(one, preset),
            tenant=one.tenant,
            program=one.program,
            entered_at=now if due_at is None else due_at,
            due_at=due_at,
            deadline=_deadline(one, preset, now),
            options=options.as_text(),
            metadata=metadata,
            idempotency_key=one.idempotency_key,
            batch=one.batch,
            position=one.position,
            error=None if one.error is None else json_text(one.error),
            after=tuple(one.after),
            tags=_tags(one),
            unique_key=one.unique_key,
            debounce=one.debounce,
            expires_at=None if one.expires is None else now + one.expires,
            result_ttl=one.result_ttl,
        )
        if one.idempotency_key is not None or one.unique_key is not None:
            task.fingerprint = hashlib.sha256(f"{one.type}\n{payload}".encode()).hexdigest()[:32]
        estimate = self.estimate(handler, data) if one.error is None else NOTHING
        tokens = one.estimated_tokens or estimate.tokens or None
        size, seconds = self._ranker.expected((one.type, task.lane.model, one.tenant), tokens)
        seconds = one.estimated_seconds or seconds or estimate.seconds
        self._ranker.enter(task, size if one.size is None else one.size, seconds, now)
        return task

    def estimate(self, handler: Handler, data: Any) -> Estimate:
        """What a task with this data is expected to use."""
        return NOTHING if handler.estimate is None else handler.estimate(data)

    def check_money(self, submissions: Sequence[Submission], node: Node, base_url: str) -> None:
        """Refuse submissions that are together over what is left of a budget.

        Raises `BudgetExhausted`, or `PriceUnknown` when a budget is set and nobody knows a price.
        """
        if not node.gate.limits.budgets:
            return
        costs: dict[str, int] = {}
        for one in submissions:
            costs[one.tenant] = costs.get(one.tenant, 0) + self._cost(one, node, base_url)
        node.gate.ledger.roll(self._clock.monotonic())
        for tenant, cost in costs.items():
            for key, left, own in node.gate.ledger.left(tenant):
                asked = cost if own else sum(costs.values())
                if asked > left:
                    what = f"a {submissions[0].type} task" if len(submissions) == 1 else "these tasks"
                    raise BudgetExhausted(
                        f"{what}: the estimate of {from_pico(asked):.6f} USD is over the "
                        f"{from_pico(left):.6f} USD left of the {key}; raise it, or ask for less"
                    )

    def _cost(self, one: Submission, node: Node, base_url: str) -> int:
        handler = self._handlers[one.type]
        estimate = self.estimate(handler, one.data if one.error is None else None)
        if not estimate.model:
            return 0
        cost = node.weigher.cost_of(estimate, base_url, one.estimated_tokens)
        if cost is None:
            raise PriceUnknown(
                f"no price is known for {estimate.model} and a budget is set; give "
                f"prices={{{estimate.model!r}: {{'input': USD, 'output': USD}}}} per million tokens"
            )
        return cost


def _options(one: Submission, handler: Handler) -> TaskOptions:
    options = one.options or handler.options
    if handler.version and not options.version:
        return replace(options, version=handler.version)
    return options


def _checked(handler: Handler, options: TaskOptions, one: Submission) -> tuple[Handler, Any]:
    """The data as they are kept, and the handler as it can be asked of them."""
    if options.refs:
        check_around(handler, one.data)
        return handler_around(handler), one.data
    return handler, one.data if one.error is not None else handler.check(one.data)


def _texts(one: Submission, data: Any) -> tuple[str | None, str | None]:
    if one.metadata is not None and not isinstance(one.metadata, Mapping):
        raise InvalidTask(f"metadata of a {one.type!r} task must be a dict, not {one.metadata!r:.80}")
    try:
        payload = None if data is None else json_text(data)
        return payload, None if one.metadata is None else json_text(one.metadata)
    except (TypeError, ValueError) as error:
        raise InvalidTask(f"data and metadata of a {one.type!r} task must be JSON: {error}") from None


def _tags(one: Submission) -> tuple[str, ...]:
    tags = tuple(dict.fromkeys(one.tags))
    if isinstance(one.tags, str) or any(not isinstance(tag, str) or not 0 < len(tag) <= 200 for tag in tags):
        raise InvalidTask(f"tags of a {one.type!r} task must be a list of texts of 1 to 200 characters")
    return tags


def _due_at(one: Submission, now: float) -> float | None:
    _check_seconds(one)
    wait = one.delay if one.debounce is None else max(one.delay, one.debounce)
    if one.debounce is not None and one.unique_key is None:
        raise InvalidTask(f"debounce of a {one.type!r} task goes with a unique_key: what is to be one task")
    if wait < 0 or (one.expires is not None and one.expires <= 0):
        raise InvalidTask(f"delay and expires of a {one.type!r} task are seconds from now, not negative")
    return now + wait if wait > 0 else None


def _check_seconds(one: Submission) -> None:
    for name in _SECONDS:
        given = getattr(one, name)
        if given is None or is_seconds(given):
            continue
        unit, more = "a number of seconds", ""
        if name == "deadline":
            unit, more = "an instant in seconds since the epoch", " (a datetime's is its `timestamp()`)"
        raise InvalidTask(f"{name} of a {one.type!r} task must be {unit}{more}, not {given!r:.80}")
    for name in _SIZES:
        given = getattr(one, name)
        if given is not None and not (is_seconds(given) and given >= 0):
            raise InvalidTask(f"{name} of a {one.type!r} task must be 0 or a number above, not {given!r:.80}")


def _priority(one: Submission, preset: ServiceClass | None) -> int:
    if one.priority is not None:
        return read_priority(one.priority)
    return int(Priority.MEDIUM) if preset is None else preset.priority


def _deadline(one: Submission, preset: ServiceClass | None, now: float) -> float | None:
    slo = one.slo_seconds
    if slo is None and preset is not None:
        slo = preset.slo_seconds
    deadline = one.deadline if one.deadline is not None else None if slo is None else now + slo
    if deadline is not None and deadline <= now:
        late = f"{now - deadline:.3g} seconds in the past"
        raise InvalidTask(f"the deadline of this {one.type!r} task is {late}; give a later one")
    return deadline
