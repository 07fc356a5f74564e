"""Tasks that were not started before they expired, and results whose time is over."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.model.task import Finish
from penstock.stores.sql.cascading import Cascading
from penstock.stores.sql.session import Row, as_list

EXPIRED_ERROR = '{"code":"expired","message":"it was not started before it expired (expires_at)"}'

_AT_ONCE = 1000
_DONE, _UNTOLD = 0, 2


class Expiring(Cascading):
    """`expires_at` and `result_ttl`. Rows of tasks are (seq, id, status, lane, batch, priority)."""

    def expire(self, now: float, limit: int) -> tuple[set[int], tuple[str, ...]]:
        """Fail what was not started in time; the lanes and ids of all that failed, by claims before too."""
        if not self.counter("expiring"):
            return set(), ()
        told = as_list(seq for (seq,) in self.db.rows("told_later", (now, limit)))
        due = as_list(seq for (seq,) in self.db.rows("expiring", (now, limit)))
        late = self.db.rows("late", (due,))
        ids = [row[1] for row in late] + self._fail(late, now)
        lanes = {row[3] for row in late}
        for id, lane in self.db.rows("ids_of", (told,)):
            ids.append(id)
            lanes.add(lane)
        for listed in (told, due):
            self.set_counter(
                "expiring", self.counter("expiring") - self.db.do("set_pending", (listed, _DONE))
            )
        return lanes, tuple(ids)

    def expire_before_claim(self, now: float) -> None:
        """Take what expired out of the line; `promote` will tell of it."""
        if self.counter("expiring"):
            due = [seq for (seq,) in self.db.rows("expiring", (now, _AT_ONCE))]
            late = self.db.rows("late", (as_list(due),)) if due else []
            self._fail(late, now)
            self.db.do("set_pending", (as_list(row[0] for row in late), _UNTOLD))

    def in_time(self, claimed: Sequence[Row], now: float) -> Sequence[Row]:
        """Of tasks just claimed those that have not expired; the others fail. There are some only when more
        expired than one claim looks at before it."""
        if not self.counter("expiring"):
            return claimed
        late = self.db.rows("late_claims", (as_list(row[0] for row in claimed), now))
        self._fail(late, now)
        self.db.do("set_pending", (as_list(row[0] for row in late), _UNTOLD))
        gone = {row[0] for row in late}
        return [row for row in claimed if row[0] not in gone]

    def _fail(self, late: Sequence[Row], now: float) -> list[str]:
        """The ids of those that failed with them."""
        self.end_waiting(late, "failed", now, [EXPIRED_ERROR] * len(late))
        return list(self.follow((), {row[0]: (row[1], "failed") for row in late}, now).failed)

    def fade_later(self, ends: Sequence[Finish]) -> None:
        """Set until when the results of tasks that ended are kept."""
        if self.counter("with_ttl"):
            self.db.many("fade_later", [(end.at, end.task.seq) for end in ends])

    def drop_faded(self, now: float, limit: int) -> int:
        """Drop results whose time is over; how many."""
        if not self.counter("with_ttl"):
            return 0
        faded = self.db.rows("faded", (now, limit))
        self.drop_texts(result for _, result in faded)
        listed = as_list(seq for seq, _ in faded)
        self.db.do("forget_results", (listed,))
        self.db.do("mark_faded", (listed,))
        return len(faded)
