"""A schedule: a task to be made again and again, and what has become of it so far.

The rule for missed firings: a firing is missed when no process was there to make it within `GRACE_SECONDS`,
when a later one is due already, or when its task was refused at the door (queue full, budget used up).
`skip` lets missed firings go; `once` makes up for all of them with one, the latest; `all` makes up for each,
oldest first, up to the latest `MOST_MADE_UP`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, get_args

from penstock.errors import ConfigurationError
from penstock.model.clock import iso_time
from penstock.model.ticks import Ticks
from penstock.model.when import When, read_when

Missed = Literal["skip", "once", "all"]

GRACE_SECONDS = 60.0
MOST_MADE_UP = 100
RETRY_SECONDS = 15.0
LONGEST_NAME = 100
LONGEST_JITTER_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """Makes a task of this type and data at each tick of `when`. Instants are seconds since the epoch.

    `name` is unique among the schedules of a tenant. `data` and `details` are JSON texts; `details` are the
    other fields of a submission. `next_at` is the next tick, `fire_at` the same with its jitter; both stand
    still while the schedule is not `enabled`. `last_at` is the tick that fired last, `last_task` the id of
    its task, `last_error` why the latest firing was refused. `version` rises with every change.
    """

    name: str
    when: str
    zone: str
    type: str
    created_at: float
    jitter_seconds: float = 0.0
    missed: Missed = "once"
    data: str | None = None
    priority: int = 20
    tenant: str = ""
    details: str = "{}"
    next_at: float = 0.0
    fire_at: float = 0.0
    enabled: bool = True
    version: int = 1
    last_at: float | None = None
    last_task: str | None = None
    last_error: str | None = None
    fired: int = 0

    @property
    def cron(self) -> str | None:
        """The cron expression, unless it fires at intervals."""
        return read_when(self.when).cron

    @property
    def every_seconds(self) -> float | None:
        """The seconds between firings, unless there is a cron expression."""
        return read_when(self.when).every_seconds

    @property
    def ticks(self) -> Ticks:
        return _ticks(read_when(self.when), self.zone, self.created_at)

    def upcoming(self, count: int) -> list[float]:
        """The next ticks, the one of `next_at` first."""
        ticks, found = self.ticks, [self.next_at]
        while len(found) < count:
            found.append(ticks.after(found[-1]))
        return found

    def key(self, tick: float) -> str:
        """The idempotency key of the task of this tick."""
        return f"schedule:{self.name}:{iso_time(tick)}"

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON: instants as ISO 8601 text in UTC."""
        return {
            "name": self.name,
            "when": self.when,
            "cron": self.cron,
            "every_seconds": self.every_seconds,
            "zone": self.zone,
            "jitter_seconds": self.jitter_seconds,
            "missed": self.missed,
            "task_type": self.type,
            "data": None if self.data is None else json.loads(self.data),
            "priority": self.priority,
            "tenant": self.tenant,
            **{name: value for name, value in json.loads(self.details).items() if name != "data"},
            "enabled": self.enabled,
            "created_at": iso_time(self.created_at),
            "next_at": iso_time(self.next_at) if self.enabled else None,
            "last_at": None if self.last_at is None else iso_time(self.last_at),
            "last_task": self.last_task,
            "last_error": self.last_error,
            "fired": self.fired,
        }


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be fired now, oldest first, and the tick that follows. `passed_over`: earlier ones are let
    go."""

    ticks: tuple[float, ...]
    following: float
    passed_over: bool


def checked(schedule: Schedule) -> Schedule:
    """This schedule; raises `ConfigurationError` for what makes no sense in it."""
    name = schedule.name
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise ConfigurationError(
            f"a schedule's name has 1 to {LONGEST_NAME} printable characters, not {name!r}"
        )
    jitter = schedule.jitter_seconds
    if (
        isinstance(jitter, bool)
        or not isinstance(jitter, int | float)
        or not 0 <= jitter <= LONGEST_JITTER_SECONDS
    ):
        raise ConfigurationError(f"jitter is a number of seconds from 0 to a day, not {jitter!r}")
    if schedule.missed not in get_args(Missed):
        raise ConfigurationError(f"missed is {schedule.missed!r}; it can be 'skip', 'once' or 'all'")
    schedule.ticks.after(schedule.created_at)
    return schedule


def begun(schedule: Schedule, now: float) -> Schedule:
    """The schedule with its first tick after `now`."""
    return at_tick(schedule, schedule.ticks.after(now))


def at_tick(schedule: Schedule, tick: float) -> Schedule:
    """The schedule with this tick as its next."""
    return replace(schedule, next_at=tick, fire_at=jittered(schedule, tick))


def jittered(schedule: Schedule, tick: float) -> float:
    """When this tick fires: up to `jitter_seconds` later, the same for every process that asks, and before
    the tick that follows."""
    if not schedule.jitter_seconds:
        return tick
    room = min(schedule.jitter_seconds, schedule.ticks.after(tick) - tick)
    drawn = hashlib.blake2b(f"{schedule.tenant}\n{schedule.name}\n{tick}".encode(), digest_size=6).digest()
    return tick + room * int.from_bytes(drawn, "big") / 2**48


def redefined(old: Schedule, new: Schedule, now: float) -> Schedule:
    """`new` in the place of `old`: what has become of it is kept, and so is its next tick, unless its times
    changed."""
    kept = replace(
        new,
        created_at=old.created_at,
        enabled=old.enabled,
        version=old.version + 1,
        last_at=old.last_at,
        last_task=old.last_task,
        last_error=old.last_error,
        fired=old.fired,
    )
    if _times(old) == _times(new):
        return replace(kept, next_at=old.next_at, fire_at=old.fire_at)
    return begun(replace(kept, created_at=now), now)


def resumed(schedule: Schedule, now: float) -> Schedule:
    """The schedule, going on after a pause: what would have fired meanwhile is no firing that was missed."""
    if schedule.enabled:
        return schedule
    return begun(replace(schedule, enabled=True, last_error=None, version=schedule.version + 1), now)


def due(schedule: Schedule, now: float) -> Due:
    """What is to be fired at `now` by the rule for missed firings; `next_at` must have come."""
    most = MOST_MADE_UP if schedule.missed == "all" else 1
    first = schedule.next_at
    # One more: the last may still wait for its jitter.
    ticks = schedule.ticks.last(most + 1, first, now)
    if len(ticks) > 1 and jittered(schedule, ticks[-1]) > now:
        following = ticks.pop()
    else:
        following = schedule.ticks.after(ticks[-1])
    chosen = ticks[-most:]
    if schedule.missed == "skip" and now - jittered(schedule, chosen[-1]) > GRACE_SECONDS:
        return Due((), following, True)
    return Due(tuple(chosen), following, chosen[0] > first)


def advanced(
    schedule: Schedule, plan: Due, made: int, last_task: str | None, refusal: str | None, now: float
) -> Schedule:
    """The schedule after a firing in which the first `made` ticks have their tasks. Where one was refused,
    the rule for missed firings says whether it is tried again."""
    after = replace(schedule, version=schedule.version + 1, last_error=refusal)
    if made:
        after = replace(
            after,
            last_at=plan.ticks[made - 1],
            last_task=last_task or after.last_task,
            fired=after.fired + made,
        )
    if refusal is None or schedule.missed == "skip":
        return at_tick(after, plan.following)
    return replace(after, next_at=plan.ticks[made], fire_at=now + RETRY_SECONDS)


def _times(schedule: Schedule) -> tuple[When, str, float]:
    return read_when(schedule.when), schedule.zone, schedule.jitter_seconds


@lru_cache(maxsize=1024)
def _ticks(when: When, zone: str, anchor: float) -> Ticks:
    return Ticks(when, zone, anchor)
