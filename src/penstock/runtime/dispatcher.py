"""Claims the best-ranked tasks of the lanes that can move and starts their handlers."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable

from penstock.model.lane import Lane
from penstock.model.rank import Rank
from penstock.model.states import TaskStatus
from penstock.model.task import Claimed, PutBack
from penstock.runtime.admitter import Admitter
from penstock.runtime.committer import Committer
from penstock.runtime.heads import Heads
from penstock.runtime.ranking import Place, Ranker
from penstock.runtime.runner import Runner, Running
from penstock.runtime.services import Services
from penstock.stores.contract import Transaction

log = logging.getLogger("penstock.dispatch")

MOST_PER_CLAIM = 512

# A task that was under way in so many crashes runs with no other such task beside it, so that the one that is
# to blame is found and the others are not.
SUSPECT_AFTER = 2
SUSPECTS_WAIT_SECONDS = 0.2
# Between two put-backs, so that tasks of nearly equal rank do not chase each other out.
PUT_BACK_SECONDS = 0.1


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
        self._charges: dict[int, float] = {}
        self._seen_heads: dict[int, tuple[Rank, str | None]] = {}
        self._claiming = False
        self._scheduled = False
        self._stopped = False
        self.heads = Heads(services.committer, services.shares, self._heads_changed)
        self.put_backs = 0
        self._last_put_back = 0.0
        admitter.rival = self.rival
        admitter.on_rival = self.dispatch_soon
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
        self._look_at_heads(lanes)
        self.dispatch_soon()

    def rival(self) -> Place | None:
        """The best-ranked task that has not started, where steps compete and it may be claimed now."""
        if not self.ranker.preemptive or len(self.open) >= self.max_open or self._idle_hands:
            return None
        best = self.heads.best(self._may_claim, stage=0)
        return None if best is None else best[1]

    def notice_all(self) -> None:
        self.notice(*self._lanes)

    def stop(self) -> None:
        """Claim nothing more."""
        self._stopped = True

    def dispatch_soon(self) -> None:
        if not self._scheduled and self._ready and not self._claiming:
            self._scheduled = True
            self.services.loop.call_soon(self._dispatch)

    @property
    def ranker(self) -> Ranker:
        return self.services.ranker

    @property
    def _idle_hands(self) -> bool:
        return self._stopped or self.paused

    def _dispatch(self) -> None:
        self._scheduled = False
        if self._idle_hands or self._claiming:
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
        if self.ranker.has_flows:
            self._claim_flows(wanted, most)
            return
        now = self.services.clock.wall()

        def claim(store: Transaction) -> list[Claimed]:
            tasks = store.claim(wanted, self.node, now, most)
            self._look_by_the_way(store, wanted)
            return tasks

        self.committer.send_run(
            claim,
            lambda tasks: self._claimed(tasks, wanted, most),
            lambda error: self._failed(error, most),
        )

    def _look_by_the_way(self, store: Transaction, lanes: Iterable[int]) -> None:
        """Behind a claim, in its transaction: who is at the head now, so that no slot goes to a worse-ranked step
        before the next claim."""
        if self.ranker.preemptive:
            self._seen_heads = store.heads(list(lanes))

    def _claim_flows(self, wanted: dict[int, int], most: int) -> None:
        """Claim by flows: whose turn it is, then the best-ranked of each."""
        shares, left = self.services.shares, most
        picks: dict[int, Counter[str]] = {}
        for lane, count in wanted.items():
            picked = shares.pick(lane, min(count, left))
            if picked:
                picks[lane] = picked
                left -= picked.total()
        now = self.services.clock.wall()

        def claim(store: Transaction) -> tuple[list[Claimed], list[tuple[int, str]]]:
            # Tasks that were added elsewhere, or not ranked anew yet, are found when a lane seems empty.
            look = any(lane not in picks for lane in wanted)
            tasks = store.claim_flows(picks, self.node, now)
            self._look_by_the_way(store, wanted)
            return tasks, store.waiting_flows() if look else []

        def claimed(outcome: tuple[list[Claimed], list[tuple[int, str]]]) -> None:
            tasks, waiting = outcome
            got: dict[tuple[int, str], list[Claimed]] = {}
            for task in tasks:
                got.setdefault((task.lane, task.flow or ""), []).append(task)
            for lane, counts in picks.items():
                for flow, asked in counts.items():
                    mine = got.get((lane, flow), [])
                    sizes = [self.ranker.standing(task).size for task in mine]
                    for task, charge in zip(
                        mine, shares.claimed(lane, flow, asked, sizes), strict=True
                    ):
                        self._charges[task.seq] = charge
            if waiting:
                shares.replace(waiting, now)
            have = {lane for lane in wanted if shares.waiting.get(lane)}
            self._ready.difference_update(set(wanted) - have)
            self._begin(tasks, wanted, most)

        self.committer.send_run(claim, claimed, lambda error: self._failed(error, most))

    def _wanted(self, most: int) -> dict[int, int]:
        wanted: dict[int, int] = {}
        for id in list(self._ready):
            lane = self._lanes.get(id)
            if lane is not None and lane.type not in self.runner.handlers:
                self._ready.discard(id)  # not for this node; `register` looks again
            if id not in self._ready or lane is None or not self._may_claim(id):
                continue
            count = min(most, self._room(id, lane, most))
            if count > 0:
                wanted[id] = count
        return wanted

    def _may_claim(self, id: int) -> bool:
        lane = self._lanes.get(id)
        return (
            lane is not None
            and id in self._ready
            and lane.type in self.runner.handlers
            and lane.type not in self.paused_types
        )

    def _room(self, id: int, lane: Lane, most: int) -> int:
        waiting = self.admitter.waiting_by_lane.get(id, 0)
        if not lane.model and not waiting:
            return most
        ahead = max(8, self.services.slots.limit // 16)
        room = self.admitter.room(lane.model, most) if lane.model else 0
        room += ahead - waiting - self._fresh.get(id, 0)
        if room <= 0 and self.ranker.preemptive:
            # A better-ranked newcomer is claimed however many wait, or it could not be next.
            rival, worst = self.rival(), self.admitter.worst_of(id)
            return 1 if rival is not None and worst is not None and rival < worst else 0
        return room

    def _claimed(self, tasks: list[Claimed], wanted: dict[int, int], taken: int) -> None:
        got: dict[int, int] = {}
        for task in tasks:
            got[task.lane] = got.get(task.lane, 0) + 1
        if len(tasks) < taken:
            # Fewer than asked in all: every lane that gave less than its share is empty.
            self._ready.difference_update(
                [lane for lane, count in wanted.items() if got.get(lane, 0) < count]
            )
        self._begin(tasks, wanted, taken)

    def _begin(self, tasks: list[Claimed], lanes: Iterable[int], taken: int) -> None:
        self._claiming = False
        if len(tasks) < taken:
            self.services.slots.give(taken - len(tasks))
        if self.ranker.preemptive:
            self.heads.found(lanes, self._seen_heads)
        suspects = [task for task in tasks if task.crashes >= SUSPECT_AFTER]
        for task in tasks:
            if task.crashes < SUSPECT_AFTER and not self._turned_away(task):
                self._start(task)
        if suspects:
            self._isolate(suspects)
        if not tasks and not self.open:
            self.on_idle()
        self.dispatch_soon()
        self.admitter.pump_soon()

    def _turned_away(self, task: Claimed) -> bool:
        """A task that would start too late: it fails as expired, or goes back to where it stands now."""
        if task.deadline is None or task.claim_no > 1:
            return False
        now = self.services.clock.wall()
        verdict = self.ranker.at_the_head(task, now)
        if verdict == "go":
            return False
        self.services.slots.give()
        self._charges.pop(task.seq, None)
        if verdict == "expired":
            self.runner.expire(task)
        else:
            self.committer.send(
                "put_back",
                [PutBack(task, TaskStatus.QUEUED, now, task.rank, flow=task.flow)],
                lambda _: self.notice(task.lane),
                lambda error: None,
            )
        return True

    def _look_at_heads(self, lanes: Iterable[int]) -> None:
        if self.ranker.preemptive or len(self.open) >= self.max_open:
            self.heads.look_soon(lanes)

    def _heads_changed(self) -> None:
        self._make_place()
        self.dispatch_soon()
        self.admitter.pump_soon()

    def _make_place(self) -> None:
        """No more tasks may be open, and a better-ranked one waits in the store: put the worst back."""
        now = self.services.clock.monotonic()
        if len(self.open) < self.max_open or now - self._last_put_back < PUT_BACK_SECONDS:
            return
        best = self.heads.best(self._may_claim, stage=0 if self.ranker.preemptive else 1)
        worst = self.admitter.worst(lambda seq: seq in self.open and self.open[seq].context.holding.only_waits)
        if best is None or worst is None or not best[1] < worst[1]:
            return
        self._last_put_back = now
        self.put_backs += 1
        self.admitter.park(worst[0])

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
        lane = self._lanes[task.lane]
        running = self.runner.open(task, lane.model)
        running.context.footing.charge = self._charges.pop(task.seq, 0.0)
        self.open[task.seq] = running
        if lane.model:
            self._fresh[task.lane] = self._fresh.get(task.lane, 0) + 1
            running.context.holding.on_first_wait = lambda: self._reached_gate(task.lane)
        running.future = self.services.loop.create_task(self.runner.run(running))
        running.future.add_done_callback(lambda _: self._ended(running))

    def _reached_gate(self, lane: int) -> None:
        self._fresh[lane] -= 1

    def _ended(self, running: Running) -> None:
        running.context.holding.reach_gate()  # a handler that never came to the gate
        if len(self.open) >= self.max_open:
            self._look_at_heads(list(self._ready))
        self.open.pop(running.task.seq, None)
        if self._suspect == running.task.seq:
            self._suspect = None
        self.dispatch_soon()
        if not self.open:
            self.on_idle()
