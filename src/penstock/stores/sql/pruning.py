"""Retention: removing what is old, in chunks that never hold the store for long."""

from __future__ import annotations

import math
from collections.abc import Sequence

from penstock.stores.contract import Pruned, Retention
from penstock.stores.sql.budgets import Budgeting
from penstock.stores.sql.checkpoint_upkeep import IDLE_AT_ONCE, CheckpointUpkeep
from penstock.stores.sql.ending import Ending
from penstock.stores.sql.looking import Looking
from penstock.stores.sql.programs import Programs
from penstock.stores.sql.session import Row, as_list

_FORGET = (
    "forget_events_of_tasks",
    "forget_lists_of_tasks",
    "forget_controls_of_tasks",
    "forget_edges",
    "forget_edges_to",
    "forget_groups",
    "forget_members",
    "forget_tags",
    "forget_progress",
    "forget_joined",
    "forget_tasks",
)


class Pruning(Ending, Programs, Budgeting, CheckpointUpkeep, Looking):
    """`prune` and its parts."""

    def prune(self, rule: Retention, now: float) -> Pruned:
        self.flush()
        ended = self._ended(rule)
        self._forget_tasks(ended)
        events, more_events = self._prune_events(rule)
        reservations = self._prune_reservations(rule)
        cached = self._prune_cache(now, rule)
        results = self.drop_faded(now, rule.chunk)
        threads = self.drop_idle_threads(now)
        self.flush()
        more = (
            more_events
            or threads == IDLE_AT_ONCE
            or rule.chunk in (len(ended), reservations, cached, results)
        )
        more = more or (bool(ended) and self._above(rule.max_bytes))
        return Pruned(len(ended), events, reservations, more, results, threads)

    def _ended(self, rule: Retention) -> list[Row]:
        """The next tasks to go: those that ended long ago, or else, over the size, the oldest."""
        if rule.finished_before is not None and (
            old := self.db.rows("ended_tasks", (rule.finished_before, rule.chunk))
        ):
            return old
        return self.db.rows("ended_tasks", (math.inf, rule.chunk)) if self._above(rule.max_bytes) else []

    def _above(self, max_bytes: int | None) -> bool:
        return max_bytes is not None and self.live_bytes() > max_bytes

    def _forget_tasks(self, tasks: Sequence[Row]) -> None:
        if not tasks:
            return
        seqs = [row[0] for row in tasks]
        listed = as_list(seqs)
        programs, flows, led = self.programs_of(seqs), self.flows_of(seqs), self.budgets_led_by(seqs)
        self.forget_steps(seqs)
        for texts in self.db.rows("large_texts", (listed,)):
            self.drop_texts(texts)
        for statement in _FORGET:
            self.db.do(statement, (listed,))
        pending = sum(state > 0 for (state,) in self.db.rows("forget_terms", (listed,)))
        if pending:
            self.set_counter("expiring", self.counter("expiring") - pending)
        if self.counter("children") and (gone := self.db.do("forget_children", (listed,))):
            self.set_counter("children", self.counter("children") - gone)
        self.forget_programs(programs)
        self.forget_budgets([*programs, *led])
        self.forget_flows(flows)
        for _, batch, lane, status, priority in tasks:
            self.tally(batch, lane, status, priority, -1)
        self.flush()
        self.db.do("forget_empty_tallies")

    def _prune_events(self, rule: Retention) -> tuple[int, bool]:
        if rule.events_before is None:
            return 0, False
        oldest = self.db.rows("old_events", (rule.chunk,))
        old = [no for no, at in oldest if at < rule.events_before]
        if old:
            self.db.do("forget_lists_of_events", (old[-1],))
        removed = self.db.do("forget_events", (old[-1],)) if old else 0
        self.db.do("forget_controls", (rule.events_before,))
        return removed, removed == rule.chunk

    def _prune_reservations(self, rule: Retention) -> int:
        if rule.reservations_before is None:
            return 0
        return self.db.do("forget_reservations", (rule.reservations_before, rule.chunk))

    def _prune_cache(self, now: float, rule: Retention) -> int:
        old = self.db.rows("expired_cache", (now, rule.chunk))
        if not old and rule.max_cache_bytes is not None:
            old = self.db.rows("oldest_cache", (rule.max_cache_bytes, rule.chunk))
        for _, _, content in old:
            if content is not None:
                self.drop_content(content)
        self.db.many("forget_cache", [row[:2] for row in old])
        return len(old)
