"""Claims of lanes that want more of a pool than it has: strictly the best-ranked first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from penstock.admission.pools import Units, fitting
from penstock.model.rank import Rank
from penstock.model.task import Claimed
from penstock.stores.contract import Transaction

# One statement per task: a transaction must not become long.
MOST_AT_ONCE = 64


class ScarceClaim:
    """One claim over `wanted` lanes (their most, by id); `needs` says what a task needs in those that compete
    for `free` units. After it, `blocked` are lanes with tasks that have to wait for units, `empty` lanes
    without tasks."""

    def __init__(
        self, wanted: Mapping[int, int], needs: Mapping[int, Units], free: Mapping[str, int], most: int
    ) -> None:
        self._wanted = wanted
        self._left = dict(wanted)
        self._needs = needs
        self._free = dict(free)
        self._most = min(most, MOST_AT_ONCE)
        self.blocked: set[int] = set()
        self.empty: set[int] = set()

    def make(self, store: Transaction, node: int, now: float) -> list[Claimed]:
        """Take one task after the other, the best-ranked of all that fit, then the rest without pools.

        A worse-ranked task gets nothing that the best of those that wait needs.
        """
        tasks: list[Claimed] = []
        stuck: set[int] = set()
        plain = {lane: count for lane, count in self._left.items() if lane not in self._needs}
        heads = {lane: rank for lane, (rank, _) in store.heads(list(self._needs)).items()}
        while len(tasks) < self._most:
            fit = self._fitting(heads)
            if not fit:
                break
            got = store.claim({**plain, **dict.fromkeys(fit, 1)}, node, now, 1)
            if not got:  # they wait, and may not be claimed now
                stuck = set(fit)
                break
            tasks += got
            lane = got[0].lane
            if lane in self._needs:
                self._took(store, lane, heads)
            else:
                plain[lane] -= 1
                plain = {lane: count for lane, count in plain.items() if count}
        if plain and len(tasks) < self._most:
            tasks += store.claim(plain, node, now, self._most - len(tasks))
        self._fitting(heads)
        self.blocked |= stuck
        self._find_empty(tasks, heads)
        return tasks

    def _find_empty(self, tasks: list[Claimed], heads: Mapping[int, Rank]) -> None:
        self.empty = self._needs.keys() - heads.keys()
        if len(tasks) < self._most:  # every lane without pools that gave less than its share is empty
            got = Counter(task.lane for task in tasks)
            plain = self._wanted.keys() - self._needs.keys()
            self.empty |= {lane for lane in plain if got[lane] < self._wanted[lane]}

    def _fitting(self, heads: Mapping[int, Rank]) -> list[int]:
        """The lanes whose best task could go now."""
        order = sorted((lane for lane in heads if self._left[lane] > 0), key=lambda lane: (heads[lane], lane))
        fit, blocked = fitting([(lane, self._needs[lane]) for lane in order], self._free)
        self.blocked = set(blocked)
        return fit

    def _took(self, store: Transaction, lane: int, heads: dict[int, Rank]) -> None:
        self._left[lane] -= 1
        for pool, count in self._needs[lane]:
            self._free[pool] -= count
        heads.pop(lane)
        heads.update({lane: rank for lane, (rank, _) in store.heads([lane]).items()})


def one_of_each(
    wanted: Mapping[int, int], needs: Mapping[int, Units], free: Mapping[str, int], turns: Mapping[int, float]
) -> tuple[dict[int, int], set[int]]:
    """What to claim where flows take turns, and the lanes that have to wait for units.

    Of lanes that compete for a pool one task each that fits beside the others, in the order of `turns`: who
    is next in a lane after that is known only when its flow was charged.
    """
    left = dict(free)
    allowed = {lane: count for lane, count in wanted.items() if lane not in needs}
    blocked: set[int] = set()
    for lane in sorted(needs, key=lambda lane: (turns[lane], lane)):
        fits = all(left.get(pool, 0) >= count for pool, count in needs[lane])
        if fits:
            allowed[lane] = 1
        else:
            blocked.add(lane)
        for pool, count in needs[lane]:
            left[pool] = max(0, left.get(pool, 0) - count)
    return allowed, blocked
