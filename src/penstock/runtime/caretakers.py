"""Small services of a dispatching node: each a `Looper` with one duty."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from penstock.model.clock import Clock
from penstock.model.program_budget import ProgramBudget
from penstock.runtime.admitter import Admitter
from penstock.runtime.budgets import changed_budgets
from penstock.runtime.committer import Committer
from penstock.runtime.dispatcher import Dispatcher
from penstock.runtime.figures import SETTING as FIGURES
from penstock.runtime.looper import Looper
from penstock.runtime.recovery import LONGEST_WINDOW_SECONDS
from penstock.stores.contract import Control, Gauge, Retention, Store, Transaction, WaitRow

log = logging.getLogger("penstock.services")

LEASE_SECONDS = 30.0
POISON_AFTER = 3
JUMP_SECONDS = 0.5
MOST_WAIT_ROWS = 2_000


class Timer(Looper):
    """Makes claimable what is due (retries, delayed starts), and fails what has expired."""

    interval = 1.0

    def __init__(
        self, committer: Committer, dispatcher: Dispatcher, clock: Clock, on_ended: Callable[[], None]
    ) -> None:
        super().__init__()
        self._committer = committer
        self._dispatcher = dispatcher
        self._clock = clock
        self._on_ended = on_ended
        self._next_due: float | None = 0.0

    def expect(self, due_at: float) -> None:
        """Something becomes due at this instant."""
        if self._next_due is None or due_at < self._next_due:
            self._next_due = due_at
            self.hurry()

    async def tick(self) -> float | None:
        now = self._clock.wall()
        if self._next_due is not None and self._next_due <= now:
            promoted = await self._committer.run(lambda store: store.promote(now))
            self._next_due = promoted.next_due
            if promoted.lanes:
                self._dispatcher.notice(*promoted.lanes)
            if promoted.failed:
                self._on_ended()
        if self._next_due is None:
            return self.interval
        return min(self.interval, max(0.002, self._next_due - self._clock.wall()))


class Rescuer(Looper):
    """Keeps this node's lease alive and takes back the tasks of nodes whose lease ran out."""

    interval = LEASE_SECONDS / 3

    def __init__(
        self,
        committer: Committer,
        dispatcher: Dispatcher,
        clock: Clock,
        node: int,
        on_lost: Callable[[], None],
        on_ended: Callable[[], None],
    ) -> None:
        super().__init__()
        self._committer = committer
        self._dispatcher = dispatcher
        self._clock = clock
        self._node = node
        self._on_lost = on_lost
        self._on_ended = on_ended

    async def tick(self) -> float | None:
        now = self._clock.wall()
        alive = await self._committer.run(lambda store: store.renew(self._node, now + LEASE_SECONDS))
        if not alive:
            log.error("this node lost its lease; its tasks were rescued by another")
            self._on_lost()
            return None
        rescued = await self._committer.run(lambda store: store.rescue(now, now, POISON_AFTER))
        if rescued.lanes:
            self._dispatcher.notice(*rescued.lanes)
        if rescued.poisoned or rescued.failed:
            self._on_ended()
        return None


class Changes(NamedTuple):
    """What other processes wrote: requests, what is paused in all, (task, what for) of those that were woken,
    and budgets of programs that were changed."""

    controls: Sequence[Control]
    pauses: Sequence[str]
    woken: Sequence[tuple[int, str]]
    budgets: Sequence[ProgramBudget]


class Watcher(Looper):
    """Notices what other processes wrote: tasks, controls, pauses. Looks every `interval` seconds."""

    def __init__(
        self,
        store: Store,
        committer: Committer,
        on_change: Callable[[Changes], None],
        last_control: int,
        interval: float,
    ) -> None:
        super().__init__()
        self.interval = interval
        self._store = store
        self._committer = committer
        self._on_change = on_change
        self._last_control = last_control
        self._changed = False

    async def tick(self) -> float | None:
        if self._store.changed_by_others():
            self._changed = True
        if self._changed:
            after = self._last_control
            # Behind claims that were sent before: budgets that they bring are older.
            changes = await self._committer.run(lambda store: _changes(store, after))
            self._changed = False  # not before: what could not be read is still to be noticed
            if changes.controls:
                self._last_control = changes.controls[-1].no
            self._on_change(changes)
        return None


def _changes(store: Transaction, after: int) -> Changes:
    controls = store.controls(after)
    return Changes(controls, store.pauses(), store.woken(), changed_budgets(store, controls))


class Reporter(Looper):
    """Writes once a second why tasks wait, how full the limits are, and the figures of scheduling, so that
    any process can read it; and tells the store and the budgets when the wall clock jumped."""

    interval = 1.0

    def __init__(
        self,
        admitter: Admitter,
        committer: Committer,
        clock: Clock,
        node: int,
        figures: Callable[[], str],
        on_jump: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__()
        self._on_jump = on_jump
        self._figures = figures
        self._told = figures()
        self._admitter = admitter
        self._committer = committer
        self._clock = clock
        self._node = node
        self._offset = clock.wall() - clock.monotonic()
        self._said_something = False
        # At once, not at the next tick: a stamp of the new time must not be moved along with the old ones.
        committer.before_stamps = self.notice_jump

    async def tick(self) -> float | None:
        self.notice_jump()
        waits, figures = self.waits(), self._figures()
        gauges = self.gauges() + self.waited_for({wait.key for wait in waits})
        if waits or gauges or self._said_something:
            self._said_something = bool(waits)
            await self._committer.run(lambda store: store.write_waits(self._node, waits, gauges))
        if figures != self._told:
            await self._committer.run(lambda store: store.set_setting(FIGURES, figures))
            self._told = figures
        return None

    def waits(self) -> list[WaitRow]:
        wall, monotonic = self._clock.wall(), self._clock.monotonic()
        return [
            WaitRow(
                waiter.caller.task,
                wait.reason,
                wait.key,
                None if wait.until is None else wall + wait.until - monotonic,
                wall,
            )
            for waiter, wait in self._admitter.waits()[:MOST_WAIT_ROWS]
            if waiter.caller.task is not None
        ]

    def gauges(self) -> list[Gauge]:
        wall, now = self._clock.wall(), self._clock.monotonic()
        gate = self._admitter.gate
        rates = [Gauge(use.key, use.used, use.held, use.limit, wall) for use in gate.usage(now)]
        money = [
            Gauge(use.key, use.spent + use.uncertain, use.held, use.limit, wall) for use in gate.money(now)
        ]
        return rates + money

    def waited_for(self, keys: Collection[str]) -> list[Gauge]:
        """How full the budgets of single programs are that somebody waits for."""
        wall = self._clock.wall()
        uses = self._admitter.gate.programs.use(keys) if keys else []
        return [Gauge(use.key, use.spent + use.uncertain, use.held, use.limit, wall) for use in uses]

    def notice_jump(self) -> None:
        """Move what was stamped before a jump along with the clock, and nothing that is stamped after it."""
        wall, now = self._clock.wall(), self._clock.monotonic()
        offset = wall - now
        jump = offset - self._offset
        if abs(jump) <= JUMP_SECONDS:
            return
        self._offset = offset
        since = wall - jump - LONGEST_WINDOW_SECONDS
        log.warning("the wall clock jumped by %.1f seconds; windows keep their true ages", jump)
        self._admitter.gate.anchor(wall, now)
        self._committer.send_between(lambda store: store.shift_stamps(jump, since), _not_shifted)
        self._on_jump()


def _not_shifted(error: BaseException) -> None:
    log.error("the store could not be told that the wall clock jumped, ages are wrong: %s", error)


class Pruner(Looper):
    """Removes what is older or larger than the user wants to keep, in chunks, and gives the space back."""

    interval = 60.0

    def __init__(
        self, store: Store, committer: Committer, clock: Clock, rule: Callable[[float], Retention]
    ) -> None:
        super().__init__()
        self._store = store
        self._committer = committer
        self._clock = clock
        self._rule = rule

    async def tick(self) -> float | None:
        now = self._clock.wall()
        rule = self._rule(now)
        pruned = await self._committer.run(lambda store: store.prune(rule, now))
        if pruned.more:
            return 0.05
        if pruned.tasks or pruned.events or pruned.threads:
            await asyncio.to_thread(self._store.compact)
        return None
