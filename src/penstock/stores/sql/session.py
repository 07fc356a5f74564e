"""One transaction as the verbs see it: named statements, and what is gathered to be written once at its end.

Tallies, events, counters, sums and large values are gathered while verbs run and written in a few statements
before the commit, or before the first read of the same transaction that could see them.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from penstock.model.lane import Lane
from penstock.model.states import TaskStatus
from penstock.stores.sql.contents import Contents, read_contents

Row = tuple[Any, ...]

# Longer texts and values are kept apart, so that moving a task through its states does not rewrite them.
INLINE = 2048

# Where lines are looked at by their lane, so many tasks with flows at most. There are few then: some that ran
# while the strategy was switched. Only during a switch there may be more, and the order is mixed anyway.
FLOWING_AT_MOST = 1_000

# Which events a task has is listed for so many events at a time, by task: their lists lie together then.
LISTED_AT_ONCE = 1_000

FINAL_NAMES = frozenset(status.value for status in TaskStatus if status.final)


class Database(Protocol):
    """Runs named statements of one dialect inside the transaction that is open."""

    def rows(self, name: str, params: Sequence[Any] = ()) -> list[Row]: ...
    def rows_where(self, name: str, where: Sequence[str], params: Sequence[Any]) -> list[Row]:
        """The same, for a statement with `{where}`: named conditions, all of which must hold."""

    def do(self, name: str, params: Sequence[Any] = ()) -> int:
        """How many rows were changed."""

    def many(self, name: str, rows: Sequence[Sequence[Any]]) -> int:
        """How many rows were changed by all of them."""

    def savepoint(self) -> None: ...
    def undo(self) -> None:
        """Back to the savepoint, which is gone then."""

    def keep(self) -> None:
        """Drop the savepoint, keep what was done since."""


def as_list(values: Iterable[Any]) -> str:
    """A list as the statements take it: one JSON array."""
    return json.dumps(list(values))


class Session:
    """A read transaction: the base of all reading verbs."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def look(self, name: str, params: Sequence[Any] = ()) -> list[Row]:
        """Rows, with everything that was written before in this transaction."""
        return self.db.rows(name, params)

    def flush(self) -> None:
        """Write what was gathered; nothing for a reader."""

    def fetch_contents(self, hashes: Iterable[str]) -> dict[str, bytes]:
        """Large values by hash."""
        return read_contents(lambda some: self.look("contents", (as_list(some),)), hashes)

    def expand(self, texts: Iterable[str | None]) -> dict[str, str]:
        """The texts behind references, by reference; what is no reference is not in it."""
        references = [text for text in texts if text is not None and text[:1] == "@"]
        if not references:
            return {}
        bodies = self.fetch_contents(reference[1:] for reference in references)
        return {"@" + hash: body.decode() for hash, body in bodies.items()}


class WritingSession(Session):
    """A write transaction: numbers, tallies, events and large values, gathered."""

    def __init__(self, db: Database, lanes: dict[Lane, int]) -> None:
        super().__init__(db)
        self._lanes = lanes
        self.new_lanes: dict[Lane, int] = {}
        self._counters: dict[str, int] | None = None
        self._moved_counters: set[str] = set()
        self._tally: defaultdict[tuple[int, int, str, int], int] = defaultdict(int)
        self._totals: defaultdict[str, float] = defaultdict(float)
        self._events: list[tuple[int, float, str, str | None]] = []
        self._contents = Contents(db, as_list)
        self.freed: set[int] = set()
        self.freed_due: float | None = None
        self.doomed: list[int] = []
        self.childless: list[Sequence[int]] = []
        self.woken_open: set[tuple[int, str]] = set()
        self.ended_besides = False
        """What verbs set off besides: lanes in which tasks became claimable, when the first of those that are
        due later does, running tasks that are to be cancelled, running ones for which something came that
        they wait for, and whether tasks ended of which no outcome tells."""

    def look(self, name: str, params: Sequence[Any] = ()) -> list[Row]:
        self.flush()
        return self.db.rows(name, params)

    # Numbers.

    def counter(self, name: str) -> int:
        if self._counters is None:
            self._counters = dict(self.db.rows("counters"))
        return self._counters[name]

    def take_numbers(self, name: str, count: int) -> range:
        """The next `count` numbers of a counter, never given before."""
        last = self.counter(name)
        self.set_counter(name, last + count)
        return range(last + 1, last + count + 1)

    def set_counter(self, name: str, value: int) -> None:
        if self._counters is None:
            self._counters = dict(self.db.rows("counters"))
        self._counters[name] = value
        self._moved_counters.add(name)

    # Tallies and events.

    def tally(self, batch: int | None, lane: int, status: str, priority: int, change: int) -> None:
        """Count tasks into (`change` > 0) or out of a status."""
        self._tally[batch or 0, lane, status, priority] += change
        if status not in FINAL_NAMES:
            self.set_counter("open", self.counter("open") + change)

    def move(self, batch: int | None, lane: int, priority: int, old: str, new: str, count: int = 1) -> None:
        self.tally(batch, lane, old, priority, -count)
        self.tally(batch, lane, new, priority, count)
        if new in FINAL_NAMES:
            self._totals[new] += count

    def total(self, name: str, change: float) -> None:
        self._totals[name] += change

    def event(self, task: int, at: float, kind: str, data: str | None = None) -> None:
        self._events.append((task, at, kind, data))

    def events_all(self, rows: Iterable[tuple[int, float, str, str | None]]) -> None:
        self._events.extend(rows)

    # Large values.

    def place(self, text: str | None) -> str | None:
        """The text itself, or the reference under which it is kept apart."""
        if text is None or (len(text) <= INLINE and not text.startswith("@")):
            return text
        return "@" + self.keep_content(text.encode())

    def inline_or_kept(self, body: bytes) -> tuple[str | None, bytes | None]:
        """(hash of a large value, small value): one of them is set."""
        return (None, body) if len(body) <= INLINE else (self.keep_content(body), None)

    def keep_content(self, body: bytes, times: int = 1) -> str:
        return self._contents.keep(body, times)

    def drop_content(self, hash: str, times: int = 1) -> None:
        self._contents.drop(hash, times)

    def drop_texts(self, texts: Iterable[str | None]) -> None:
        for text in texts:
            if text is not None and text[:1] == "@":
                self._contents.drop(text[1:], 1)

    def lane(self, lane: Lane) -> int:
        known = self._lanes.get(lane) or self.new_lanes.get(lane)
        if known is None:
            row = (lane.type, lane.model, json.dumps(lane.pools, separators=(",", ":")))
            found = self.db.rows("find_lane", row) or self.db.rows("add_lane", row)
            known = self.new_lanes[lane] = int(found[0][0])
        return known

    def flush(self) -> None:
        if self._events:
            numbers = self.take_numbers("event", len(self._events))
            self.db.many("add_event", [(no, *event) for no, event in zip(numbers, self._events, strict=True)])
            self._events.clear()
            self._list_events(numbers[-1])
        if self._tally:
            self.db.many("add_tally", [(*key, change) for key, change in self._tally.items() if change])
            self._tally.clear()
        if self._totals:
            self.db.many("add_total", list(self._totals.items()))
            self._totals.clear()
        self._contents.flush()
        if self._moved_counters:
            assert self._counters is not None
            self.db.many("set_counter", [(name, self._counters[name]) for name in self._moved_counters])
            self._moved_counters.clear()

    def _list_events(self, last: int) -> None:
        """List by task the events up to `last`, once they are enough."""
        listed = self.counter("task_events")
        if last - listed >= LISTED_AT_ONCE:
            self.db.do("list_events", (listed, last))
            self.set_counter("task_events", last)
