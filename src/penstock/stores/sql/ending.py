"""The end of a claim: a task is finished, or goes back to wait."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from penstock.model.states import TaskStatus
from penstock.model.task import Claimed, Ended, Finish, PutBack
from penstock.stores.sql.cascading import FINISHED_DATA
from penstock.stores.sql.expiring import Expiring
from penstock.stores.sql.session import as_list

_KEPT, _LOST = Ended(True), Ended(False)
_PUT_BACK_KINDS = {"queued": "put_back", "retrying": "retrying", "suspended": "suspended"}


class Ending(Expiring):
    """`finish` and `put_back`: both fenced by (seq, claim_no)."""

    def finish(self, ends: Sequence[Finish]) -> list[Ended]:
        numbers = self.take_numbers("finish", len(ends))
        rows = [
            (
                end.status.value, end.at, no, self.place(end.result) if end.keep or end.task.batch else None,
                end.error, end.task.seq, end.task.claim_no,
            )
            for end, no in zip(ends, numbers, strict=True)
        ]  # fmt: skip
        if self.db.many("finish", rows) == len(ends):
            return [self._close(ends)] * len(ends)
        ended: dict[int, int] = dict(self.db.rows("finished_nos", (as_list(end.task.seq for end in ends),)))
        kept = [ended.get(end.task.seq) == no for end, no in zip(ends, numbers, strict=True)]
        self.drop_texts(row[3] for row, landed in zip(rows, kept, strict=True) if not landed)
        outcome = self._close([end for end, landed in zip(ends, kept, strict=True) if landed])
        return [outcome if landed else _LOST for landed in kept]

    def _close(self, ends: Sequence[Finish]) -> Ended:
        """Count and tell of the tasks that ended, drop what is not to be kept of them, and see to those that
        waited for them."""
        moves = Counter((end.task.batch, end.task.lane, end.task.priority, end.status.value) for end in ends)
        for (batch, lane, priority, status), count in moves.items():
            self.move(batch, lane, priority, "running", status, count)
        self.events_all((end.task.seq, end.at, "finished", FINISHED_DATA[end.status.value]) for end in ends)
        queued = ran = 0.0
        for end in ends:
            task = end.task
            queued += task.started_at - max(task.created_at, task.entered_at, task.freed_at or 0.0)
            ran += end.at - task.started_at
        self.total("processed", len(ends))
        self.total("queue_seconds", queued)
        self.total("run_seconds", ran - self.seconds_away([end.task.seq for end in ends]))
        dropped = [end.task for end in ends if not end.keep]
        if dropped:
            self._forget(dropped)
        self.fade_later(ends)
        statuses = [(end.task.seq, end.status.value) for end in ends]
        self.count_in_groups(statuses, ends[-1].at if ends else 0.0)
        self.let_go(statuses, ends[-1].at if ends else 0.0)
        ended = self._followed(ends) if self.counter("blocked") else _KEPT
        return self._with_others(ended) if self.freed or self.doomed or self.freed_due is not None else ended

    def _with_others(self, ended: Ended) -> Ended:
        """And what these ends set off in groups."""
        due_at = min((at for at in (ended.due_at, self.freed_due) if at is not None), default=None)
        lanes = tuple(sorted({*ended.lanes, *self.freed}))
        ended = replace(ended, lanes=lanes, due_at=due_at, doomed=tuple(self.doomed))
        self.freed, self.freed_due, self.doomed = set(), None, []
        return ended

    def _followed(self, ends: Sequence[Finish]) -> Ended:
        completed = [end.task.seq for end in ends if end.status is TaskStatus.COMPLETED]
        broken = {
            end.task.seq: (end.task.id, end.status.value)
            for end in ends
            if end.status is not TaskStatus.COMPLETED
        }
        followed = self.follow(completed, broken, max((end.at for end in ends), default=0.0))
        return Ended(True, followed.lanes, followed.due_at, followed.failed)

    def _forget(self, tasks: Sequence[Claimed]) -> None:
        self.forget_steps([task.seq for task in tasks])
        # The writer of a batch's files still needs both texts; `drop_written` takes them.
        self.forget_texts([task.seq for task in tasks if task.batch is None])

    def forget_steps(self, seqs: Sequence[int]) -> None:
        """Empty the journals of tasks."""
        listed = as_list(seqs)
        for hash, count in self.db.rows("large_steps", (listed,)):
            self.drop_content(hash, count)
        self.db.do("forget_steps", (listed,))

    def forget_texts(self, seqs: Sequence[int]) -> None:
        """Drop the payloads and results of tasks."""
        listed = as_list(seqs)
        for texts in self.db.rows("large_texts", (listed,)):
            self.drop_texts(texts)
        self.db.do("forget_texts", (listed,))

    def put_back(self, returns: Sequence[PutBack]) -> list[bool]:
        returns = self._not_suspended(returns)
        rows = [_put_back_row(back) for back in returns]
        self.db.savepoint()
        if self.db.many("put_back", rows) == len(returns):
            self.db.keep()
            outcomes = [True] * len(returns)
        else:
            self.db.undo()
            outcomes = [self.db.do("put_back", row) == 1 for row in rows]
        for back, landed in zip(returns, outcomes, strict=True):
            if landed:
                task, status = back.task, back.status.value
                self.move(task.batch, task.lane, task.priority, "running", status)
                self.event(task.seq, back.at, _PUT_BACK_KINDS[status], _put_back_data(back))
        self._put_away([back for back, landed in zip(returns, outcomes, strict=True) if landed])
        return outcomes

    def _not_suspended(self, returns: Sequence[PutBack]) -> Sequence[PutBack]:
        """These put-backs, of which those whose tasks have something to look at by now do not suspend."""
        suspended = [back.task.seq for back in returns if back.status is TaskStatus.SUSPENDED]
        wanted = self.still_wanted(suspended) if suspended else ()
        if not wanted:
            return returns
        self.freed.update(back.task.lane for back in returns if back.task.seq in wanted)
        return [
            replace(back, status=TaskStatus.QUEUED, due_at=None) if back.task.seq in wanted else back
            for back in returns
        ]

    def _put_away(self, returns: Sequence[PutBack]) -> None:
        """Begin to count how long tasks are suspended, and cancel those of which it was asked while they left
        their node."""
        suspended = [(back.at, back.task.seq) for back in returns if back.status is TaskStatus.SUSPENDED]
        if suspended:
            self.db.many("put_away", suspended)
            self.set_counter("suspended", self.counter("suspended") + len(suspended))
        asked = self.db.rows("cancels_asked", (as_list(back.task.seq for back in returns),))
        if asked:
            self.cancel_open(asked, max(back.at for back in returns))


def _put_back_row(back: PutBack) -> tuple[Any, ...]:
    if back.status not in (TaskStatus.QUEUED, TaskStatus.RETRYING, TaskStatus.SUSPENDED):
        raise ValueError(f"a task is not put back as {back.status}")
    if back.due_at is None:
        ready = 0 if back.status is TaskStatus.SUSPENDED else 1
    else:
        ready = 1 if back.due_at <= back.at and back.status is not TaskStatus.SUSPENDED else 2
    attempts = 1 if back.status is TaskStatus.RETRYING else 0
    task = back.task
    return (
        back.status.value, ready, attempts, back.rank.band, back.rank.key, back.flow, back.standing,
        back.due_at, back.error, task.seq, task.claim_no,
    )  # fmt: skip


def _put_back_data(back: PutBack) -> str | None:
    data: dict[str, Any] = {}
    if back.due_at is not None:
        data["due_at"] = back.due_at
    if back.error is not None:
        data["error"] = json.loads(back.error)
    return json.dumps(data) if data else None
