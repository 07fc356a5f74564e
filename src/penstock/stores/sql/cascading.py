"""What the end of a task means to those that wait for it, and the end of tasks that nobody runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from penstock.stores.sql.session import Row, WritingSession, as_list

FINISHED_DATA = {status: f'{{"status":"{status}"}}' for status in ("completed", "failed", "cancelled")}


@dataclass(frozen=True, slots=True)
class Followed:
    """What followed from the ends of tasks, as `Ended` tells it."""

    lanes: tuple[int, ...] = ()
    due_at: float | None = None
    failed: tuple[str, ...] = ()


NOTHING = Followed()


class Cascading(WritingSession):
    """The base of the verbs that end tasks. Rows of tasks are (seq, id, status, lane, batch, priority)."""

    def end_waiting(self, tasks: Sequence[Row], status: str, at: float, errors: Sequence[str | None]) -> None:
        """End tasks that no claim holds."""
        if not tasks:
            return
        numbers = self.take_numbers("finish", len(tasks))
        self.db.many(
            "end_waiting",
            [(status, at, no, error, row[0]) for row, no, error in zip(tasks, numbers, errors, strict=True)],
        )
        for seq, _, old, lane, batch, priority in tasks:
            self.move(batch, lane, priority, old, status)
            self.event(seq, at, "finished", FINISHED_DATA[status])
        waited = [row[0] for row in tasks if row[2] in ("blocked", "paused")]
        if waited and self.counter("blocked"):
            self._forget_blocked(as_list(waited))

    def follow(self, completed: Sequence[int], broken: Mapping[int, tuple[str, str]], at: float) -> Followed:
        """Free what waited for tasks that completed, fail what waited for those that ended otherwise:
        `broken` tells their (id, status) by seq. Costs by the edges of these tasks."""
        if not self.counter("blocked"):
            return NOTHING
        lanes, due_at = self._free(completed, at) if completed else ((), None)
        failed = self._fail_dependents(broken, at) if broken else ()
        return Followed(lanes, due_at, failed) if lanes or failed or due_at is not None else NOTHING

    def _free(self, completed: Sequence[int], at: float) -> tuple[tuple[int, ...], float | None]:
        counted = self.db.rows("count_down", (as_list(completed),))
        free = as_list(task for task, left in counted if left == 0)
        if free == "[]":
            return (), None
        self._forget_blocked(free)
        freed = sorted(row for row in self.db.rows("unblock", (free, at)) if row[6] == "queued")
        for seq, lane, batch, priority, *_ in freed:
            self.move(batch, lane, priority, "blocked", "queued")
            self.event(seq, at, "unblocked")
        lanes = {row[1] for row in freed if row[4] == 1}
        return tuple(sorted(lanes)), min((row[5] for row in freed if row[4] == 2), default=None)

    def _forget_blocked(self, listed: str) -> None:
        """These tasks wait for no others any more."""
        self.set_counter("blocked", self.counter("blocked") - self.db.do("forget_blocked", (listed,)))

    def _fail_dependents(self, broken: Mapping[int, tuple[str, str]], at: float) -> tuple[str, ...]:
        failed: list[str] = []
        while broken and self.counter("blocked"):
            found = self.db.rows("dependents", (as_list(broken),))
            errors = [dependency_error(*broken[needs]) for needs, *_ in found]
            self.end_waiting([row[1:] for row in found], "failed", at, errors)
            failed += [row[2] for row in found]
            broken = {row[1]: (row[2], "failed") for row in found}
        return tuple(failed)


def dependency_error(id: str, status: str) -> str:
    """The error of a task that needed the task `id`, which ended in `status`."""
    how = "was cancelled" if status == "cancelled" else "failed"
    return json.dumps(
        {"code": "dependency_failed", "message": f"it waited for task {id}, which {how}", "task": id}
    )
