"""Taking tasks out of the line, and what makes them claimable: promotion and rescue."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from heapq import merge
from itertools import islice

from penstock.model.rank import Rank
from penstock.model.task import Claimed
from penstock.stores.contract import Rescued
from penstock.stores.sql.expiring import Expiring
from penstock.stores.sql.looking import Looking
from penstock.stores.sql.session import FLOWING_AT_MOST, Row, as_list

NONE = "[]"

SUSPENDED_DATA = '{"from":"suspended"}'


class Claiming(Expiring, Looking):
    """`claim`, `claim_flows` and `promote`."""

    def claim(
        self, wanted: Mapping[int, int], node: int, now: float, most: int | None = None
    ) -> list[Claimed]:
        self.expire_before_claim(now)
        tenants = self._paused_tenants()
        if most is not None and sum(wanted.values()) > most:
            wanted = self._best_over_lanes(wanted, most, tenants)
        rows: list[Row] = []
        for lane, count in wanted.items():
            if count > 0:
                rows += sorted(self._claim_lane(lane, count, node, now, tenants), key=_by_rank)
        return self._started(rows, node, now)

    def claim_flows(self, wanted: Mapping[int, Mapping[str, int]], node: int, now: float) -> list[Claimed]:
        self.expire_before_claim(now)
        tenants = self._paused_tenants()
        rows: list[Row] = []
        for lane, flows in wanted.items():
            # One statement for all flows of which equally many are wanted.
            alike: defaultdict[int, list[str]] = defaultdict(list)
            for flow, count in flows.items():
                if count > 0 and flow:
                    alike[count].append(flow)
            for count, names in alike.items():
                if count == 1 and tenants == NONE:
                    rows += self.db.rows("claim_flow_heads", (node, now, lane, as_list(names)))
                else:
                    seqs = self.db.rows("flow_lines", (lane, tenants, count, as_list(names)))
                    rows += self._claim_seqs(seqs, node, now)
            if flows.get("", 0) > 0:
                rows += self._claim_seqs(self.db.rows("nameless_line", (lane, tenants, flows[""])), node, now)
        rows.sort(key=_by_rank)
        return self._started(rows, node, now)

    def _claim_seqs(self, seqs: Sequence[Row], node: int, now: float) -> list[Row]:
        return self.db.rows("claim_seqs", (node, now, as_list(row[0] for row in seqs))) if seqs else []

    def _paused_tenants(self) -> str:
        return as_list(scope[7:] for (scope,) in self.db.rows("pauses") if scope.startswith("tenant:"))

    def _started(self, rows: Sequence[Row], node: int, now: float) -> list[Claimed]:
        """Count and tell of tasks just claimed."""
        rows = self.in_time(rows, now) if rows else rows
        if not rows:
            return []
        # The columns from 18 on: batch, position, inherited, was, flow, standing, program, freed_at.
        for (batch, lane, priority, was), count in Counter((r[18], r[3], r[5], r[21]) for r in rows).items():
            self.move(batch, lane, priority, was, "running", count)
        first = f'{{"attempt":1,"node":{node}}}'
        self.events_all(
            (r[0], now, "started", first if r[11] == 1 else f'{{"attempt":{r[11]},"node":{node}}}')
            for r in rows
        )
        large = self.expand(r[8] for r in rows)
        return [
            Claimed(
                r[0], r[1], r[2], r[3], r[4], r[5], Rank(r[6], r[7]),
                large.get(r[8], r[8]) if large else r[8], r[9], r[10], r[11], r[12], r[13], r[14], r[15],
                r[16], now, r[17], r[18], r[19], r[12] > 1 or r[20] == 1, r[22], r[23], r[24], r[25],
            )
            for r in rows
        ]  # fmt: skip

    def _best_over_lanes(self, wanted: Mapping[int, int], most: int, tenants: str) -> Counter[int]:
        """How many to take of each lane so that together they are the `most` best-ranked."""
        lines = [self._line(lane, min(count, most), tenants) for lane, count in wanted.items() if count > 0]
        return Counter(lane for _, _, _, lane in islice(merge(*lines), max(most, 0)))

    def _line(self, lane: int, count: int, tenants: str) -> list[Row]:
        """(band, key, seq, lane) of the best-ranked of a lane."""
        if self.db.rows("has_flows", (lane,)):
            return self.db.rows("mixed_line", (lane, tenants, count, FLOWING_AT_MOST))
        return self.db.rows("line", (lane, tenants, count))

    def _claim_lane(self, lane: int, count: int, node: int, now: float, tenants: str) -> list[Row]:
        if tenants == NONE and not self.db.rows("has_flows", (lane,)):
            return self.db.rows("claim", (node, now, lane, count))
        line = self._line(lane, count, tenants)
        return self._claim_seqs([(seq,) for _, _, seq, _ in line], node, now)

    def set_aside(self, crashes: int, until: float) -> list[int]:
        return [seq for (seq,) in self.db.rows("set_aside", (until, crashes))]

    def promote(self, now: float, limit: int = 1000, early: Sequence[int] = ()) -> Rescued:
        due = self.db.rows("due", (now, limit))
        if early:
            due += [row for row in self.db.rows("early", (as_list(early),)) if row not in due]
        if due:
            self.db.do("promote", (as_list(row[0] for row in due), now))
        for seq, lane, batch, priority, status in due:
            if status == "suspended":
                self.move(batch, lane, priority, status, "queued")
                self.event(seq, now, "resumed", SUSPENDED_DATA)
        lanes, failed = self.expire(now, limit)
        lanes.update(row[1] for row in due)
        return Rescued(frozenset(lanes), len(due), next_due=self.next_due(), failed=failed)


def _by_rank(row: Row) -> tuple[int, float, int]:
    return row[6], row[7], row[0]
