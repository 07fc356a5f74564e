"""Nodes and their leases, and the rescue of what a dead node held."""

from __future__ import annotations

import json
from collections.abc import Sequence

from penstock.stores.contract import Gauge, Rescued, WaitRow
from penstock.stores.sql.claiming import Claiming
from penstock.stores.sql.ledger import Ledger
from penstock.stores.sql.session import Row, as_list

_FAILED_DATA = '{"status":"failed"}'


class Rescuing(Claiming, Ledger):
    """`rescue`, `join`, `renew`, `leave`, `write_waits`."""

    def rescue(self, dead_before: float, now: float, poison_after: int, nodes: Sequence[int] = ()) -> Rescued:
        dead = {row[0] for row in self.db.rows("dead_nodes", (dead_before,))} | set(nodes)
        if not dead:
            return Rescued()
        listed = as_list(sorted(dead))
        tasks = self.db.rows("rescuable", (listed,))
        poison = [row for row in tasks if row[5] + 1 >= poison_after]
        saved = [row for row in tasks if row[5] + 1 < poison_after]
        self.db.do("rescue", (as_list(row[0] for row in saved),))
        for seq, _, lane, batch, priority, crashes, node, *_ in saved:
            self.move(batch, lane, priority, "running", "queued")
            self.event(seq, now, "rescued", f'{{"node":{node},"crashes":{crashes + 1}}}')
        failed = self._fail_poison(poison, now)
        uncertain = self.make_uncertain([row[0] for row in self.db.rows("held_by_nodes", (listed,))], now)
        self._forget_nodes(listed)
        return Rescued(
            frozenset(row[2] for row in saved),
            len(saved),
            tuple(row[1] for row in poison),
            uncertain,
            self.next_due(),
            failed,
        )

    def _fail_poison(self, poison: Sequence[Row], now: float) -> tuple[str, ...]:
        """The ids of those that failed with them."""
        numbers = self.take_numbers("finish", len(poison))
        rows = []
        for (seq, _, lane, batch, priority, crashes, _, created, entered, started), no in zip(
            poison, numbers, strict=True
        ):
            error = {
                "code": "poison",
                "message": f"the process died {crashes + 1} times while this task ran; it is not tried again",
            }
            rows.append((now, no, json.dumps(error), seq))
            self.move(batch, lane, priority, "running", "failed")
            self.event(seq, now, "finished", _FAILED_DATA)
            self.total("processed", 1)
            self.total("queue_seconds", started - max(created, entered))
            self.total("run_seconds", now - started)
        self.db.many("poison", rows)
        return self.follow((), {row[0]: (row[1], "failed") for row in poison}, now).failed

    def join(self, name: str, pid: int, host: str, now: float, lease_until: float) -> int:
        return int(self.db.rows("join", (name, pid, host, now, lease_until))[0][0])

    def renew(self, node: int, lease_until: float) -> bool:
        return self.db.do("renew", (lease_until, node)) == 1

    def leave(self, node: int) -> None:
        if self.db.rows("is_busy", (node,)):
            # What it still holds must not be forgotten: the next rescue finds a lease that has run out.
            self.db.do("expire", (node,))
        else:
            self._forget_nodes(as_list([node]))

    def _forget_nodes(self, listed: str) -> None:
        self.db.do("leave", (listed,))
        self.db.do("forget_waits", (listed,))
        self.db.do("forget_gauges", (listed,))

    def write_waits(self, node: int, waits: Sequence[WaitRow], gauges: Sequence[Gauge]) -> None:
        mine = as_list([node])
        self.db.do("forget_waits", (mine,))
        self.db.do("forget_gauges", (mine,))
        self.db.many("add_wait", [(node, w.task, w.reason, w.key, w.until, w.at) for w in waits])
        self.db.many("add_gauge", [(node, g.key, g.used, g.held, g.limit, g.at) for g in gauges])
