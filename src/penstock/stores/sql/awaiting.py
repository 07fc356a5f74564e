"""Durable waits: what tasks wait for, the events that are kept for them, and their children."""

from __future__ import annotations

import json
from collections.abc import Sequence

from penstock.errors import EventRefused, PenstockError, TaskNotFound
from penstock.model.states import TaskStatus
from penstock.model.waits import EVENT, Await, Effects, Letter, Wait, asked_name
from penstock.stores.sql.choosing import Choosing
from penstock.stores.sql.session import Row, Session, WritingSession, as_list

MOST_LETTERS = 10_000
"""Events that may be kept for a task."""

RESUMED_DATA = '{"from":"suspended"}'


class AwaitReading(Session):
    """`awaits`, `approvals`, `children`, `parent`."""

    def awaits(self, task: int) -> list[Await]:
        return [_await(row) for row in self.look("awaits_of_task", (task,))]

    def approvals(self, tenant: str | None = None, after: float = 0.0, limit: int = 1000) -> list[Await]:
        return [_await(row) for row in self.look("approvals", (tenant, after, limit))]

    def children(self, seq: int, limit: int = 1000) -> list[tuple[str, bool]]:
        return [(id, bool(detached)) for id, detached in self.look("children", (seq, limit))]

    def parent(self, seq: int) -> str | None:
        found = self.look("parent", (seq,))
        return found[0][0] if found else None


class Awaiting(WritingSession):
    """The waits themselves; what the end of a task means to them is in `Cascading`."""

    def holds(self, seq: int, claim_no: int) -> bool:
        return bool(self.db.rows("holds_claim", (seq, claim_no)))

    def begin_wait(self, seq: int, claim_no: int, wait: Wait, now: float) -> bool:
        if not self.holds(seq, claim_no):
            return False
        if self.db.do("wait_again", (seq, wait.what, wait.until, wait.question)):
            return True
        self.db.do("add_await", (seq, wait.what, now, wait.until, wait.question))
        self.set_counter("awaits", self.counter("awaits") + 1)
        if wait.question is not None:
            asked = {"name": asked_name(wait.what), **json.loads(wait.question)}
            self.event(seq, now, "asked", json.dumps(asked))
        return True

    def end_wait(self, seq: int, what: str) -> None:
        if ended := self.db.do("end_await", (seq, what)):
            self.set_counter("awaits", self.counter("awaits") - ended)

    def wake(self, whats: Sequence[str], at: float) -> None:
        if whats and self.counter("awaits"):
            self._wake(self.db.rows("awaiting", (as_list(whats),)), at)

    def _wake(self, rows: Sequence[Row], at: float) -> None:
        """Rows are (seq, what, status, lane, batch, priority)."""
        # Of who is paused it is kept for the resume.
        marked = [row[:3] for row in rows if row[2] in ("running", "paused")]
        if marked:
            self.db.many("mark_woken", [row[:2] for row in marked])
            self.woken_open.update((seq, what) for seq, what, status in marked if status == "running")
        suspended = {row[0]: row for row in rows if row[2] == "suspended"}
        if suspended:
            self.db.do("wake", (as_list(suspended), at))
        for seq, _, status, lane, batch, priority in suspended.values():
            self.move(batch, lane, priority, status, "queued")
            self.event(seq, at, "resumed", RESUMED_DATA)
            self.freed.add(lane)

    def take(self, seq: int, name: str) -> Letter | None:
        if not self.counter("mail"):
            return None
        found = self.look("oldest_letter", (seq, name))
        if not found:
            return None
        no, at, data, sender = found[0]
        large = self.expand([data])
        self.db.do("drop_letter", (no,))
        self.set_counter("mail", self.counter("mail") - 1)
        self.drop_texts([data])
        return Letter(no, name, at, large.get(data, data), sender)

    def adopt(self, parent: int, child: int, detached: bool = False, joined: bool = False) -> None:
        if self.db.do("adopt", (child, parent, int(detached or joined))):
            self.set_counter("children", self.counter("children") + 1)
        elif joined:
            self.db.do("adopt_too", (child, parent, int(detached)))

    def woken(self) -> list[tuple[int, str]]:
        return list(self.db.rows("woken")) if self.counter("awaits") else []

    def effects(self) -> Effects:
        told = Effects(
            tuple(sorted(self.freed)),
            self.freed_due,
            tuple(sorted(self.woken_open)),
            tuple(self.doomed),
            self.ended_besides,
        )
        self.freed, self.freed_due, self.woken_open, self.doomed = set(), None, set(), []
        self.ended_besides = False
        return told

    # What the end of a task means to its own

    def drop_waits(self, listed: str) -> None:
        """Tasks ended: they wait for nothing more, and nobody will take what is kept for them."""
        if self.counter("awaits") and (gone := self.db.do("drop_awaits", (listed,))):
            self.set_counter("awaits", self.counter("awaits") - gone)
        if self.counter("mail") and (letters := self.db.rows("drop_mail", (listed,))):
            self.set_counter("mail", self.counter("mail") - len(letters))
            self.drop_texts(data for (data,) in letters)

    def still_wanted(self, seqs: Sequence[int]) -> set[int]:
        """Of tasks about to be suspended those for which something has come: they are not to be."""
        if not seqs or not self.counter("awaits"):
            return set()
        found = {seq for (seq,) in self.db.rows("woken_among", (as_list(seqs),))}
        if found:
            self.db.do("look_again", (as_list(found),))
        return found

    def seconds_away(self, seqs: Sequence[int]) -> float:
        """How long these tasks were suspended, in all."""
        if not self.counter("suspended"):
            return 0.0
        return float(self.db.rows("seconds_away", (as_list(seqs),))[0][0])


class Delivering(Awaiting, Choosing):
    """`deliver` and `decide`."""

    def deliver(
        self, id: str, name: str, data: str | None, sender: str, now: float
    ) -> Letter | PenstockError:
        task = self._open(id)
        return task if isinstance(task, PenstockError) else self._post(task, name, data, sender, now)

    def decide(self, id: str, name: str | None, data: str, sender: str, now: float) -> Letter | PenstockError:
        task = self._open(id)
        if isinstance(task, PenstockError):
            return task
        asked = {asked_name(one.what): one.what.removeprefix(EVENT) for one in self._asked(task[0])}
        if name is None and len(asked) > 1:
            return EventRefused(f"task {id} asks for several approvals, say which: {', '.join(asked)}")
        if not asked or (name is not None and name not in asked):
            named = "" if name is None else f" named {name!r}"
            others = f"; it asks for: {', '.join(asked)}" if asked else ""
            return EventRefused(f"task {id} asks for no approval{named} (any more){others}")
        return self._post(task, asked[name or next(iter(asked))], data, sender, now)

    def _asked(self, seq: int) -> list[Await]:
        rows = [_await(row) for row in self.look("awaits_of_task", (seq,))]
        return [one for one in rows if one.question is not None and not one.answered]

    def _open(self, id: str) -> Row | PenstockError:
        """(seq, status) of a task that has not ended."""
        seq = self.seq_of(id)
        if seq is None:
            return TaskNotFound(f"there is no task {id}", id)
        row = self.db.rows("status_of", (seq,))[0]
        if TaskStatus(row[1]).final:
            return EventRefused(f"task {id} is {row[1]}; it takes no events any more")
        return row

    def _post(
        self, task: Row, name: str, data: str | None, sender: str, now: float
    ) -> Letter | PenstockError:
        seq = task[0]
        if self._full(seq) and not self._wanted(seq, name):
            return EventRefused(f"{MOST_LETTERS:,} events that it has not taken wait for this task already")
        no: int = self.db.rows("add_letter", (seq, name, now, self.place(data), sender))[0][0]
        self.set_counter("mail", self.counter("mail") + 1)
        self.event(seq, now, "event", json.dumps({"name": name, "sender": sender}))
        if self.counter("awaits"):
            self._wake(self.db.rows("awaiting_of_task", (seq, EVENT + name)), now)
        return Letter(no, name, now, data, sender)

    def _full(self, seq: int) -> bool:
        """Whether no more may be kept for this task; they are counted only where it may be so."""
        if self.counter("mail") < MOST_LETTERS:
            return False
        return bool(self.db.rows("count_mail", (seq, MOST_LETTERS))[0][0] >= MOST_LETTERS)

    def _wanted(self, seq: int, name: str) -> bool:
        """Whether it waits for an event of this name and has none: no flood of others keeps that from it."""
        waits = self.db.rows("awaiting_of_task", (seq, EVENT + name))
        return bool(waits) and not self.db.rows("oldest_letter", (seq, name))


def _await(row: Row) -> Await:
    seq, id, type, tenant, status, what, asked_at, until, question, answered = row
    return Await(seq, id, type, tenant, TaskStatus(status), what, asked_at, until, question, bool(answered))
