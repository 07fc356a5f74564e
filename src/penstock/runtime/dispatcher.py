"""Claims the best-ranked tasks of the lanes that can move and starts their handlers."""

from __future__ import annotations

import logging
from collections.abc import Callable

from penstock.model.lane import Lane
from penstock.model.states import TaskStatus
from penstock.model.task import Claimed, PutBack
from penstock.runtime.admitter import Admitter
from penstock.runtime.committer import Committer
from penstock.runtime.runner import Runner, Running
from penstock.runtime.services import Services

log = logging.getLogger("penstock.dispatch")

MOST_PER_CLAIM = 512

# A task that was under way in so many crashes runs with no other such task beside it, so that the one that is
# to blame is found and the others are not.
SUSPECT_AFTER = 2
SUSPECTS_WAIT_SECONDS = 0.2


class Dispatcher:
    """Keeps every slot busy with the most deserving work, and asks only for what can go.

    Tasks of a lane whose calls wait at the gate hold no slot, so of such a lane only a few more are claimed
    than the gate can serve now: enough that the gate never waits for the store, few enough that a
    better-ranked newcomer is next at once.
    """

    def __init__(
        self, services: Services, admitter: Admitter, runner: Runner, node: int, max_open: int
    ) -> None:
        self.services = services
        self.admitter = admitter
        self.runner = runner
        self.node = node
        self.max_open = max_open
        self.paused = False
        self.paused_types: frozenset[str] = frozenset()
        self.open: dict[int, Running] = {}
        self.on_idle: Callable[[], None] = lambda: None
        self._lanes: dict[int, Lane] = {}
        self._ready: set[int] = set()
        self._fresh: dict[int, int] = {}
        self._suspect: int | None = None
        self._claiming = False
        self._scheduled = False
        self._stopped = False
        services.slots.on_free.append(self.dispatch_soon)
        admitter.on_admitted.append(self.dispatch_soon)

    @property
    def committer(self) -> Committer:
        return self.services.committer

    @property
    def idle(self) -> bool:
        """Nothing is open, and no lane is known to have claimable tasks."""
        return not self.open and not self._ready and not self._claiming

    def know(self, id: int, lane: Lane) -> None:
        self._lanes[id] = lane

    def knows(self, id: int) -> bool:
        return id in self._lanes

    def notice(self, *lanes: int) -> None:
        """These lanes may have claimable tasks."""
        self._ready.update(lanes)
        self.dispatch_soon()

    def notice_all(self) -> None:
        self.notice(*self._lanes)

    def stop(self) -> None:
        """Claim nothing more."""
        self._stopped = True

    def dispatch_soon(self) -> None:
        if not self._scheduled and self._ready and not self._claiming:
            self._scheduled = True
            self.services.loop.call_soon(self._dispatch)

    def _dispatch(self) -> None:
        self._scheduled = False
        if self._stopped or self.paused or self._claiming:
            return
        most = min(self.services.slots.free, self.max_open - len(self.open), MOST_PER_CLAIM)
        wanted = self._wanted(most) if most > 0 else {}
        if not wanted:
            if self.idle:
                self.on_idle()
            return
        self._claiming = True
        most = min(most, sum(wanted.values()))
        self.services.slots.take(most)
        now = self.services.clock.wall()
        self.committer.send_run(
            lambda store: store.claim(wanted, self.node, now, most),
            lambda tasks: self._claimed(tasks, wanted, most),
            lambda error: self._failed(error, most),
        )

    def _wanted(self, most: int) -> dict[int, int]:
        wanted: dict[int, int] = {}
        for id in list(self._ready):
            lane = self._lanes.get(id)
            if lane is not None and lane.type not in self.runner.handlers:
                self._ready.discard(id)  # not for this node; `register` looks again
            if lane is None or id not in self._ready or lane.type in self.paused_types:
                continue
            count = min(most, self._room(id, lane, most))
            if count > 0:
                wanted[id] = count
        return wanted

    def _room(self, id: int, lane: Lane, most: int) -> int:
        waiting = self.admitter.waiting_by_lane.get(id, 0)
        if not lane.model and not waiting:
            return most
        ahead = max(8, self.services.slots.limit // 16)
        room = self.admitter.room(lane.model, most) if lane.model else 0
        return room + ahead - waiting - self._fresh.get(id, 0)

    def _claimed(self, tasks: list[Claimed], wanted: dict[int, int], taken: int) -> None:
        self._claiming = False
        got: dict[int, int] = {}
        for task in tasks:
            got[task.lane] = got.get(task.lane, 0) + 1
        if len(tasks) < taken:
            # Fewer than asked in all: every lane that gave less than its share is empty.
            self._ready.difference_update(
                [lane for lane, count in wanted.items() if got.get(lane, 0) < count]
            )
            self.services.slots.give(taken - len(tasks))
        suspects = [task for task in tasks if task.crashes >= SUSPECT_AFTER]
        for task in tasks:
            if task.crashes < SUSPECT_AFTER:
                self._start(task)
        if suspects:
            self._isolate(suspects)
        if not tasks and not self.open:
            self.on_idle()
        self.dispatch_soon()

    def _isolate(self, suspects: list[Claimed]) -> None:
        """Start at most one suspect, and not before the others are durably back in the line."""
        chosen = suspects[0] if self._suspect is None else None
        others = suspects if chosen is None else suspects[1:]
        self.services.slots.give(len(others))
        if chosen is not None:
            self._suspect = chosen.seq
        now = self.services.clock.wall()
        due = now + SUSPECTS_WAIT_SECONDS
        back = [PutBack(task, TaskStatus.QUEUED, now, task.rank, due) for task in others]

        def deliver(_: list[bool]) -> None:
            self.runner.returned(back)
            if chosen is not None:
                self._start(chosen)

        if back:
            self.committer.send("put_back", back, deliver, lambda error: None)
        else:
            deliver([])

    def _failed(self, error: BaseException, taken: int) -> None:
        # Stay "claiming" for a moment: an error that stays must not be asked for in a tight loop.
        log.error("tasks could not be claimed, trying again in a second: %s", error)
        self.services.slots.give(taken)
        self.services.loop.call_later(1.0, self._try_again)

    def _try_again(self) -> None:
        self._claiming = False
        self.dispatch_soon()

    def _start(self, task: Claimed) -> None:
        running = self.runner.open(task)
        self.open[task.seq] = running
        lane = self._lanes[task.lane]
        if lane.model:
            self._fresh[task.lane] = self._fresh.get(task.lane, 0) + 1
            running.context.holding.on_first_wait = lambda: self._reached_gate(task.lane)
        running.future = self.services.loop.create_task(self.runner.run(running))
        running.future.add_done_callback(lambda _: self._ended(running))

    def _reached_gate(self, lane: int) -> None:
        self._fresh[lane] -= 1

    def _ended(self, running: Running) -> None:
        running.context.holding.reach_gate()  # a handler that never came to the gate
        self.open.pop(running.task.seq, None)
        if self._suspect == running.task.seq:
            self._suspect = None
        self.dispatch_soon()
        if not self.open:
            self.on_idle()
