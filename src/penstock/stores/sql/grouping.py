"""Groups: their members are counted where they end, and get the places that are free."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

from penstock.model.group import Group, MemberView, NewMember
from penstock.model.states import TaskStatus
from penstock.model.waits import GROUP
from penstock.stores.sql.session import Row, Session, WritingSession, as_list

_WAITS, _NEXT, _TAKEN = 0, 1, 2
"""States of `places`: for other tasks, for a place, not any more."""


class GroupReading(Session):
    """`group`, `group_of`, `members`, `undoable`, `member_ids`, `member_needs`, `repeated_members`,
    `inputs_of`."""

    def group(self, id: int) -> Group | None:
        found = self.db.rows("group", (id,))
        if not found:
            return None
        _, total, open, completed, failed, cancelled, stopped_by, places, closed, stops = found[0]
        counts = (total, open, completed, failed, cancelled)
        return Group(id, *counts, stopped_by, places, bool(closed), bool(stops))

    def group_of(self, seq: int) -> tuple[int, str] | None:
        found = self.db.rows("group_of", (seq,))
        return (found[0][0], found[0][1]) if found else None

    def members(
        self, id: int, nodes: Sequence[str] = (), limit: int = -1, after: int = 0
    ) -> list[MemberView]:
        rows = (
            self.db.rows("members_named", (id, as_list(nodes)))
            if nodes
            else self.db.rows("members", (id, after, limit))
        )
        return [_member(row) for row in rows if row[0] > after]

    def undoable(self, id: int) -> list[MemberView]:
        return [_member(row) for row in self.db.rows("undoable", (id,))]

    def member_ids(self, id: int) -> dict[str, str]:
        return dict(self.db.rows("member_ids", (id,)))

    def member_needs(self, id: int) -> dict[str, list[str]]:
        needs: dict[str, list[str]] = {}
        for node, needed in self.db.rows("member_needs", (id,)):
            needs.setdefault(node, []).append(needed)
        return needs

    def repeated_members(self, after: int) -> list[tuple[int, str, str, str]]:
        return list(self.db.rows("repeated_members", (after,)))

    def inputs_of(self, seqs: Sequence[int]) -> dict[int, dict[str, tuple[TaskStatus, str | None]]]:
        rows = self.db.rows("inputs_of", (as_list(seqs),))
        large = self.expand(row[3] for row in rows)
        found: dict[int, dict[str, tuple[TaskStatus, str | None]]] = {}
        for seq, id, status, result in rows:
            text = None if result is None else large.get(result, result)
            found.setdefault(seq, {})[id] = (TaskStatus(status), text)
        return found


class Grouping(WritingSession):
    """`open_group`, `join_group`, and what the end of a member means to its group."""

    def open_group(self, id: int, places: int | None = None, stops: bool = True) -> None:
        self.db.do("open_group", (id, places, int(stops)))
        self.set_counter("groups", self.counter("groups") + 1)

    def join_group(self, id: int, members: Sequence[NewMember]) -> bool:
        group = self.db.rows("group", (id,))
        if not group or group[0][8]:
            return False
        self.db.many("join_group", [(one.seq, id, one.node, int(one.stops), one.undo) for one in members])
        rows = self.db.rows("joined", (as_list(one.seq for one in members),))
        ended = [(seq, status) for seq, status, *_, no in rows if no is not None]
        self.db.do("grow_group", (id, len(members)))
        self.set_counter("members", self.counter("members") + len(members))
        if group[0][7] is not None:
            self._need_places(id, [row for row in rows if row[6] is None])
        self.count_members(ended, max((row[5] for row in rows), default=0.0), consequence=True)
        return True

    def count_members(self, ends: Sequence[tuple[int, str]], at: float, consequence: bool = False) -> None:
        """Tasks ended, (seq, status): those that are members are counted, and wake who waits for their group.
        A `consequence` of another end does not stop a group."""
        if not ends or not self.counter("members"):
            return
        statuses = dict(ends)
        found = self.db.rows("members_among", (as_list(statuses),))
        if not found:
            return
        self.set_counter("members", self.counter("members") - len(found))
        for id, members in _by_group(found).items():
            counts = dict.fromkeys(("completed", "failed", "cancelled"), 0)
            for seq, _ in members:
                counts[statuses[seq]] += 1
            culprits = [seq for seq, stops in members if stops and statuses[seq] != "completed"]
            self._count_group(id, counts, None if consequence else min(culprits, default=None), at)
        if self.counter("places"):
            self._give_places([row[0] for row in found], at)

    def _count_group(self, id: int, counts: dict[str, int], culprit: int | None, at: float) -> None:
        [(left, closed)] = self.db.rows("count_group", (id, sum(counts.values()), *counts.values()))
        if left == 0:
            self.wake((f"{GROUP}{id}",), at)
        if culprit is not None and not closed:
            self.db.do("stop_group", (id, culprit))
            self.close_led((id,), at)

    def wake(self, whats: Sequence[str], at: float) -> None:
        """Somebody who waits for this has something to look at."""

    def close_led(self, ids: Sequence[int], at: float) -> tuple[int, ...]:
        """Nobody joins these groups any more, and what is open of them is cancelled; the numbers of those
        that run."""
        return ()

    # Places

    def _need_places(self, id: int, rows: Sequence[Row]) -> None:
        """New members wait for a place besides what they wait for anyway; the first get theirs at once."""
        blocked = [row for row in rows if row[1] == "blocked"]
        free = [row for row in rows if row[1] != "blocked"]
        self.db.many(
            "need_place",
            [(row[0], id, -row[4], _WAITS if row[1] == "blocked" else _NEXT) for row in rows],
        )
        self.db.do("block_once_more", (as_list(row[0] for row in blocked),))
        self.db.many("add_blocked", [(row[0], 1) for row in free])
        self.db.do("hold_back", (as_list(row[0] for row in free),))
        for _, status, lane, batch, priority, *_ in free:
            self.move(batch, lane, priority, status, "blocked")
        self.set_counter("blocked", self.counter("blocked") + len(free))
        self.set_counter("places", self.counter("places") + len(rows))
        self._fill([id], rows[0][5] if rows else 0.0)

    def _give_places(self, ended: Collection[int], at: float) -> None:
        """The places of members that ended go to others."""
        gone = self.db.rows("give_places", (as_list(ended),))
        if not gone:
            return
        self.set_counter("places", self.counter("places") - len(gone))
        freed: defaultdict[int, int] = defaultdict(int)
        for id, state in gone:
            freed[id] += state == _TAKEN
        self.db.many("free_places", list(freed.items()))
        self._fill(freed, at)

    def line_up(self, seqs: Collection[int], at: float) -> None:
        """These blocked tasks wait for one thing more; those for which it is a place wait in line for it."""
        if seqs and self.counter("places"):
            self._fill({id for (id,) in self.db.rows("next_for_place", (as_list(seqs),))}, at)

    def _fill(self, ids: Collection[int], at: float) -> None:
        """Give what is free of the places of groups to those who are next."""
        for id in ids:
            seqs = [seq for (seq,) in self.db.rows("take_places", (id,))]
            if seqs:
                self.db.do("places_taken", (id, len(seqs)))
                self.release(as_list(seqs), at)

    def release(self, listed: str, at: float) -> None:
        """These blocked tasks wait for nothing any more."""


def _member(row: Row) -> MemberView:
    seq, id, node, type, status, stops, *rest = row
    return MemberView(seq, id, node, type, TaskStatus(status), bool(stops), *rest)


def _by_group(rows: Sequence[Row]) -> dict[int, list[tuple[int, bool]]]:
    groups: dict[int, list[tuple[int, bool]]] = {}
    for seq, id, stops in rows:
        groups.setdefault(id, []).append((seq, bool(stops)))
    return groups
