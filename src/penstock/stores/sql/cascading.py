"""What the end of a task means to those that wait for it, and the end of tasks that nobody runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from penstock.model.waits import TASK
from penstock.stores.sql.awaiting import Awaiting
from penstock.stores.sql.grouping import Grouping
from penstock.stores.sql.session import Row, as_list

FINISHED_DATA = {status: f'{{"status":"{status}"}}' for status in ("completed", "failed", "cancelled")}


@dataclass(frozen=True, slots=True)
class Followed:
    """What followed from the ends of tasks, as `Ended` tells it."""

    lanes: tuple[int, ...] = ()
    due_at: float | None = None
    failed: tuple[str, ...] = ()


NOTHING = Followed()


class Cascading(Awaiting, Grouping):
    """The base of the verbs that end tasks. Rows of tasks are (seq, id, status, lane, batch, priority)."""

    def end_waiting(
        self,
        tasks: Sequence[Row],
        status: str,
        at: float,
        errors: Sequence[str | None],
        consequence: bool = False,
    ) -> None:
        """End tasks that no claim holds; as a `consequence` of the end of others that they needed."""
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
        ends = [(row[0], status) for row in tasks]
        self.count_in_groups(ends, at, consequence)
        self.let_go(ends, at)

    def let_go(self, ends: Sequence[tuple[int, str]], at: float) -> None:
        """Tasks ended, (seq, status): whoever waits for them looks, and what they waited for, were sent and
        had started is let go."""
        if not self.counter("awaits") and not self.counter("mail") and not self.counter("children"):
            return
        self.drop_waits(as_list(seq for seq, _ in ends))
        self.wake([f"{TASK}{seq}" for seq, _ in ends], at)
        if self.counter("children") and (broken := [seq for seq, status in ends if status != "completed"]):
            self._cancel_children(broken, at)

    def _cancel_children(self, parents: Sequence[int], at: float) -> None:
        """Cancel what these tasks had started; theirs come after them, one generation at a time, for families
        may be of any depth."""
        self.childless.append(parents)
        if len(self.childless) > 1:
            return  # a call further out goes on with them
        try:
            for generation in self.childless:
                self._bequeath(as_list(generation))
                self.cancel_open(self.db.rows("open_children", (as_list(generation),)), at)
        finally:
            self.childless = []

    def _bequeath(self, parents: str) -> None:
        """Children of these that other tasks have too become theirs."""
        heirs = {task: (parent, detached) for task, parent, detached in self.db.rows("heirs", (parents,))}
        if heirs:
            self.db.many("inherit_child", [(task, *heir) for task, heir in heirs.items()])

    def cancel_open(self, tasks: Sequence[Row], at: float) -> None:
        """Cancel tasks because others ended: those that wait at once, for running ones it is asked."""
        if not tasks:
            return
        running = [row[0] for row in tasks if row[2] == "running"]
        for seq in running:
            self.db.do("ask_control", ("cancel", seq, at))
        self.doomed += running
        waiting = [row for row in tasks if row[2] != "running"]
        self.end_waiting(waiting, "cancelled", at, [None] * len(waiting))
        self.follow((), {row[0]: (row[1], "cancelled") for row in waiting}, at)
        self.ended_besides = self.ended_besides or bool(waiting)

    def count_in_groups(self, ends: Sequence[tuple[int, str]], at: float, consequence: bool = False) -> None:
        """Tasks ended, (seq, status): as members of groups, or as those who led one."""
        if self.counter("groups"):
            led = [id for (id,) in self.db.rows("leading", (as_list(seq for seq, _ in ends),))]
            self.close_led(led, at)
        self.count_members(ends, at, consequence)

    def close_group(self, id: int, now: float) -> tuple[int, ...]:
        return self.close_led([id], now)

    def close_led(self, ids: Sequence[int], at: float) -> tuple[int, ...]:
        if not ids or not (closed := self.db.do("close_groups", (as_list(ids),))):
            return ()
        self.set_counter("groups", self.counter("groups") - closed)
        if not self.counter("members"):
            return ()
        members = self.db.rows("open_members", (as_list(ids),))
        running = [row[0] for row in members if row[2] == "running"]
        for seq in running:
            self.db.do("ask_control", ("cancel", seq, at))
        self.doomed += running
        waiting = [row for row in members if row[2] != "running"]
        self.end_waiting(waiting, "cancelled", at, [None] * len(waiting))
        self.follow((), {row[0]: (row[1], "cancelled") for row in waiting}, at)
        return tuple(running)

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
        self.line_up([task for task, left in counted if left == 1], at)
        free = as_list(task for task, left in counted if left == 0)
        return self._unblock(free, at) if free != "[]" else ((), None)

    def release(self, listed: str, at: float) -> None:
        lanes, due_at = self._unblock(listed, at)
        self.freed.update(lanes)
        if due_at is not None:
            self.freed_due = min(due_at, self.freed_due or due_at)

    def _unblock(self, listed: str, at: float) -> tuple[tuple[int, ...], float | None]:
        """The lanes in which these tasks became claimable, or when the first of them does."""
        self._forget_blocked(listed)
        freed = sorted(row for row in self.db.rows("unblock", (listed, at)) if row[6] == "queued")
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
            self.end_waiting([row[1:] for row in found], "failed", at, errors, consequence=True)
            failed += [row[2] for row in found]
            broken = {row[1]: (row[2], "failed") for row in found}
        return tuple(failed)


def dependency_error(id: str, status: str) -> str:
    """The error of a task that needed the task `id`, which ended in `status`."""
    how = "was cancelled" if status == "cancelled" else "failed"
    return json.dumps(
        {"code": "dependency_failed", "message": f"it waited for task {id}, which {how}", "task": id}
    )
