"""The lines as a dispatcher and its policy see them: heads, flows, and what waits."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.model.rank import Rank
from penstock.model.task import Waiting
from penstock.stores.sql.session import Session, as_list


class WaitingReading(Session):
    """Reads that cost by what they tell, whatever the backlog; they pass over paused tenants as claims do."""

    def heads(self, lanes: Sequence[int]) -> dict[int, tuple[Rank, str | None]]:
        return {
            lane: (Rank(band, key), flow)
            for lane in lanes
            for band, key, flow in self.db.rows("head", (lane,))
        }

    def waiting_flows(self) -> list[tuple[int, str]]:
        return self.db.rows("waiting_flows")

    def flow_sizes(self, lane: int, flow: str, limit: int) -> list[float]:
        return [float(size) for (size,) in self.db.rows("flow_sizes", (lane, flow, limit))]

    def waiting_seqs(self) -> list[int]:
        names = ("seqs_claimable", "seqs_delayed", "seqs_held_back")
        return [seq for name in names for (seq,) in self.db.rows(name)]

    def waiting(self, seqs: Sequence[int]) -> list[Waiting]:
        return [Waiting(*row) for row in self.db.rows("waiting", (as_list(seqs),))]

    def program(self, id: str) -> tuple[float, float, float] | None:
        found = self.db.rows("program", (id,))
        return found[0] if found else None
