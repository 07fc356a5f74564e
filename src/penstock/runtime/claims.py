"""Claims: taking tasks out of the store in one transaction, over lanes or over the flows in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from penstock.model.rank import Rank
from penstock.model.task import Claimed
from penstock.runtime.heads import Heads
from penstock.runtime.services import Services
from penstock.stores.contract import Transaction

Wanted = dict[int, int]
Deliver = Callable[[list[Claimed], set[int]], None]
"""Gets the tasks and the lanes in which nothing more waits."""


class Claims:
    """Claims for one node. `charges` holds, by task, what its flow was charged until its first
    reservation."""

    def __init__(self, services: Services, node: int, heads: Heads) -> None:
        self._services = services
        self._node = node
        self._heads = heads
        self.charges: dict[int, float] = {}

    def make(
        self, wanted: Wanted, most: int, deliver: Deliver, fail: Callable[[BaseException], None]
    ) -> None:
        """Claim up to `most` tasks in all and at most so many of each lane."""
        if self._services.ranker.has_flows:
            self._by_flows(wanted, most, deliver, fail)
        else:
            self._by_lanes(wanted, most, deliver, fail)

    def _by_lanes(
        self, wanted: Wanted, most: int, deliver: Deliver, fail: Callable[[BaseException], None]
    ) -> None:
        now = self._services.clock.wall()

        def claim(store: Transaction) -> tuple[list[Claimed], dict[int, tuple[Rank, str | None]]]:
            return store.claim(wanted, self._node, now, most), self._look(store, wanted)

        def claimed(outcome: tuple[list[Claimed], dict[int, tuple[Rank, str | None]]]) -> None:
            tasks, heads = outcome
            self._heads.found(wanted, heads)
            got = Counter(task.lane for task in tasks)
            # Fewer than asked in all: every lane that gave less than its share is empty.
            few = len(tasks) < most
            deliver(tasks, {lane for lane, count in wanted.items() if few and got[lane] < count})

        self._services.committer.send_run(claim, claimed, fail)

    def _by_flows(
        self, wanted: Wanted, most: int, deliver: Deliver, fail: Callable[[BaseException], None]
    ) -> None:
        """Whose turn it is, then the best-ranked of each."""
        shares, left = self._services.shares, most
        picks: dict[int, Counter[str]] = {}
        for lane, count in wanted.items():
            picked = shares.pick(lane, min(count, left))
            if picked:
                picks[lane] = picked
                left -= picked.total()
        now = self._services.clock.wall()
        # Tasks that were added elsewhere, or not ranked anew yet, are found when a lane seems empty.
        look_for_flows = any(lane not in picks for lane in wanted)
        known = {lane: len(shares.waiting.get(lane, ())) for lane in picks}

        def claim(
            store: Transaction,
        ) -> tuple[list[Claimed], list[tuple[int, str]], dict[int, tuple[Rank, str | None]]]:
            tasks = store.claim_flows(picks, self._node, now)
            look = look_for_flows or _seems_empty(tasks, picks, known)
            flows = store.waiting_flows() if look else []
            return tasks, flows, self._look(store, wanted)

        def claimed(
            outcome: tuple[list[Claimed], list[tuple[int, str]], dict[int, tuple[Rank, str | None]]],
        ) -> None:
            tasks, flows, heads = outcome
            self._heads.found(wanted, heads)
            self._charge(tasks, picks)
            if flows:
                shares.replace(flows, now)
            deliver(tasks, {lane for lane in wanted if not shares.waiting.get(lane)})

        self._services.committer.send_run(claim, claimed, fail)

    def _charge(self, tasks: list[Claimed], picks: dict[int, Counter[str]]) -> None:
        got: dict[tuple[int, str], list[Claimed]] = {}
        for task in tasks:
            got.setdefault((task.lane, task.flow or ""), []).append(task)
        ranker, shares = self._services.ranker, self._services.shares
        for lane, counts in picks.items():
            for flow, asked in counts.items():
                mine = got.get((lane, flow), [])
                sizes = [ranker.standing(task).size for task in mine]
                for task, charge in zip(mine, shares.claimed(lane, flow, asked, sizes), strict=True):
                    self.charges[task.seq] = charge

    def _look(self, store: Transaction, lanes: Iterable[int]) -> dict[int, tuple[Rank, str | None]]:
        """Behind a claim, in its transaction: who is at the head now, so that no slot goes to a worse-ranked
        step before the next claim."""
        return store.heads(list(lanes)) if self._services.ranker.preemptive else {}


def _seems_empty(tasks: list[Claimed], picks: dict[int, Counter[str]], known: dict[int, int]) -> bool:
    """Whether a claim took the last of all flows that are known in some lane."""
    got = Counter((task.lane, task.flow or "") for task in tasks)
    return any(
        sum(got[lane, flow] < asked for flow, asked in counts.items()) >= known[lane]
        for lane, counts in picks.items()
    )
