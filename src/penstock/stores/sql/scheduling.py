"""Schedules: kept, read, and moved from one tick to the next."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.model.schedule import Schedule
from penstock.stores.sql.session import Row, Session


class ScheduleReading(Session):
    """Schedules as they stand."""

    def schedule(self, name: str, tenant: str = "") -> Schedule | None:
        found = _schedules(self.look("schedule", (tenant, name)))
        return found[0] if found else None

    def schedules(self, tenant: str | None = None) -> list[Schedule]:
        return _schedules(self.look("schedules", (tenant,)))

    def due_schedules(self, now: float, limit: int = 100) -> list[Schedule]:
        return _schedules(self.look("due_schedules", (now, limit)))

    def next_firing(self) -> float | None:
        first: float | None = self.look("next_firing")[0][0]
        return first


class ScheduleWriting(Session):
    """`put_schedule`, `move_schedule`, `drop_schedule`."""

    def put_schedule(self, schedule: Schedule) -> None:
        self.db.do("put_schedule", _row(schedule))

    def move_schedule(self, before: Schedule, after: Schedule) -> bool:
        seen = (before.tenant, before.name, before.version, before.next_at)
        moved = (after.next_at, after.fire_at, after.version)
        told = (after.last_at, after.last_task, after.last_error, after.fired)
        return self.db.do("move_schedule", (*seen, *moved, *told)) == 1

    def drop_schedule(self, name: str, tenant: str = "") -> bool:
        return self.db.do("drop_schedule", (tenant, name)) == 1


def _schedules(rows: Sequence[Row]) -> list[Schedule]:
    return [
        Schedule(
            *(name, said, zone, type, created_at, jitter, missed, data, priority, tenant, details),
            *(next_at, fire_at, bool(enabled), *rest),
        )
        for (
            tenant, name, said, zone, type, created_at, jitter, missed, data, priority, details, next_at,
            fire_at, enabled, *rest,
        ) in rows
    ]  # fmt: skip


def _row(one: Schedule) -> Row:
    return (
        one.tenant, one.name, one.when, one.zone, one.type, one.created_at, one.jitter_seconds, one.missed,
        one.data, one.priority, one.details, one.next_at, one.fire_at, int(one.enabled), one.version,
        one.last_at, one.last_task, one.last_error, one.fired,
    )  # fmt: skip
