"""Fires schedules: each tick becomes one task, however many processes look at the same schedule."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from penstock.errors import ConfigurationError, IdempotencyConflict, PenstockError
from penstock.model.clock import Clock, iso_time
from penstock.model.schedule import RETRY_SECONDS, Due, Schedule, advanced, due
from penstock.model.task import Added, Existing, NewTask
from penstock.runtime.committer import Committer
from penstock.runtime.looper import Looper
from penstock.stores.contract import AddOutcome, Transaction

log = logging.getLogger("penstock.schedules")

AT_ONCE = 100

Prepare = Callable[[Schedule, float], NewTask]
OnAdded = Callable[[Sequence[AddOutcome], Sequence[NewTask]], None]


@dataclass(frozen=True, slots=True)
class Firing:
    """What one firing is to do: the schedule as it was read, what is due, the tasks that were let in at the
    door for it, and why the next one was not."""

    schedule: Schedule
    plan: Due
    tasks: Sequence[NewTask]
    refusal: str | None
    now: float

    def fire(self, store: Transaction, capacity: int | None = None) -> Fired | None:
        """Move the schedule on and add the tasks, in this transaction: both or neither. `None`: somebody else
        fired or changed the schedule since it was read; nothing is done."""
        made = len(self.tasks)
        after = self._after(made, self.refusal)
        if not store.move_schedule(self.schedule, after):
            return None
        outcomes = store.add(self.tasks, capacity)
        accepted = _accepted(outcomes)
        if accepted < made:
            refused = replace(self._after(accepted, str(outcomes[accepted])), version=after.version + 1)
            store.move_schedule(after, refused)
            after = refused
        return Fired(after, outcomes)

    def _after(self, made: int, refusal: str | None) -> Schedule:
        last = self.tasks[made - 1].id if made else None
        return advanced(self.schedule, self.plan, made, last, refusal, self.now)


@dataclass(frozen=True, slots=True)
class Fired:
    """A firing that is durable: how the schedule stands now, and what became of its tasks."""

    schedule: Schedule
    outcomes: Sequence[AddOutcome]


class Cron(Looper):
    """Waits for the next firing, which is `next_at` to begin with, and makes it. A store without schedules
    costs nothing."""

    interval = 1.0  # the wall clock may jump
    idle_seconds = 3600.0

    def __init__(self, committer: Committer, clock: Clock, next_at: float | None = None) -> None:
        super().__init__()
        self._committer = committer
        self._clock = clock
        self._prepare: Prepare | None = None
        self._on_added: OnAdded = lambda outcomes, tasks: None
        self._changed = False
        self._next_at = next_at

    def open(self, prepare: Prepare, on_added: OnAdded) -> None:
        """Begin to fire: `prepare` lets the task of a schedule's tick in at the door, or raises; `on_added`
        hears of tasks that are durable."""
        self._prepare = prepare
        self._on_added = on_added
        if self._next_at is not None:
            self.hurry()

    def look(self) -> None:
        """Look anew, for schedules may have changed."""
        self._changed = True
        self.hurry()

    async def tick(self) -> float | None:
        if self._prepare is None:
            return self.idle_seconds
        if self._changed or (self._next_at is not None and self._next_at <= self._clock.wall()):
            self._changed = False
            try:
                self._next_at = await self.fire_due(self._prepare)
            except BaseException:
                self._changed = True  # nobody knows what was fired: look again
                raise
        if self._next_at is None:
            return self.idle_seconds
        return min(self.interval, max(0.002, self._next_at - self._clock.wall()))

    async def fire_due(self, prepare: Prepare) -> float | None:
        """Fire everything that is due; when the next firing is."""
        while True:
            now = self._clock.wall()
            found = await self._due(now)
            firings = []
            for one in found:
                firings.append(firing_of(one, prepare, now))
                await asyncio.sleep(0)
            # Together, so that they share a transaction.
            await asyncio.gather(*(self._fire(one) for one in firings))
            if len(found) < AT_ONCE:
                break
        first: float | None = await self._committer.read(lambda reader: reader.next_firing())
        return first

    async def _due(self, now: float) -> list[Schedule]:
        found: list[Schedule] = await self._committer.read(lambda reader: reader.due_schedules(now, AT_ONCE))
        return found

    async def _fire(self, firing: Firing) -> None:
        capacity = self._committer.capacity
        fired = await self._committer.run(lambda store: firing.fire(store, capacity))
        if fired is None:
            return
        if firing.tasks:
            self._on_added(*_told(fired.outcomes, firing.tasks))
        _log(firing, fired.schedule)


def firing_of(schedule: Schedule, prepare: Prepare, now: float) -> Firing:
    """What is to be fired of a schedule that is due, with as many tasks as the door lets in."""
    try:
        plan = due(schedule, now)
    except ConfigurationError as error:  # its zone is gone from this machine, say
        later = replace(schedule, missed="once")
        return Firing(later, Due((schedule.next_at,), now + RETRY_SECONDS, False), (), str(error), now)
    tasks: list[NewTask] = []
    for tick in plan.ticks:
        try:
            tasks.append(prepare(schedule, tick))
        except Exception as error:  # a check of somebody's own type may raise anything
            why = str(error) if isinstance(error, PenstockError) else f"{type(error).__name__}: {error}"
            return Firing(schedule, plan, tasks, why, now)
    return Firing(schedule, plan, tasks, None, now)


def _accepted(outcomes: Sequence[AddOutcome]) -> int:
    """How many ticks from the first on have their task, one that was there before included."""
    for place, outcome in enumerate(outcomes):
        if not isinstance(outcome, Added | Existing | IdempotencyConflict):
            return place
    return len(outcomes)


def _told(outcomes: Sequence[AddOutcome], tasks: Sequence[NewTask]) -> tuple[list[AddOutcome], list[NewTask]]:
    """Outcomes and tasks of those that are in the store."""
    pairs = [
        (outcome, task)
        for outcome, task in zip(outcomes, tasks, strict=True)
        if isinstance(outcome, Added | Existing)
    ]
    return [outcome for outcome, _ in pairs], [task for _, task in pairs]


def _log(firing: Firing, after: Schedule) -> None:
    before = firing.schedule
    if after.last_error is not None and after.last_error != before.last_error:
        again = "it is tried again" if after.next_at in firing.plan.ticks else "it is let go (missed: skip)"
        log.warning("schedule %s: a firing was refused, %s: %s", before.name, again, after.last_error)
    if firing.plan.passed_over:
        first = firing.plan.ticks[0] if firing.plan.ticks else firing.plan.following
        log.info(
            "schedule %s: firings from %s on and before %s were missed (missed: %s)",
            *(before.name, iso_time(before.next_at), iso_time(first), before.missed),
        )
