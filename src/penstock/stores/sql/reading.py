"""Tasks, counts, events and the ledger as people read them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from penstock.model.lane import Lane
from penstock.model.rank import Rank
from penstock.model.reservation import ReservationState, ReservationView
from penstock.model.states import TaskStatus
from penstock.model.step import StepKey, StepRecord
from penstock.model.task import OMITTED, TaskView
from penstock.stores.contract import Count, Event, Spend, SpendSum, StoredLane, Tally, TaskFilter
from penstock.stores.sql.choosing import LAST_LETTER, Choosing
from penstock.stores.sql.session import Row, as_list

AHEAD_AT_MOST = 10_000
_MOST_SUBTASKS = 1_000


class Reading(Choosing):
    """Tasks and what hangs on them."""

    def task(self, id: str) -> TaskView | None:
        seq = self.seq_of(id)
        if seq is None:
            return None
        view = self._views(self.look("view_one", (seq,)))[0]
        names = (
            "scope",
            "name",
            "digest",
            "occurrence",
            "kind",
            "at",
            "input_tokens",
            "output_tokens",
            "cost",
        )
        view.subtasks = tuple(id for (id,) in self.look("subtasks", (seq, _MOST_SUBTASKS)))
        view.steps = [dict(zip(names, row, strict=True)) for row in self.look("outline", (seq,))]
        return view

    def tasks(
        self,
        where: TaskFilter,
        after: int = 0,
        limit: int = 100,
        newest: bool = True,
        whole: bool = True,
    ) -> list[TaskView]:
        self.flush()
        rows: list[Row] = []
        for names, params in self.conditions(where):
            if after:
                names, params = [*names, "where_before" if newest else "where_after"], [*params, after]
            rows += self.db.rows_where("view_newest" if newest else "view_oldest", names, [*params, limit])
        rows.sort(key=lambda row: int(row[0]), reverse=newest)
        return self._views(rows[:limit], whole)

    def _views(self, rows: Sequence[Row], whole: bool = True) -> list[TaskView]:
        texts = [text for row in rows for text in (row[20], row[23])]
        if whole:
            large: dict[str, Any] = {reference: text for reference, text in self.expand(texts).items()}
        else:
            large = {text: OMITTED for text in texts if text is not None and text[:1] == "@"}
        return [_view(row, large) for row in rows]

    def ids(self, where: TaskFilter, after: int = 0, limit: int = 1000) -> list[tuple[int, str]]:
        self.flush()
        rows: list[Row] = []
        for names, params in self.conditions(where):
            rows += self.db.rows_where("ids", [*names, "where_after"], [*params, after, limit])
        return [(seq, id) for seq, id in sorted(rows)[:limit]]

    def counts(self, where: TaskFilter) -> dict[TaskStatus, Count]:
        self.flush()
        rows = [
            row
            for names, params in self.conditions(where)
            for row in self.db.rows_where("counts", names, params)
        ]
        return {TaskStatus(status): Count(*figures) for status, *figures in rows}

    def tags(self, prefix: str, before: str | None = None, limit: int = 100) -> list[str]:
        last = prefix + LAST_LETTER if before is None else before
        return [tag for (tag,) in self.look("tags_newest", (prefix, last, limit))]

    def ahead(self, seq: int) -> int:
        return int(self.look("ahead", (seq, AHEAD_AT_MOST))[0][0])

    def dependencies(self, seq: int) -> list[str]:
        return [id for (id,) in self.look("dependencies", (seq,))]

    def results_of(self, ids: Sequence[str]) -> dict[str, tuple[TaskStatus, str | None, str | None]]:
        rows = self.look("results_of", (as_list(ids),))
        large = self.expand(row[2] for row in rows)
        return {
            id: (TaskStatus(status), large.get(result, result), error) for id, status, result, error in rows
        }

    def tallies(self) -> list[Tally]:
        return [
            Tally(lane, type, TaskStatus(status), priority, count)
            for lane, type, status, priority, count in self.look("tallies")
        ]

    def totals(self) -> dict[str, float]:
        return {name: float(value) for name, value in self.look("totals")}

    def lanes(self) -> list[StoredLane]:
        return [
            StoredLane(id, Lane(type, model, tuple((name, units) for name, units in json.loads(pools))))
            for id, type, model, pools in self.look("lanes")
        ]

    def journal(self, seq: int) -> list[StepRecord]:
        rows = self.look("journal", (seq,))
        large = self.fetch_contents(row[10] for row in rows if row[10] is not None)
        return [
            StepRecord(
                seq, row[0], StepKey(*row[1:4]), row[4], row[5],
                bytes(row[11]) if row[10] is None else large[row[10]], row[6], row[7], row[8], row[9],
            )
            for row in rows
        ]  # fmt: skip

    def events(
        self, after: int, limit: int = 1000, task: int | None = None, kinds: Sequence[str] = ()
    ) -> list[Event]:
        asked = (after, limit, as_list(kinds))
        rows = self.look("events", asked) if task is None else self.look("events_of_task", (*asked, task))
        return [
            Event(no, seq, id, at, kind, json.loads(data) if data else {}, tenant)
            for no, seq, id, at, kind, data, tenant in rows
        ]

    def last_event(self) -> int:
        return int(self.look("last_event")[0][0])


class LedgerReading(Choosing):
    """Reservations and spending."""

    def reservations(self, states: Sequence[str], limit: int = 1000) -> list[ReservationView]:
        names = {ReservationState(state).value for state in states}
        if names == {"held"} or names == {"uncertain"}:
            rows = self.look(f"reservations_{names.pop()}", (limit,))
        else:
            rows = self.look("reservations_in", (as_list(sorted(names)), limit))
        return [_reservation(row) for row in rows]

    def recent_reservations(self, since: float) -> list[ReservationView]:
        rows = self.look("reservations_held", (-1,)) + self.look("reservations_since", (since,))
        return [_reservation(row) for row in sorted(rows)]

    def spend_sums(self) -> list[SpendSum]:
        return [SpendSum(*row) for row in self.look("spend_sums")]

    def spend(self) -> list[Spend]:
        return [Spend(*row) for row in self.look("spend")]


def _view(row: Row, large: dict[str, Any]) -> TaskView:
    values = [
        *(*row[:6], TaskStatus(row[6]), Rank(row[7], row[8]), row[9] == 1),
        *row[10:20],
        *(_parsed(text, large) for text in row[20:25]),
        *row[25:35],
        *(row[35] == 1, _parsed(row[36], large)),
        *(tuple(json.loads(texts)) for texts in row[37:40]),
    ]
    return TaskView(*values)


def _parsed(text: str | None, large: dict[str, Any]) -> Any:
    """JSON text as data; what is no JSON stays a text, so that a bad row does not hide the others."""
    if text is None:
        return None
    text = large.get(text, text)
    if text is OMITTED:
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _reservation(row: Row) -> ReservationView:
    return ReservationView(*(*row[:10], ReservationState(row[10]), *row[11:]))
