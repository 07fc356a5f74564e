"""The lines as a dispatcher and its policy see them: heads, flows, and what waits."""

from __future__ import annotations

import json
from collections.abc import Sequence

from penstock.model.flow_standing import FlowStanding
from penstock.model.rank import Rank
from penstock.model.standing import Program
from penstock.model.task import Waiting
from penstock.stores.sql.session import FLOWING_AT_MOST, Session, as_list


class WaitingReading(Session):
    """Reads that cost by what they tell, whatever the backlog; they pass over paused tenants as claims do."""

    def heads(self, lanes: Sequence[int]) -> dict[int, tuple[Rank, str | None]]:
        return {
            lane: (Rank(band, key), flow)
            for lane in lanes
            for band, key, flow in self.db.rows("head", (lane, FLOWING_AT_MOST))
        }

    def waiting_flows(self) -> list[tuple[int, str]]:
        found: list[tuple[int, str]] = self.db.rows("waiting_flows")
        nameless = {(lane, "") for (lane,) in self.db.rows("nameless_lanes")}
        return [*found, *sorted(nameless.difference(found))]

    def flow_heads(self, lane: int, flows: Sequence[str]) -> dict[str | None, Rank]:
        return {
            flow: Rank(band, key)
            for flow in flows
            for band, key in self.db.rows("flow_head" if flow else "nameless_head", (lane, flow))
        }

    def flow_standings(self) -> list[FlowStanding]:
        return [FlowStanding(*row) for row in self.db.rows("flow_standings")]

    def latest_programs(self, limit: int) -> list[Program]:
        return [Program(*row) for row in self.db.rows("latest_programs", (limit,))]

    def waiting_seqs(self) -> list[int]:
        names = ("seqs_claimable", "seqs_delayed", "seqs_held_back")
        lists = (self.db.rows(name)[0][0] for name in names)
        return [seq for listed in lists for seq in json.loads(listed)]

    def waiting(self, seqs: Sequence[int]) -> list[Waiting]:
        return [Waiting(*row) for row in self.db.rows("waiting", (as_list(seqs),))]

    def waiting_of_program(self, program: str, after: int = 0, limit: int = 1000) -> list[Waiting]:
        return [Waiting(*row) for row in self.db.rows("waiting_of_program", (program, after, limit))]

    def program(self, id: str) -> tuple[float, float, float] | None:
        found = self.db.rows("program", (id,))
        return found[0] if found else None
