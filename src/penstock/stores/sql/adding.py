"""Putting tasks in the line."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from penstock.model.step import inner_scope
from penstock.model.task import Added, NewTask
from penstock.stores.contract import AddOutcome
from penstock.stores.sql.admitting import Admitting
from penstock.stores.sql.cascading import FINISHED_DATA
from penstock.stores.sql.linking import Links
from penstock.stores.sql.programs import Programs


class Adding(Admitting, Programs):
    """`add` and `lane`."""

    def add(self, tasks: Sequence[NewTask], capacity: int | None = None) -> list[AddOutcome]:
        outcomes: list[AddOutcome | None] = [None] * len(tasks)
        special = any(
            task.after or task.tags or task.unique_key is not None
            or task.expires_at is not None or task.result_ttl is not None
            for task in tasks
        )  # fmt: skip
        links: Links | None = None
        if special:
            tasks = list(tasks)
            places, links = self.let_special_in(tasks, capacity, outcomes)
        else:
            places = self.let_in(tasks, capacity, outcomes)
        accepted = [tasks[place] for place in places]
        lanes = self._lanes_of(accepted)
        seqs = self.take_numbers("task", len(accepted))
        blocked = {} if links is None else _blocked(links, accepted, seqs)
        self._insert(accepted, seqs, lanes, blocked)
        for place, task, seq, lane in zip(places, accepted, seqs, lanes, strict=True):
            outcomes[place] = Added(task.id, seq, lane)
        self.enter_programs(accepted)
        self._count(accepted, seqs, lanes, blocked)
        self._tell(accepted, seqs)
        if special:
            self._write_terms(accepted, seqs)
        if links is not None:
            self.db.many("add_edge", links.edges(accepted, seqs))
            self.db.many("add_blocked", list(blocked.items()))
            self.set_counter("blocked", self.counter("blocked") + len(blocked))
        for task, seq in zip(accepted, seqs, strict=True):
            if task.inherit_journal and task.retry_of is not None:
                self._inherit(task.retry_of, seq, task)
        return outcomes  # type: ignore[return-value]

    def _lanes_of(self, tasks: Sequence[NewTask]) -> list[int]:
        lanes, last, last_id = [], None, 0
        for task in tasks:
            if task.lane is not last:
                last, last_id = task.lane, self.lane(task.lane)
            lanes.append(last_id)
        return lanes

    def _insert(
        self, tasks: Sequence[NewTask], seqs: range, lanes: Sequence[int], blocked: Mapping[int, int]
    ) -> None:
        ended = sorted(_ended(tasks), key=lambda one: (tasks[one].ended_no or 0, one))
        ends = dict(zip(ended, self.take_numbers("finish", len(ended)), strict=True))
        place = self.place
        rows: list[tuple[Any, ...]] = []
        for number, (task, seq, lane) in enumerate(zip(tasks, seqs, lanes, strict=True)):
            created_at, due_at, error = task.created_at, task.due_at, task.error
            finished_no = ends.get(number)
            if finished_no is not None:
                state = (task.entered_as, 0)
            elif blocked and seq in blocked:
                state = ("blocked", 0)
            else:
                state = ("queued", 1 if due_at is None or due_at <= created_at else 2)
            band, key = task.rank
            rows.append(
                (
                    seq, task.id, task.type, *state, lane, band, key, task.priority, task.tenant,
                    created_at, task.entered_at, due_at, task.deadline,
                    None if finished_no is None else created_at, task.batch, task.position, finished_no,
                    task.idempotency_key,
                    task.fingerprint, task.retry_of, task.options, task.metadata, error, place(task.payload),
                    task.flow, task.standing, task.program,
                )
            )  # fmt: skip
        self.db.many("add_task", rows)
        results = [
            (place(task.result), seq)
            for task, seq in zip(tasks, seqs, strict=True)
            if task.ended_no is not None and task.result is not None
        ]
        if results:
            self.db.many("take_over", results)

    def _count(
        self, tasks: Sequence[NewTask], seqs: range, lanes: Sequence[int], blocked: Mapping[int, int]
    ) -> None:
        counts = Counter(
            (task.batch, lane, task.entered_as, task.priority)
            for task, lane in zip(tasks, lanes, strict=True)
        )
        for task, seq, lane in zip(tasks, seqs, lanes, strict=True) if blocked else ():
            if seq in blocked:
                counts[task.batch, lane, "queued", task.priority] -= 1
                counts[task.batch, lane, "blocked", task.priority] += 1
        for (batch, lane, status, priority), count in counts.items():
            self.tally(batch, lane, status, priority, count)
            if status == "failed":
                self.total(status, count)

    def _tell(self, tasks: Sequence[NewTask], seqs: range) -> None:
        self.events_all(
            (seq, task.created_at, "submitted", None) for task, seq in zip(tasks, seqs, strict=True)
        )
        self.events_all(
            (seqs[place], tasks[place].created_at, "finished", FINISHED_DATA[tasks[place].entered_as])
            for place in _ended(tasks)
        )

    def _inherit(self, retry_of: str, seq: int, task: NewTask) -> None:
        """Copy the journal of the task `retry_of`, or what of it a fork is to have."""
        self.flush()
        if task.fork_before is None:
            copied = self.db.do("inherit_steps", (retry_of, seq))
        else:
            key, occurrence = task.fork_before
            inside = inner_scope(key, occurrence)
            params = (retry_of, seq, *key, occurrence, inside, f"{inside}/")
            copied = self.db.do("inherit_steps_before", params)
            told = {"of": retry_of, "before": key.name}
            self.event(seq, task.created_at, "forked", json.dumps(told))
        if copied:
            self.db.do("inherit_contents", (seq,))
            self.db.do("mark_inherited", (seq,))

    def _write_terms(self, tasks: Sequence[NewTask], seqs: range) -> None:
        """Write what only some tasks have."""
        rows: list[tuple[Any, ...]] = []
        tags: list[tuple[str, int]] = []
        for task, seq in zip(tasks, seqs, strict=True):
            tags += [(tag, seq) for tag in dict.fromkeys(task.tags)]
            if (task.unique_key, task.expires_at, task.result_ttl) != (None, None, None):
                pending = int(task.expires_at is not None and task.error is None)
                rows.append((seq, task.tenant, task.unique_key, task.expires_at, pending, task.result_ttl))
        self.db.many("add_tag", tags)
        self.db.many("add_terms", rows)
        for name, count in (
            ("expiring", sum(row[4] for row in rows)),
            ("with_ttl", sum(row[5] is not None for row in rows)),
        ):
            if count:
                self.set_counter(name, self.counter(name) + count)


def _blocked(links: Links, tasks: Sequence[NewTask], seqs: range) -> dict[int, int]:
    """How many others each of the tasks waits for that wait, by seq."""
    return {
        seq: count
        for task, seq in zip(tasks, seqs, strict=True)
        if task.entered_as == "queued" and (count := links.open(task))
    }


def _ended(tasks: Sequence[NewTask]) -> list[int]:
    """The places of those that enter as ended."""
    return [place for place, task in enumerate(tasks) if task.error is not None or task.ended_no is not None]
