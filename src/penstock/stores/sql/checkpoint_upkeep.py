"""Removing and copying checkpoints of graphs."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from penstock.model.checkpoint import CheckpointAt
from penstock.stores.sql.checkpoints import CheckpointWriting
from penstock.stores.sql.session import Row, as_list

# Threads that are dropped in one transaction.
IDLE_AT_ONCE = 20


class CheckpointUpkeep(CheckpointWriting):
    """`drop_threads`, `drop_runs`, `copy_thread`, `keep_newest`, `drop_idle_threads`."""

    def drop_threads(self, ids: Sequence[str]) -> int:
        if not ids:
            return 0
        listed = as_list([no for no, _ in self.db.rows("spaces_of_threads", (as_list(ids),))])
        self.drop_contents(self.db.rows("forget_space_writes", (listed,)))
        self.db.do("forget_space_uses", (listed,))
        self.drop_contents(self.db.rows("forget_space_checkpoints", (listed,)))
        self.drop_logs(self.db.rows("forget_space_values", (listed,)))
        self.db.do("forget_spaces", (listed,))
        return self.db.do("forget_threads", (as_list(ids),))

    def drop_idle_threads(self, now: float, limit: int = IDLE_AT_ONCE) -> int:
        return self.drop_threads([id for (id,) in self.db.rows("idle_threads", (now, limit))])

    def drop_runs(self, runs: Sequence[str]) -> list[str]:
        found = self.db.rows("checkpoints_of_runs", (as_list(runs),)) if runs else []
        spaces: defaultdict[int, list[Row]] = defaultdict(list)
        for row in found:
            spaces[row[1]].append(row)
        robbed: dict[str, None] = {}
        for space, rows in spaces.items():
            ids = [row[2] for row in rows]
            self._drop(space, [row[0] for row in rows], ids)
            robbed.update((id, None) for (id,) in self.db.rows("robbed_threads", (space, as_list(ids))))
        empty = self.db.rows("forget_empty_threads", (as_list({row[3] for row in found}),))
        self.db.do("forget_spaces_of_threads", (as_list(no for (no,) in empty),))
        return list(robbed)

    def keep_newest(self, threads: Sequence[str]) -> int:
        gone = 0
        for space, _ in self.db.rows("spaces_of_threads", (as_list(threads),)) if threads else []:
            listed = self.db.rows("checkpoints_of_space", (space,))
            if not listed:
                continue
            newest = listed[0]
            kept = self._needed_checkpoints(space, *newest)
            dropped = [(no, id) for no, id in listed if no not in kept]
            self._drop(space, [no for no, _ in dropped], [id for _, id in dropped])
            self.drop_contents(self.db.rows("forget_stray_writes", (space, newest[1])))
            gone += len(dropped)
        return gone

    def copy_thread(self, source: str, target: str, now: float, ttl: float | None = None) -> None:
        if source == target:
            return
        for space, ns in self.db.rows("spaces_of_threads", (as_list([source]),)):
            self._copy_space(space, self.space(CheckpointAt(target, ns), now, ttl))

    def _copy_space(self, old: int, new: int) -> None:
        self.flush()  # shares are counted on rows that are there
        common = self.db.rows("common_checkpoints", (old, new))
        written = [id for (id,) in self.db.rows("writes_there", (old,))]
        self._drop(new, [no for no, _ in common], [*(id for _, id in common), *written])
        logs = self.db.rows("copy_values", (old, new))
        self._share("share_log", logs)
        self._share("share_content", self.db.rows("copy_checkpoints", (old, new)))
        self.db.do("copy_uses", (old, new))
        self._share("share_content", self.db.rows("copy_writes", (old, new)))

    def _share(self, statement: str, rows: Iterable[Row]) -> None:
        self.db.many(statement, list(Counter(key for (key,) in rows if key is not None).items()))

    def _needed_checkpoints(self, space: int, no: int, id: str) -> set[int]:
        """A checkpoint and the ancestors back to the nearest value of each channel that it makes again."""
        ((rebuilt,),) = self.db.rows("rebuilt_of", (no,))
        kept = {no}
        wanted = set(json.loads(rebuilt)) if rebuilt is not None else set()
        for stride, _ in self.ancestors(space, id):
            if not wanted:
                break
            nearest = self.values_near(stride, wanted)
            missing = wanted - nearest.keys()
            last = len(stride) if missing else max(place for place, _ in nearest.values())
            kept.update(stride[: last + 1])
            wanted = missing
        return kept

    def _drop(self, space: int, nos: Sequence[int], ids: Sequence[str]) -> None:
        """Forget checkpoints with their pending writes, and the values that no other has."""
        self.forget_checkpoints(nos)
        self.drop_contents(self.db.rows("forget_writes_of", (space, as_list(ids))))
        self.drop_logs(self.db.rows("forget_unused_values", (space,)))
