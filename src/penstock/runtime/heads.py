"""What stands at the head of the lanes in the store: rivals of those that are open already.

Only read where it matters: under policies whose steps compete, and when no more tasks may be opened. Where
shares are measured, the head of a lane is that of its lowest flow.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from penstock.errors import StoreError
from penstock.model.rank import Rank
from penstock.runtime.committer import Committer
from penstock.runtime.ranking import Place
from penstock.runtime.shares import Shares
from penstock.stores.contract import Reader

# Behind every call that waits already and is equal in all else.
_LAST = 1 << 62
# Flows of a lane that are looked at: of so many the lowest may be served before it has to look again.
FLOWS_LOOKED_AT = 8

Found = Mapping[int, Mapping[str | None, Rank]]


class Rival(NamedTuple):
    """The task in the store that would go next: its lane, its flow, and where it would stand in line."""

    lane: int
    flow: str | None
    place: Place


def place_of(rival: Rival | None) -> Place | None:
    """Where it would stand in line."""
    return None if rival is None else rival.place


@dataclass(frozen=True, slots=True)
class Look:
    """A look at the heads of these lanes. `flows` by lane, where shares are measured: those to look at;
    `beyond`: the counter of the lowest that is not looked at; `arrivals` had come when it began."""

    lanes: tuple[int, ...]
    flows: Mapping[int, list[str]] | None = None
    beyond: Mapping[int, float] = field(default_factory=dict)
    arrivals: int = 0

    def read(self, store: Reader) -> Found:
        """By lane: the rank of the head, or of the heads of flows."""
        if self.flows is None:
            return {lane: {None: rank} for lane, (rank, _) in store.heads(self.lanes).items()}
        return {lane: dict(store.flow_heads(lane, flows)) for lane, flows in self.flows.items()}


class Heads:
    """The best-ranked unstarted task of each lane, as of the last look; looks are coalesced."""

    def __init__(
        self,
        committer: Committer,
        shares: Shares,
        has_flows: Callable[[], bool],
        on_change: Callable[[], None],
    ) -> None:
        self._committer = committer
        self._shares = shares
        self._has_flows = has_flows
        self._on_change = on_change
        self._heads: dict[int, Mapping[str | None, Rank]] = {}
        self._beyond: dict[int, float] = {}
        self._wanted: dict[int, None] = {}
        self._looking: asyncio.Task[None] | None = None

    def look_soon(self, lanes: Iterable[int]) -> None:
        """Look at these lanes again."""
        self._wanted.update(dict.fromkeys(lanes))
        if self._wanted and (self._looking is None or self._looking.done()):
            self._looking = asyncio.ensure_future(self._look())

    def look_again(self) -> None:
        """Ranks of what waits have changed."""
        self.look_soon(self._heads)

    def look_at(self, lanes: Iterable[int]) -> Look:
        """What to read of these lanes."""
        if not self._has_flows():
            return Look(tuple(lanes))
        found = {lane: self._shares.lowest(lane, FLOWS_LOOKED_AT) for lane in lanes}
        flows = {lane: lowest for lane, (lowest, _) in found.items()}
        beyond = {lane: counter for lane, (_, counter) in found.items()}
        return Look(tuple(found), flows, beyond, self._shares.arrivals)

    def found(self, look: Look, found: Found) -> None:
        """What a look brought."""
        for lane in look.lanes:
            self._heads[lane] = found.get(lane, {})
            self._beyond[lane] = look.beyond.get(lane, math.inf)
        if look.flows is None or look.arrivals != self._shares.arrivals:
            return
        for lane, flows in look.flows.items():
            dry = [flow for flow in flows if flow not in self._heads[lane]]
            for flow in dry:
                self._shares.ran_dry(lane, flow)
            if dry and len(dry) == len(flows) and self._beyond[lane] < math.inf:
                self.look_soon((lane,))

    def best(self, allowed: Callable[[int], bool], stage: int) -> Rival | None:
        """The best rival among the lanes that may be claimed from."""
        best: Rival | None = None
        for lane, heads in self._heads.items():
            if not heads or not allowed(lane):
                continue
            lowest = math.inf
            for flow, rank in heads.items():
                counter = self._shares.counter(flow)
                lowest = min(lowest, counter)
                place = Place(stage, counter, rank, _LAST)
                if best is None or place < best.place:
                    best = Rival(lane, flow, place)
            if lowest > self._beyond[lane]:
                self.look_soon((lane,))  # those that were looked at have had their turns
        return best

    async def _look(self) -> None:
        while self._wanted:
            look = self.look_at(self._wanted)
            self._wanted = {}
            try:
                self.found(look, await self._committer.read(look.read))
            except StoreError:
                return
            self._on_change()
