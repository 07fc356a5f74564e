"""Nodes and their leases, and the rescue of what a dead node held."""

from __future__ import annotations

import json
from collections.abc import Sequence

from penstock.stores.contract import Gauge, Rescued, WaitRow
from penstock.stores.sql.claiming import Claiming
from penstock.stores.sql.ledger import Ledger
from penstock.stores.sql.session import Row, as_list

# Whoever records a step in each life gets further, as a rule; one whose steps change by themselves does not.
_MOST_LIVES = 10

_FAILED_DATA = '{"status":"failed"}'


class Rescuing(Claiming, Ledger):
    """`rescue`, `join`, `renew`, `leave`, `write_waits`."""

    def rescue(self, dead_before: float, now: float, poison_after: int, nodes: Sequence[int] = ()) -> Rescued:
        dead = {row[0] for row in self.db.rows("dead_nodes", (dead_before,))} | set(nodes)
        if not dead:
            return Rescued()
        listed = as_list(sorted(dead))
        tasks = self.db.rows("rescuable", (listed,))
        # Who leads others does nothing but wait for them: it is not to blame.
        leaders = {id for (id,) in self.db.rows("leaders_among", (as_list(row[0] for row in tasks),))}
        poison = [row for row in tasks if row[0] not in leaders and _deadly(row, poison_after)]
        saved = [row for row in tasks if row[0] in leaders or not _deadly(row, poison_after)]
        self.db.do("rescue", (as_list(row[0] for row in saved if row[0] not in leaders),))
        self.db.do("rescue_leaders", (as_list(leaders),))
        for seq, _, lane, batch, priority, crashes, node, *_ in saved:
            self.move(batch, lane, priority, "running", "queued")
            count = crashes + (seq not in leaders)
            self.event(seq, now, "rescued", f'{{"node":{node},"crashes":{count}}}')
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
        for (seq, _, lane, batch, priority, crashes, _, created, entered, started, attempt), no in zip(
            poison, numbers, strict=True
        ):
            error = {
                "code": "poison",
                "message": f"the process died while this task ran, the last {_times(crashes + 1)} without a "
                f"new recorded step (attempt {attempt}); it is not tried again by itself (a retry goes on "
                "from its recorded steps)",
            }
            rows.append((now, no, json.dumps(error), seq))
            self.move(batch, lane, priority, "running", "failed")
            self.event(seq, now, "finished", _FAILED_DATA)
            self.total("processed", 1)
            self.total("queue_seconds", started - max(created, entered))
            self.total("run_seconds", now - started)
        self.total("run_seconds", -self.seconds_away([row[0] for row in poison]))
        self.db.many("poison", rows)
        ends = [(row[0], "failed") for row in poison]
        self.count_in_groups(ends, now)
        self.let_go(ends, now)
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


def _deadly(row: Row, poison_after: int) -> bool:
    """Whether a task that its node left behind is not to be tried again."""
    return bool(row[5] + 1 >= poison_after or row[10] >= _MOST_LIVES * poison_after)


def _times(count: int) -> str:
    return "time" if count == 1 else f"{count} times"
