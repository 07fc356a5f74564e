"""Taking tasks out of the line, and what makes them claimable: promotion and rescue."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from heapq import merge
from itertools import islice

from penstock.model.rank import Rank
from penstock.model.task import Claimed
from penstock.stores.contract import Rescued
from penstock.stores.sql.looking import Looking
from penstock.stores.sql.session import Row, WritingSession, as_list

SUSPENDED_DATA = '{"from":"suspended"}'


class Claiming(WritingSession, Looking):
    """`claim`, `claim_flows` and `promote`."""

    def claim(
        self, wanted: Mapping[int, int], node: int, now: float, most: int | None = None
    ) -> list[Claimed]:
        tenants = [scope[7:] for (scope,) in self.db.rows("pauses") if scope.startswith("tenant:")]
        if most is not None and sum(wanted.values()) > most:
            wanted = self._best_over_lanes(wanted, most, tenants)
        rows: list[Row] = []
        for lane, count in wanted.items():
            if count > 0:
                rows += self._claim_lane(lane, count, node, now, tenants)
        return self._started(rows, node, now)

    def claim_flows(self, wanted: Mapping[int, Mapping[str, int]], node: int, now: float) -> list[Claimed]:
        rows: list[Row] = []
        for lane, flows in wanted.items():
            # One statement for all flows of which equally many are wanted.
            alike: defaultdict[int, list[str]] = defaultdict(list)
            for flow, count in flows.items():
                if count > 0:
                    alike[count].append(flow)
            for count, names in alike.items():
                statement = "claim_flow_heads" if count == 1 else "claim_flows"
                rows += self.db.rows(statement, (node, now, lane, count, as_list(names)))
        rows.sort(key=_by_rank)
        return self._started(rows, node, now)

    def _started(self, rows: Sequence[Row], node: int, now: float) -> list[Claimed]:
        """Count and tell of tasks just claimed."""
        if not rows:
            return []
        # The columns from 18 on: batch, position, inherited, was, flow, standing, program.
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
                r[16], now, r[17], r[18], r[19], r[12] > 1 or r[20] == 1, r[22], r[23], r[24],
            )
            for r in rows
        ]  # fmt: skip

    def _best_over_lanes(self, wanted: Mapping[int, int], most: int, tenants: Sequence[str]) -> Counter[int]:
        """How many to take of each lane so that together they are the `most` best-ranked."""
        excluded = as_list(tenants)
        lines = [
            self.db.rows("line", (lane, min(count, most), excluded))
            for lane, count in wanted.items()
            if count > 0
        ]
        return Counter(lane for _, _, _, lane in islice(merge(*lines), max(most, 0)))

    def _claim_lane(self, lane: int, count: int, node: int, now: float, tenants: Sequence[str]) -> list[Row]:
        if tenants:
            rows = self.db.rows("claim_but_tenants", (node, now, lane, count, as_list(tenants)))
        else:
            rows = self.db.rows("claim", (node, now, lane, count))
        rows.sort(key=_by_rank)  # what an update returns is in no order
        return rows

    def promote(self, now: float, limit: int = 1000) -> Rescued:
        due = self.db.rows("due", (now, limit))
        if due:
            self.db.do("promote", (as_list(row[0] for row in due),))
        for seq, lane, batch, priority, status in due:
            if status == "suspended":
                self.move(batch, lane, priority, status, "queued")
                self.event(seq, now, "resumed", SUSPENDED_DATA)
        return Rescued(frozenset(row[1] for row in due), len(due), next_due=self.next_due())


def _by_rank(row: Row) -> tuple[int, float, int]:
    return row[6], row[7], row[0]
