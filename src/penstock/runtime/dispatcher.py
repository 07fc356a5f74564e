"""Claims the best-ranked tasks of the lanes that can move and starts their handlers."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable

from penstock.model.lane import Lane
from penstock.model.states import TaskStatus
from penstock.model.task import Claimed, PutBack
from penstock.runtime.admitter import Admitter
from penstock.runtime.claims import Claims
from penstock.runtime.heads import Heads, Rival, place_of
from penstock.runtime.open_ranks import OpenRanks
from penstock.runtime.put_backs import PutBacks
from penstock.runtime.ranking import Ranker
from penstock.runtime.runner import Runner, Running
from penstock.runtime.services import Services
from penstock.runtime.suspects import Suspects

log = logging.getLogger("penstock.dispatch")

MOST_PER_CLAIM = 512


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
        self.ranker: Ranker = services.ranker
        self.paused = False
        self.paused_types: frozenset[str] = frozenset()
        self.open: dict[int, Running] = {}
        self.lanes: dict[int, Lane] = {}
        self.on_idle: Callable[[], None] = lambda: None
        self.heads = Heads(
            services.committer, services.shares, lambda: services.ranker.has_flows, self._heads_changed
        )
        self.claims = Claims(services, node, self.heads)
        self.claims.rival = self.rival
        self.claims.again = self.dispatch_soon
        self.suspects = Suspects(services, self._start, runner.returned, lambda lanes: self.notice(*lanes))
        self.open_ranks = OpenRanks(services, admitter, self.open)
        self.put_backs = PutBacks(services, admitter, self.heads, self.open, max_open)
        self._ready: set[int] = set()
        self._fresh: Counter[int] = Counter()
        self._claiming = False
        self._scheduled = False
        self._stopped = False
        admitter.rival = lambda: place_of(self.rival())
        admitter.on_rival = self._let_rival_in
        services.slots.on_free.append(self.dispatch_soon)
        admitter.on_admitted.append(self.dispatch_soon)

    @property
    def idle(self) -> bool:
        """Nothing is open, and no lane is known to have claimable tasks."""
        return not self.open and not self._ready and not self._claiming

    def notice(self, *lanes: int, of_known_flows: bool = False) -> None:
        """These lanes may have claimable tasks; `of_known_flows`: none of flows not known to wait."""
        self._ready.update(lanes)
        if not of_known_flows:
            self.claims.stale = True
        if any(self.lanes[lane].pools for lane in lanes if lane in self.lanes):
            self.services.pools.look_again()
        self._look_at_heads(lanes)
        self.dispatch_soon()

    def notice_all(self) -> None:
        self.notice(*self.lanes)

    def stop(self) -> None:
        """Claim nothing more."""
        self._stopped = True

    def rival(self) -> Rival | None:
        """The task in the store that goes first, where steps compete and it may be claimed now, or after a
        put-back."""
        if not self.ranker.preemptive or self._stopped or self.paused:
            return None
        if self.put_backs.full:
            return self.put_backs.best(self._may_claim) if self.put_backs.rested else None
        return self.heads.best(self._may_claim, stage=0)

    def _let_rival_in(self) -> None:
        if self.put_backs.full:
            self.services.loop.call_soon(self.put_backs.give_way, self._may_claim)
        else:
            self.dispatch_soon()

    def dispatch_soon(self) -> None:
        if not self._scheduled and self._ready and not self._claiming:
            self._scheduled = True
            self.services.loop.call_soon(self._dispatch)

    def _dispatch(self) -> None:
        self._scheduled = False
        if self._stopped or self.paused or self._claiming:
            return
        most = min(self.services.slots.free, self.put_backs.max_open - len(self.open), MOST_PER_CLAIM)
        wanted = self._wanted(most) if most > 0 else {}
        if not wanted:
            if self.idle:
                self.on_idle()
            return
        self._claiming = True
        most = min(most, sum(wanted.values()))
        self.services.slots.take(most)
        self.services.slots.claiming = most
        self.claims.make(
            wanted,
            most,
            lambda tasks, empty: self._claimed(tasks, empty, most),
            lambda error: self._failed(error, most),
            self.services.pools.set_aside(wanted, self.lanes),
        )

    def _wanted(self, most: int) -> dict[int, int]:
        wanted: dict[int, int] = {}
        pools = self.services.pools
        if pools.any_blocked and any(self._may_claim(id) and self.lanes[id].pools for id in self._ready):
            pools.look_again()  # those that were blocked may be better-ranked
        for id in list(self._ready):
            lane = self.lanes.get(id)
            if lane is not None and lane.type not in self.runner.handlers:
                self._ready.discard(id)  # not for this node; `register` looks again
            if lane is None or not self._may_claim(id):
                continue
            count = min(most, self._room(id, lane, most))
            if count > 0:
                wanted[id] = count
        return wanted

    def _may_claim(self, id: int) -> bool:
        lane = self.lanes.get(id)
        return (
            lane is not None
            and id in self._ready
            and lane.type in self.runner.handlers
            and lane.type not in self.paused_types
            and not self.services.pools.is_blocked(id)
        )

    def _room(self, id: int, lane: Lane, most: int) -> int:
        waiting = self.admitter.waiting_by_lane.get(id, 0)
        if not lane.model and not waiting:
            return most
        ahead = max(8, self.services.slots.limit // 16)
        room = self.admitter.room(lane.model, most) if lane.model else 0
        room += ahead - waiting - self._fresh[id]
        if room <= 0 and self.ranker.preemptive:
            # A better-ranked newcomer is claimed however many wait, or it could not be next.
            rival, worst = self.rival(), self.admitter.worst_of(id)
            if rival is None or worst is None or rival.lane != id or not rival.place < worst:
                return 0
            return 0 if self.put_backs.stands_behind_its_own(rival) else 1
        return room

    def _claimed(self, tasks: list[Claimed], empty: set[int], taken: int) -> None:
        self._claiming = False
        self.services.slots.claiming = 0
        self.services.pools.claimed()
        self._ready -= empty
        self.admitter.takeovers.claimed(len(tasks))
        if len(tasks) < taken:
            self.services.slots.give(taken - len(tasks))
        refused = [task for task in tasks if self._refused(task)]
        tasks = [task for task in tasks if task not in refused] if refused else tasks
        suspects = self.suspects.among(tasks)
        for task in suspects:
            self.claims.release(task.seq)
        for task in tasks:
            if task not in suspects and not self._turned_away(task):
                self._start(task)
        if suspects:
            self.suspects.isolate(suspects)
        if not tasks and not self.open:
            self.on_idle()
        self.dispatch_soon()
        self.admitter.pump_soon()

    def _refused(self, task: Claimed) -> bool:
        """A task takes the units it needs; one that can never have them fails."""
        never = self.services.pools.take(task, self.lanes[task.lane].pools)
        if never is None:
            return False
        self.services.slots.give()
        self.claims.release(task.seq)
        self.runner.refuse(task, never)
        return True

    def _turned_away(self, task: Claimed) -> bool:
        """A task that would start too late: it fails as expired, or goes back to where it stands now."""
        if task.deadline is None or task.claim_no > 1:
            return False
        now = self.services.clock.wall()
        verdict = self.ranker.at_the_head(task, now)
        if verdict == "go":
            return False
        self.services.pools.give(task)
        self.services.slots.give()
        self.claims.release(task.seq)
        if verdict == "expired":
            self.runner.expire(task)
            return True
        self.runner.put_back(PutBack(task, TaskStatus.QUEUED, now, task.rank, flow=task.flow))
        return True

    def _failed(self, error: BaseException, taken: int) -> None:
        # Stay "claiming" for a moment: an error that stays must not be asked for in a tight loop.
        log.error("tasks could not be claimed, trying again in a second: %s", error)
        self.services.pools.claimed()
        self.services.slots.claiming = 0
        self.services.slots.give(taken)

        def try_again() -> None:
            self._claiming = False
            self.dispatch_soon()

        self.services.loop.call_later(1.0, try_again)

    def _look_at_heads(self, lanes: Iterable[int]) -> None:
        if self.ranker.preemptive or self.put_backs.full:
            self.heads.look_soon(lanes)

    def _heads_changed(self) -> None:
        self.put_backs.make_place(self._may_claim)
        self.dispatch_soon()
        self.admitter.pump_soon()

    def _start(self, task: Claimed) -> None:
        lane = self.lanes[task.lane]
        running = self.runner.open(task, lane.model)
        footing = running.context.footing
        footing.hold = self.claims.holds.pop(task.seq, None)
        self.open[task.seq] = running
        if lane.model:
            self._fresh[task.lane] += 1

            def reached_gate() -> None:
                self._fresh[task.lane] -= 1
                footing.comes_to_gate()

            running.context.holding.on_first_wait = reached_gate
        running.future = self.services.loop.create_task(self.runner.run(running))
        running.future.add_done_callback(lambda _: self._ended(running))

    def _ended(self, running: Running) -> None:
        running.context.holding.reach_gate()  # a handler that never came to the gate
        if self.put_backs.full:
            self._look_at_heads(list(self._ready))
        if self.open.get(running.task.seq) is running:  # not a later claim, after the lease was lost
            del self.open[running.task.seq]
        self.suspects.ended(running.task.seq)
        self.dispatch_soon()
        if not self.open:
            self.on_idle()
