"""A node: one process that dispatches and works. Puts the parts of this room together, and takes them
down."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from penstock.admission import Gate
from penstock.errors import StoreBusy, StoreError
from penstock.model.clock import Clock, SystemClock
from penstock.model.program_budget import ProgramBudget
from penstock.model.states import FINAL, TaskStatus
from penstock.model.task import Ended, Finish, PutBack
from penstock.model.waits import Effects
from penstock.pricing import PriceTable
from penstock.runtime.adjusting import adjust
from penstock.runtime.admitter import Admitter
from penstock.runtime.arrival import arrive
from penstock.runtime.budgets import BudgetDropper
from penstock.runtime.caretakers import (
    Changes,
    Pruner,
    Reporter,
    Rescuer,
    Timer,
    Watcher,
)
from penstock.runtime.child_tasks import Nursery
from penstock.runtime.committer import Committer
from penstock.runtime.cron import Cron
from penstock.runtime.dispatcher import Dispatcher
from penstock.runtime.exchange import Exchange
from penstock.runtime.figures import SETTING as FIGURES
from penstock.runtime.figures import FigureKeeper
from penstock.runtime.flights import Flights
from penstock.runtime.handlers import Handlers
from penstock.runtime.looper import Looper
from penstock.runtime.processes import Processes
from penstock.runtime.progress import OnProgress
from penstock.runtime.ranking import Ranker
from penstock.runtime.regrading import Regrader
from penstock.runtime.runner import Runner
from penstock.runtime.services import Services
from penstock.runtime.settings import Settings
from penstock.runtime.shares import Shares
from penstock.runtime.slots import Slots
from penstock.runtime.switching import Switcher
from penstock.runtime.task_pools import TaskPools
from penstock.runtime.wakes import Wakes
from penstock.runtime.watchdog import Watchdog
from penstock.runtime.weigher import Weigher
from penstock.stores.contract import Store, Transaction

log = logging.getLogger("penstock.node")

# Of the tasks that may be open, so many make it crowded.
CROWDED = 0.8


class Node:
    """Dispatches the tasks of one store. `on_end` hears of every end that this node wrote."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        ranker: Ranker,
        handlers: Handlers,
        clock: Clock,
        on_end: Callable[[Finish], None],
        on_failure: Callable[[StoreError], None],
    ) -> None:
        self.store = store
        self.settings = settings
        self.ranker = ranker
        self.handlers = handlers
        self.clock = clock
        self._on_end = on_end
        self._on_failure = on_failure
        self.failure: StoreError | None = None
        self._loopers: list[Looper] = []
        self._idle = asyncio.Event()
        self._background: set[asyncio.Future[None]] = set()
        self.id = 0
        self.finished = 0
        self.nursery: Nursery | None = None
        """how handlers submit tasks; set before the start"""
        self.on_progress: OnProgress = lambda *told: None
        self.on_change: Callable[[], None] = lambda: None
        """hears that another process wrote something"""
        self.on_others: Callable[[], None] = lambda: None
        """hears that tasks may have ended which no handler here brought to their end"""

    async def start(self) -> None:
        """Take back what an earlier process left, rebuild the gate, and begin to dispatch."""
        settings = self.settings
        threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="penstock-handler")
        self.committer = Committer(self.store, settings.max_queue_size, self._store_failed)
        await self.committer.start()
        self.gate = Gate(settings.gate_limits, self.clock.monotonic(), self.clock.wall())
        slots = Slots(settings.max_concurrent)
        self.services = Services(
            self.clock,
            slots,
            self.committer,
            random.Random(settings.seed),
            threads,
            Processes(settings.processes),
            asyncio.get_running_loop(),
            self.ranker,
            Shares(self.ranker.weight, unit=self.ranker.unit),
            TaskPools(self.gate.pools),
            self.gate.programs,
            lambda *told: self.on_progress(*told),
        )
        self.weigher = Weigher(PriceTable(settings.prices), self.clock, settings.reserve, settings.profile)
        arrival = await self.committer.run(partial(arrive, self))
        self.id = arrival.id
        self.admitter = Admitter(self.gate, slots, self.committer, self.clock, self.id, self.services.shares)
        self.services.exchange = Exchange(
            self.services, self.admitter, self.weigher, Flights(self.committer, self.clock)
        )
        if self.nursery is not None:
            self.services.nursery = self.nursery
        self.services.wakes = _wakes(self)
        self.runner = Runner(self.services, self.handlers, self._ended, self._returned, self._followed)
        self.dispatcher = Dispatcher(self.services, self.admitter, self.runner, self.id, settings.open_limit)
        self.dispatcher.on_idle = self._idle.set
        _follow_service(self)
        self.watchdog = Watchdog(settings.blocked_after if isinstance(self.clock, SystemClock) else None)
        self.blocked = self.watchdog.blocked
        self.figures = FigureKeeper(arrival.figures, self.dispatcher, self.blocked)
        self.switcher = Switcher(self.services, self.dispatcher)
        await self.switcher.resume(settings)
        await self._learn_lanes()
        self.timer = Timer(self.committer, self.dispatcher, self.clock, lambda: self.on_others())
        self.cron = Cron(self.committer, self.clock, arrival.next_firing)
        self._loopers = _loopers(self, arrival.last_control)
        for looper in self._loopers:
            await looper.start()
        self.watchdog.start()
        self.apply_pauses(arrival.pauses)
        self.dispatcher.notice_all()

    async def drain(self, now: bool = False) -> None:
        """Start nothing more and let calls in flight finish; with `now`, cancel them. Their ends are durable
        then."""
        self.dispatcher.stop()
        self.services.stopping = True
        self.admitter.close()
        self.services.wakes.leave_all()
        await self._drain(now)
        if self.failure is None:
            await self.committer.run(lambda _: None)

    async def stop(self, now: bool = False) -> None:
        """Drain and sign off. What did not end resumes later."""
        await self.drain(now)
        for looper in reversed(self._loopers):
            await looper.stop()
        try:
            await self.committer.run(self._sign_off)
        except StoreError as error:
            log.warning("this node could not sign off: %s", error)
        await self.committer.stop()
        self.watchdog.stop()
        await self.services.processes.close()
        self.services.threads.shutdown(wait=False, cancel_futures=True)

    def _sign_off(self, store: Transaction) -> None:
        store.set_setting(FIGURES, self.figures.text())
        store.leave(self.id)

    def leave_now(self) -> None:
        """Cancel what still runs; a `stop` under way then ends at once."""
        for running in list(self.dispatcher.open.values()):
            self.runner.leave(running, "stop")

    async def idle(self) -> None:
        """Wait until nothing is open and nothing claimable is known."""
        while not self.dispatcher.idle:
            if self.failure is not None:
                raise self.failure
            self._idle.clear()
            await self._idle.wait()

    def adjust(self, settings: Settings) -> None:
        """Take on changed limits at once; what runs goes on. Raises `ConfigurationError`, and changes
        nothing, for settings that need a restart."""
        adjust(self, settings)

    def notice(
        self, lane: int, due_at: float | None = None, flow: str | None = None, size: float = 0.0
    ) -> None:
        """A task was added to this lane; `size` is its estimate in the scarce unit."""
        if lane not in self.dispatcher.lanes:
            self.in_background(self._learn_lanes())
        if due_at is not None and due_at > self.clock.wall():
            self.timer.expect(due_at)
            return
        if flow is not None:
            self.services.shares.arrive(lane, flow, self.clock.wall(), size)
        self.dispatcher.notice(lane, of_known_flows=True)

    def cancel_running(self, seq: int) -> bool:
        """Cancel an open task of this node."""
        running = self.dispatcher.open.get(seq)
        if running is None:
            return False
        self.runner.leave(running, "cancel")
        return True

    async def _drain(self, now: bool) -> None:
        while self.dispatcher.open:
            if now:
                self.leave_now()
            futures = [running.future for running in self.dispatcher.open.values() if running.future]
            if not futures:
                break
            await asyncio.wait(futures)
            await asyncio.sleep(0)

    def _store_failed(self, error: StoreError) -> None:
        """The disk is full, or the file is gone: stop before more is paid for than can be kept."""
        if self.failure is None and not isinstance(error, StoreBusy):
            self.failure = error
            if not self._loopers:
                return  # the start fails with it
            log.error("the store failed, nothing more is started: %s", error)
            self.dispatcher.stop()
            self.admitter.close()
            self._idle.set()
            self._on_failure(error)

    def in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _learn_lanes(self) -> None:
        for stored in await self.committer.read(lambda reader: reader.lanes()):
            self.dispatcher.lanes[stored.id] = stored.lane
        self.dispatcher.notice_all()

    def _ended(self, ends: list[Finish]) -> None:
        self.finished += len(ends)
        for end in ends:
            assert end.status in FINAL
            self._on_end(end)

    def _followed(self, outcome: Ended) -> None:
        """The ends of a batch freed tasks that waited for them, or failed them."""
        if outcome.due_at is not None:
            self.timer.expect(outcome.due_at)
        if outcome.lanes:
            self.dispatcher.notice(*outcome.lanes)
        if outcome.failed:
            self.on_others()
        for seq in outcome.doomed:
            self.cancel_running(seq)

    def _returned(self, items: list[PutBack]) -> None:
        for item in items:
            suspended = item.status is TaskStatus.SUSPENDED
            if item.due_at is not None and (suspended or item.due_at > item.at):
                self.timer.expect(item.due_at)
            elif not suspended:
                if item.flow is not None:
                    self.services.shares.arrive(item.task.lane, item.flow, self.clock.wall())
                self.dispatcher.notice(item.task.lane, of_known_flows=True)

    def _changed_by_others(self, changes: Changes) -> None:
        for control in changes.controls:
            if control.kind == "cancel" and control.task is not None:
                self.cancel_running(control.task)
            elif control.kind == "strategy":
                self.in_background(self.switcher.switch_as_asked())
        for seq, what in changes.woken:
            self.services.wakes.poke(seq, what)
        self.apply_pauses(changes.pauses)
        self.apply_budgets(changes.budgets)
        self.timer.expect(self.clock.wall())
        self.cron.look()
        self.in_background(self._learn_lanes())
        self.on_others()
        self.on_change()

    def apply_budgets(self, budgets: Sequence[ProgramBudget]) -> None:
        """Take on other limits of programs: who waits for them looks again."""
        if budgets:
            self.gate.programs.change(budgets)
            self.admitter.pump_soon()

    def apply_pauses(self, pauses: Sequence[str]) -> None:
        """Start nothing of what is paused."""
        self.dispatcher.paused = "all" in pauses
        self.dispatcher.paused_types = frozenset(
            scope.removeprefix("type:") for scope in pauses if scope.startswith("type:")
        )
        self.dispatcher.dispatch_soon()


def _set_off(node: Node, effects: Effects) -> None:
    """What a transaction set off besides the outcomes of its verbs."""
    if effects.due_at is not None:
        node.timer.expect(effects.due_at)
    if effects.lanes:
        node.dispatcher.notice(*effects.lanes)
    for seq in effects.doomed:
        node.cancel_running(seq)
    if effects.ended:
        node.on_others()


def _wakes(node: Node) -> Wakes:
    return Wakes(
        lambda effects: _set_off(node, effects),
        lambda: _patience(node),
        lambda: node.dispatcher.put_backs.full,
    )


def _patience(node: Node) -> float:
    """How long a durable wait may stay in memory; not at all when others need the place."""
    crowded = len(node.dispatcher.open) >= CROWDED * node.dispatcher.put_backs.max_open
    return 0.0 if crowded else node.settings.suspend_after


def _follow_service(node: Node) -> None:
    """Keep what flows, programs and tasks attain, and rank anew what stands elsewhere for it."""
    keeper, dispatcher = node.services.shares.keeper, node.dispatcher
    regrader = Regrader(node.ranker, node.clock, dispatcher.open_ranks.served)

    def served(program: str, amount: float) -> None:
        keeper.served(program, amount)
        regrader.served(program)

    def committed() -> None:
        if regrader.changed() and node.ranker.preemptive:
            dispatcher.heads.look_again()

    node.ranker.on_served = served
    node.committer.riders += [keeper, regrader, node.services.wakes]
    node.committer.on_commit += [committed, node.services.wakes.committed]


def _loopers(node: Node, last_control: int) -> list[Looper]:
    committer, dispatcher, clock = node.committer, node.dispatcher, node.clock
    return [
        node.timer,
        node.cron,
        Rescuer(committer, dispatcher, clock, node.id, dispatcher.stop, lambda: node.on_others()),
        Watcher(node.store, committer, node._changed_by_others, last_control, node.settings.watch_seconds),
        Reporter(node.admitter, committer, clock, node.id, node.figures.text, node.services.wakes.look_all),
        Pruner(node.store, committer, clock, lambda now: node.settings.retention(now)),
        BudgetDropper(committer, node.services.budgets),
    ]
