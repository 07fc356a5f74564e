"""Units of pools that open tasks hold, from their start to the end of the attempt, or to their put-back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from penstock.admission import Reject
from penstock.admission.pools import Pools, Units
from penstock.errors import InvalidTask
from penstock.model.lane import Lane
from penstock.model.task import Claimed
from penstock.runtime.pool_defaults import PoolDefaults


def check_pools(units: Iterable[tuple[str, int]], limits: Mapping[str, int]) -> None:
    """Raise `InvalidTask` for units that no task can ever have: of a pool that is not set, or too many."""
    for pool, count in units:
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise InvalidTask(f"pools: units of {pool!r} are a whole number from 0 up, not {count!r}")
        if (never := Pools(limits).never_fits(((pool, count),))) is not None:
            raise InvalidTask(f"pools: {never.message}")


class TaskPools:
    """Hands units to tasks together with their slot, or not at all.

    While a claim is under way its units are set aside, so that nobody else takes them. `blocked` are the
    lanes that could get nothing when they were last looked at; that holds until units come back.
    """

    def __init__(self, pools: Pools) -> None:
        self.pools = pools
        self.defaults = PoolDefaults()
        self._held: dict[tuple[int, int], Units] = {}
        self._aside: Units = ()
        self._blocked: frozenset[int] = frozenset()
        self._news = 0
        self._looked_at = 0

    def lane(self, lane: Lane) -> Lane:
        """The lane of a new task, with what tasks of its type use of pools that it names no units of.

        Raises `InvalidTask` for units that can never be had.
        """
        check_pools(lane.pools, self.pools.limits)
        units = dict(lane.pools)
        for pool, most in self.pools.limits.items():
            if pool not in units and (learned := self.defaults.units(lane.type, pool, most)):
                units[pool] = learned
        return Lane(lane.type, lane.model, tuple(sorted(units.items())))

    def learn(self, type: str, uses: Mapping[str, float]) -> None:
        """What an attempt used; pools that are not set do not matter."""
        for pool, amount in uses.items():
            if pool in self.pools.limits:
                self.defaults.learn(type, pool, amount)

    # For the dispatcher

    def take(self, task: Claimed, units: Units) -> Reject | None:
        """A task starts; why it cannot, where that will not change."""
        if not units:
            return None
        if (never := self.pools.never_fits(units)) is not None:
            return never
        self.pools.take(units)
        self._held[task.seq, task.claim_no] = units
        return None

    def give(self, task: Claimed) -> None:
        """A task ended or went back; once is enough. A later claim of it, after this node seemed dead, keeps
        what it has."""
        units = self._held.pop((task.seq, task.claim_no), None)
        if units is not None:
            self.pools.give(units)

    def set_aside(self, wanted: Mapping[int, int], lanes: Mapping[int, Lane]) -> dict[int, Units]:
        """A claim is made for so many tasks of these lanes: keep what they may need. Answers with what a task
        needs in those lanes that cannot all have what they ask for.

        Tasks that can never run are claimed as if they needed nothing: they fail when they start.
        """
        needs = {id: lanes[id].pools for id in wanted if lanes[id].pools}
        if not needs:
            return {}
        self._blocked, self._looked_at = frozenset(), self._version
        needs = {id: units for id, units in needs.items() if self.pools.never_fits(units) is None}
        asked: dict[str, int] = {}
        for id, units in needs.items():
            for pool, count in units:
                asked[pool] = asked.get(pool, 0) + count * wanted[id]
        free = {pool: max(0, self.pools.free(pool)) for pool in asked}
        self._aside = tuple((pool, min(count, free[pool])) for pool, count in asked.items())
        self.pools.take(self._aside)
        return {
            id: units for id, units in needs.items() if any(asked[pool] > free[pool] for pool, _ in units)
        }

    @property
    def aside(self) -> dict[str, int]:
        """What is kept for the claim under way."""
        return dict(self._aside)

    def claimed(self) -> None:
        """The claim is back: its tasks take what they need now."""
        aside, self._aside = self._aside, ()
        if aside:
            returns = self.pools.returns
            self.pools.give(aside)
            self.pools.returns = returns  # nothing new is free

    def block(self, lanes: Iterable[int]) -> None:
        """The claim found that these lanes can get nothing before units come back, or the line changes."""
        self._blocked = frozenset(lanes)

    def look_again(self) -> None:
        """Something changed in the line: another may be the best now."""
        self._news += 1

    def is_blocked(self, lane: int) -> bool:
        return lane in self._blocked and self._looked_at == self._version

    @property
    def any_blocked(self) -> bool:
        return bool(self._blocked) and self._looked_at == self._version

    @property
    def _version(self) -> int:
        return self.pools.returns + self._news
