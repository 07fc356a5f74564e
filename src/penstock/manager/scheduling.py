"""Schedules as callers of a manager say them: what is kept of a submission, and the submission made of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from penstock.errors import ConfigurationError, InvalidTask, ScheduleNotFound
from penstock.manager.submission import Submission
from penstock.model.clock import Clock, iso_time
from penstock.model.json_text import json_text
from penstock.model.options import read_options
from penstock.model.priority import Priority, read_priority
from penstock.model.schedule import Missed, Schedule, begun, checked, redefined, resumed
from penstock.model.task import NewTask
from penstock.stores.contract import Reader, Transaction

if TYPE_CHECKING:
    from penstock.runtime.node import Node

T = TypeVar("T")

# They belong to one task, not to a line of them.
ONE_TASK_ONLY = ("deadline", "idempotency_key", "batch", "position", "error", "after")
INSTEAD = {"deadline": "; give slo_seconds, counted from each firing"}
_KEPT_APART = {"type", "data", "priority", "tenant", "options"}
_DETAILS = tuple(
    field.name for field in fields(Submission) if field.name not in {*ONE_TASK_ONLY, *_KEPT_APART}
)
_PLAIN = Submission("")


@dataclass(frozen=True, slots=True)
class Timing:
    """When a schedule fires: an expression or a form in words in a time zone, up to `jitter` seconds late,
    and what is to become of firings that were missed."""

    when: str
    zone: str = "UTC"
    jitter: float = 0.0
    missed: Missed = "once"


class Scheduling:
    """The calls of a manager that are about schedules."""

    clock: Clock
    check_scheduled: Callable[[Submission], None]
    """refuses a submission of a schedule before it is made, by what only the owner of this manager knows"""

    if TYPE_CHECKING:

        @property
        def node(self) -> Node: ...
        def prepare(self, one: Submission) -> NewTask: ...
        def peek(self, work: Callable[[Reader], T]) -> T: ...
        async def submit_many(self, submissions: list[Submission]) -> list[str]: ...

    async def schedule(
        self,
        name: str,
        when: str,
        type: str,
        data: Any = None,
        *,
        zone: str = "UTC",
        jitter: float = 0.0,
        missed: Missed = "once",
        **details: Any,
    ) -> Schedule:
        """Make a task of this type and data at every tick of `when`, in the time zone `zone`; how the
        schedule stands, once it is durable. `details` are fields of `Submission`.

        `when` is such as "daily at 9:00", "every 15 minutes" or "0 9 * * MON-FRI". Each firing is up to
        `jitter` seconds late. Firings that are `missed` are let go ("skip"), made up for by one ("once") or
        each ("all"). A schedule of that name of that tenant is replaced; its next tick stays unless its times
        are others. Raises `ConfigurationError` for times that make no sense, `InvalidTask` for data that the
        type does not take.
        """
        timing = Timing(when, zone, jitter, missed)
        return await self.keep_schedule(name, timing, Submission(type, data, **details))

    async def keep_schedule(self, name: str, timing: Timing, one: Submission) -> Schedule:
        """The same from a submission."""
        now = self.clock.wall()
        new = schedule_of(name, timing, one, now, self.prepare(one))
        kept = await self.node.committer.run(lambda store: keep(store, new, now))
        self.node.cron.look()
        return kept

    def schedules(self, tenant: str | None = None) -> list[Schedule]:
        """All schedules, or those of one tenant, by name."""
        return self.peek(lambda reader: reader.schedules(tenant))

    async def unschedule(self, name: str, tenant: str = "") -> bool:
        """Remove a schedule; the tasks that it made stay. False: there is none."""
        return await self.node.committer.run(lambda store: store.drop_schedule(name, tenant))

    async def pause_schedule(self, name: str, tenant: str = "") -> None:
        """Fire no more until `resume_schedule`. Raises `ScheduleNotFound`."""
        await self.node.committer.run(lambda store: switch(store, name, tenant, None))

    async def resume_schedule(self, name: str, tenant: str = "") -> None:
        """Go on with the next tick from now; what would have fired meanwhile is not made up for. Raises
        `ScheduleNotFound`."""
        now = self.clock.wall()
        await self.node.committer.run(lambda store: switch(store, name, tenant, now))
        self.node.cron.look()

    async def run_schedule_now(self, name: str, tenant: str = "") -> str:
        """Make a task of the schedule at once, beside its ticks; the task's id. Raises `ScheduleNotFound`."""
        one = submission_of(self.peek(lambda reader: found(reader, name, tenant)))
        self.check_scheduled(one)
        return (await self.submit_many([one]))[0]

    def scheduled_task(self, schedule: Schedule, tick: float) -> NewTask:
        """The task of one tick, let in at the door."""
        one = submission_of(schedule, tick)
        self.check_scheduled(one)
        return self.prepare(one)


def schedule_of(
    name: str, timing: Timing, one: Submission, now: float, prepared: NewTask | None = None
) -> Schedule:
    """A schedule that makes tasks of this submission; `prepared` is one of them, where a door knows the type.

    Raises `ConfigurationError` and `InvalidTask`.
    """
    for field in ONE_TASK_ONLY:
        if getattr(one, field) != getattr(_PLAIN, field):
            raise ConfigurationError(f"{field} makes no sense in a schedule{INSTEAD.get(field, '')}")
    given = Priority.MEDIUM if one.priority is None else one.priority
    priority = read_priority(given) if prepared is None else prepared.priority
    schedule = Schedule(
        name,
        timing.when,
        timing.zone,
        one.type,
        created_at=now,
        jitter_seconds=timing.jitter,
        missed=timing.missed,
        data=_data(one, prepared),
        priority=priority,
        tenant=one.tenant,
        details=_details(one),
    )
    return checked(schedule)


def submission_of(schedule: Schedule, tick: float | None = None) -> Submission:
    """What is submitted at a tick; without one, beside all ticks."""
    details = json.loads(schedule.details)
    options = details.pop("options", None)
    one = Submission(
        schedule.type,
        None if schedule.data is None else json.loads(schedule.data),
        priority=schedule.priority,
        tenant=schedule.tenant,
        options=None if options is None else read_options(json.dumps(options)),
        **details,
    )
    one.tags = (*one.tags, f"schedule:{schedule.name}")
    if tick is None:
        return one
    one.idempotency_key = schedule.key(tick)
    if one.metadata is None or isinstance(one.metadata, dict):
        one.metadata = {**(one.metadata or {}), "schedule": schedule.name, "scheduled_for": iso_time(tick)}
    return one


def keep(store: Transaction, new: Schedule, now: float) -> Schedule:
    """Keep a schedule, in the place of what was there under its name; how it stands then."""
    old = store.schedule(new.name, new.tenant)
    if old is None:
        kept = begun(new, now)
    else:
        kept = redefined(old, new, now)
        if replace(kept, version=old.version) == old:
            return old
    store.put_schedule(kept)
    return kept


def switch(store: Transaction, name: str, tenant: str, resume_at: float | None) -> Schedule:
    """Pause a schedule, or resume it at an instant; how it stands then. Raises `ScheduleNotFound`."""
    old = found(store, name, tenant)
    new = (
        replace(old, enabled=False, version=old.version + 1) if resume_at is None else resumed(old, resume_at)
    )
    store.put_schedule(new)
    return new


def found(reader: Reader, name: str, tenant: str) -> Schedule:
    """The schedule of that name; raises `ScheduleNotFound`."""
    schedule = reader.schedule(name, tenant)
    if schedule is None:
        names = ", ".join(one.name for one in reader.schedules(tenant)[:20]) or "none"
        raise ScheduleNotFound(f"there is no schedule {name!r}; there are: {names}")
    return schedule


def _data(one: Submission, prepared: NewTask | None) -> str | None:
    """The data as it was given, for it passes the door again at every firing."""
    try:
        return None if one.data is None else json_text(one.data)
    except (TypeError, ValueError) as error:
        if prepared is not None:
            return prepared.payload
        raise InvalidTask(f"data of a {one.type!r} task must be JSON: {error}") from None


def _details(one: Submission) -> str:
    given: dict[str, Any] = {
        name: value for name in _DETAILS if (value := getattr(one, name)) != getattr(_PLAIN, name)
    }
    if one.tags:
        given["tags"] = list(one.tags)
    if one.pools:
        given["pools"] = dict(one.pools)
    if one.options is not None:
        given["options"] = json.loads(one.options.as_text() or "{}")
    return json_text(given)
