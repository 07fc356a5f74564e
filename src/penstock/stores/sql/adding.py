"""Putting tasks in the line."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from penstock.errors import IdempotencyConflict, QueueFull
from penstock.model.task import Added, Existing, NewTask
from penstock.stores.contract import AddOutcome
from penstock.stores.sql.programs import Programs
from penstock.stores.sql.session import as_list

Known = tuple[str, str | None, int | None]  # id, fingerprint, position

_FAILED_DATA = '{"status":"failed"}'


class Adding(Programs):
    """`add` and `lane`."""

    def add(self, tasks: Sequence[NewTask], capacity: int | None = None) -> list[AddOutcome]:
        outcomes: list[AddOutcome | None] = [None] * len(tasks)
        places = self._let_in(tasks, capacity, outcomes)
        accepted = [tasks[place] for place in places]
        lanes = self._lanes_of(accepted)
        seqs = self.take_numbers("task", len(accepted))
        self._insert(accepted, seqs, lanes)
        for place, task, seq, lane in zip(places, accepted, seqs, lanes, strict=True):
            outcomes[place] = Added(task.id, seq, lane)
        self.enter_programs(accepted)
        self._count(accepted, lanes)
        self._tell(accepted, seqs)
        for task, seq in zip(accepted, seqs, strict=True):
            if task.inherit_journal and task.retry_of is not None:
                self._inherit(task.retry_of, seq)
        return outcomes  # type: ignore[return-value]

    def _let_in(
        self, tasks: Sequence[NewTask], capacity: int | None, outcomes: list[AddOutcome | None]
    ) -> Sequence[int]:
        """The places of the tasks that go in; the outcome of the others is set."""
        known = self._known_keys(tasks)
        if not known and capacity is None and not any(task.idempotency_key for task in tasks):
            return range(len(tasks))
        room = None if capacity is None else capacity - self.counter("open")
        accepted = []
        for place, task in enumerate(tasks):
            key = (task.tenant, task.idempotency_key)
            if task.idempotency_key is not None and key in known:
                outcomes[place] = _answer(task, known[key])
                continue
            if room is not None and task.error is None:
                if room <= 0:
                    outcomes[place] = QueueFull(
                        f"the queue is full: {capacity} tasks wait or run already; "
                        "try again later or raise the queue's size"
                    )
                    continue
                room -= 1
            if task.idempotency_key is not None:
                known[key] = (task.id, task.fingerprint, task.position)
            accepted.append(place)
        return accepted

    def _known_keys(self, tasks: Sequence[NewTask]) -> dict[tuple[str, str | None], Known]:
        asked: defaultdict[str, list[str]] = defaultdict(list)
        for task in tasks:
            if task.idempotency_key is not None:
                asked[task.tenant].append(task.idempotency_key)
        known: dict[tuple[str, str | None], Known] = {}
        for tenant, keys in asked.items():
            for of_tenant, key, id, fingerprint, position in self.db.rows(
                "known_keys", (tenant, as_list(keys))
            ):
                known[of_tenant, key] = (id, fingerprint, position)
        return known

    def _lanes_of(self, tasks: Sequence[NewTask]) -> list[int]:
        lanes, last, last_id = [], None, 0
        for task in tasks:
            if task.lane is not last:
                last, last_id = task.lane, self.lane(task.lane)
            lanes.append(last_id)
        return lanes

    def _insert(self, tasks: Sequence[NewTask], seqs: range, lanes: Sequence[int]) -> None:
        ends = iter(self.take_numbers("finish", sum(task.error is not None for task in tasks)))
        place = self.place
        rows: list[tuple[Any, ...]] = []
        for task, seq, lane in zip(tasks, seqs, lanes, strict=True):
            created_at, due_at, error = task.created_at, task.due_at, task.error
            if error is not None:
                state = ("failed", 0)
            else:
                state = ("queued", 1 if due_at is None or due_at <= created_at else 2)
            band, key = task.rank
            rows.append(
                (
                    seq, task.id, task.type, *state, lane, band, key, task.priority, task.tenant,
                    created_at, task.entered_at, due_at, task.deadline, None if error is None else created_at,
                    task.batch, task.position, None if error is None else next(ends), task.idempotency_key,
                    task.fingerprint, task.retry_of, task.options, task.metadata, error, place(task.payload),
                    task.flow, task.standing, task.program,
                )
            )  # fmt: skip
        self.db.many("add_task", rows)

    def _count(self, tasks: Sequence[NewTask], lanes: Sequence[int]) -> None:
        counts = Counter(
            (task.batch, lane, "queued" if task.error is None else "failed", task.priority)
            for task, lane in zip(tasks, lanes, strict=True)
        )
        for (batch, lane, status, priority), count in counts.items():
            self.tally(batch, lane, status, priority, count)

    def _tell(self, tasks: Sequence[NewTask], seqs: range) -> None:
        self.events_all(
            (seq, task.created_at, "submitted", None) for task, seq in zip(tasks, seqs, strict=True)
        )
        self.events_all(
            (seq, task.created_at, "finished", _FAILED_DATA)
            for task, seq in zip(tasks, seqs, strict=True)
            if task.error is not None
        )

    def _inherit(self, retry_of: str, seq: int) -> None:
        """Copy the journal of the task `retry_of`."""
        self.flush()
        if self.db.do("inherit_steps", (retry_of, seq)):
            self.db.do("inherit_contents", (seq,))
            self.db.do("mark_inherited", (seq,))


def _answer(task: NewTask, known: Known) -> AddOutcome:
    id, fingerprint, position = known
    if fingerprint == task.fingerprint:
        return Existing(id, position)
    return IdempotencyConflict(
        f"idempotency key {task.idempotency_key!r} was used by task {id} with other data; "
        "use another key, or the same data"
    )
