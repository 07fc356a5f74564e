"""What stands at the head of the lanes in the store: rivals of those that are open already.

Only read where it matters: under policies whose steps compete, and when no more tasks may be opened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from penstock.errors import StoreError
from penstock.model.rank import Rank
from penstock.runtime.committer import Committer
from penstock.runtime.ranking import Place
from penstock.runtime.shares import Shares

# Behind every call that waits already and is equal in all else.
_LAST = 1 << 62


class Heads:
    """The best-ranked unstarted task of each lane, as of the last look; looks are coalesced."""

    def __init__(self, committer: Committer, shares: Shares, on_change: Callable[[], None]) -> None:
        self._committer = committer
        self._shares = shares
        self._on_change = on_change
        self._heads: dict[int, tuple[Rank, str | None]] = {}
        self._wanted: set[int] = set()
        self._looking: asyncio.Task[None] | None = None

    def look_soon(self, lanes: Iterable[int]) -> None:
        """Look at these lanes again."""
        self._wanted.update(lanes)
        if self._wanted and (self._looking is None or self._looking.done()):
            self._looking = asyncio.ensure_future(self._look())

    def found(self, lanes: Iterable[int], heads: dict[int, tuple[Rank, str | None]]) -> None:
        """A look at these lanes by the way."""
        for lane in lanes:
            self._heads.pop(lane, None)
        self._heads.update(heads)

    def best(self, allowed: Callable[[int], bool], stage: int) -> tuple[int, Place] | None:
        """The lane and place of the best rival among the lanes that may be claimed from."""
        best: tuple[int, Place] | None = None
        for lane, (rank, flow) in self._heads.items():
            if not allowed(lane):
                continue
            place = Place(stage, self._shares.counter(flow), rank, _LAST)
            if best is None or place < best[1]:
                best = lane, place
        return best

    async def _look(self) -> None:
        while self._wanted:
            lanes, self._wanted = list(self._wanted), set()
            try:
                found = await self._committer.read(lambda reader, lanes=lanes: reader.heads(lanes))  # type: ignore[misc]
            except StoreError:
                return
            self.found(lanes, found)
            self._on_change()
