"""What people ask of tasks: cancel, pause, resume, another rank; and how other processes ask it."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.model.rank import Rank
from penstock.model.states import FINAL, PAUSABLE, TaskStatus
from penstock.stores.contract import Control, TaskFilter
from penstock.stores.sql.cascading import Cascading
from penstock.stores.sql.choosing import Choosing
from penstock.stores.sql.session import as_list

_PAUSABLE = frozenset(status.value for status in PAUSABLE)


class Steering(Cascading, Choosing):
    """`cancel`, `pause`, `resume`, `set_pause`, `rerank` and the control rows."""

    def cancel(self, where: TaskFilter, now: float) -> dict[str, bool]:
        chosen = self.chosen(where)
        outcomes = {id: TaskStatus(status) not in FINAL for _, id, status, *_ in chosen}
        waiting = [row for row in chosen if outcomes[row[1]] and row[2] != "running"]
        self.end_waiting(waiting, "cancelled", now, [None] * len(waiting))
        self.follow((), {row[0]: (row[1], "cancelled") for row in waiting}, now)
        for seq, _, status, *_ in chosen:
            if status == "running":
                self.ask_control("cancel", seq, now)
        return outcomes

    def pause(self, where: TaskFilter, now: float) -> int:
        chosen = [row for row in self.chosen(where) if row[2] in _PAUSABLE]
        self.db.do("pause", (as_list(row[0] for row in chosen),))
        for seq, _, status, lane, batch, priority in chosen:
            self.move(batch, lane, priority, status, "paused")
            self.event(seq, now, "paused")
        return len(chosen)

    def resume(self, where: TaskFilter, now: float) -> int:
        chosen = {row[0]: row for row in self.chosen(where) if _resumable(row[2], where)}
        for seq, status in sorted(self.db.rows("resume", (as_list(chosen), now))):
            _, _, old, lane, batch, priority = chosen[seq]
            self.move(batch, lane, priority, old, status)
            self.event(seq, now, "resumed")
        return len(chosen)

    def set_pause(self, scope: str, paused: bool) -> None:
        self.db.do("add_pause" if paused else "drop_pause", (scope,))

    def rerank(self, ranks: Sequence[tuple[int, Rank, str | None]]) -> None:
        self.db.many("rerank", [(band, key, flow, seq) for seq, (band, key), flow in ranks])

    def controls(self, after: int) -> list[Control]:
        return [Control(*row) for row in self.db.rows("controls", (after,))]

    def ask_control(self, kind: str, task: int | None, now: float) -> None:
        self.db.do("ask_control", (kind, task, now))


def _resumable(status: str, where: TaskFilter) -> bool:
    """Paused tasks; suspended ones only when they are named, for their handlers wait for something."""
    if status == "suspended":
        return bool(where.ids) or TaskStatus.SUSPENDED in where.statuses
    return status == "paused"
