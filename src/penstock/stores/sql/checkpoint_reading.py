"""Checkpoints of graphs as they stand."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from penstock.model.checkpoint import (
    ChannelPast,
    ChannelWrite,
    CheckpointAt,
    CheckpointFilter,
    StoredCheckpoint,
    ThreadView,
    TypedBytes,
)
from penstock.stores.sql.session import Row, Session, as_list

# Ancestors that are looked at together: most pasts end within so many.
STRIDE = 128

# Behind every id.
_LAST = "\U0010ffff", 1 << 62


class CheckpointReading(Session):
    """`checkpoint`, `checkpoints`, `channel_pasts`, `threads`."""

    def checkpoint(self, at: CheckpointAt) -> StoredCheckpoint | None:
        for (space,) in self.look("space_named", (at.thread, at.ns)):
            found = self._number(space, at.id)
            if found is not None:
                return self._whole([found])[0]
        return None

    def checkpoints(
        self, where: CheckpointFilter, after: StoredCheckpoint | None = None, limit: int = 20
    ) -> list[StoredCheckpoint]:
        behind = _LAST if after is None else self._place(after)
        found: list[int] = []
        while len(found) < limit:
            rows = self._next(where, behind, 2 * limit)
            for no, _, _, type, metadata in rows:
                if where.accept is None or where.accept(TypedBytes(type, metadata)):
                    found.append(no)
            if len(rows) < 2 * limit:
                break
            behind = rows[-1][2], rows[-1][1]
        return self._whole(found[:limit])

    def channel_pasts(self, at: CheckpointAt, channels: Sequence[str]) -> Mapping[str, ChannelPast]:
        past = _Pasts(channels)
        for (space,) in self.look("space_named", (at.thread, at.ns)):
            for strides, (nos, ids) in enumerate(self.ancestors(space, at.id)):
                if strides == 0:
                    nos, ids = nos[1:], ids[1:]  # the checkpoint itself
                if not past.open:
                    break
                self._look_back(space, nos, ids, past)
        seeds = {row[0]: row for row in self.look("values_numbered", (as_list(past.seeds.values()),))}
        values = self._values([(no, *row[1:]) for no, row in seeds.items()])
        return {
            channel: ChannelPast(
                tuple(write for batch in reversed(past.writes[channel]) for write in batch),
                values[past.seeds[channel]][0][1] if channel in past.seeds else None,
            )
            for channel in channels
        }

    def threads(self, prefix: str = "", after: str = "", limit: int = 100) -> list[ThreadView]:
        rows = self.look("checkpoint_threads", (prefix, after, limit))
        return [
            ThreadView(id, created_at, touched_at, expires_at, count, tuple(sorted(json.loads(spaces))))
            for id, created_at, touched_at, expires_at, count, spaces in rows
        ]

    def ancestors(self, space: int, id: str | None) -> Iterator[tuple[list[int], list[str]]]:
        """Numbers and ids of a checkpoint and its ancestors, nearest first, some at a time."""
        number = self._number(space, id)
        if id is None and number is not None:
            id = self.look("checkpoint_rows", (as_list([number]),))[0][4]
        seen: set[int] = set()
        while id is not None:
            rows = [row for row in self.look("ancestors", (space, id, STRIDE - 1)) if row[0] not in seen]
            if not rows:
                return
            seen.update(row[0] for row in rows)
            yield [row[0] for row in rows], [row[1] for row in rows]
            id = rows[-1][2]

    def values_near(self, nos: Sequence[int], channels: Iterable[str]) -> dict[str, tuple[int, int]]:
        """(place in `nos`, number of the value) of the first of these checkpoints that has a value, by
        channel."""
        place = {no: position for position, no in enumerate(nos)}
        nearest: dict[str, tuple[int, int]] = {}
        for no, channel, value in self.look("values_of_channels", (as_list(nos), as_list(channels))):
            if channel not in nearest or place[no] < nearest[channel][0]:
                nearest[channel] = place[no], value
        return nearest

    def _look_back(self, space: int, nos: Sequence[int], ids: Sequence[str], past: _Pasts) -> None:
        """One stride of ancestors: the writes up to the nearest value of each channel, and that value."""
        nearest = self.values_near(nos, past.open)
        written: defaultdict[tuple[str, str], list[ChannelWrite]] = defaultdict(list)
        depth = max((nearest[channel][0] if channel in nearest else len(ids)) for channel in past.open)
        rows = self.look("writes_to_channels", (space, as_list(ids[: depth + 1]), as_list(past.open)))
        for id, write in self._writes(rows):
            written[write.channel, id].append(write)
        for channel in list(past.open):
            last = nearest[channel][0] if channel in nearest else len(ids)
            past.writes[channel] += [written[channel, id] for id in ids[: last + 1]]
            if channel in nearest:
                past.seeds[channel] = nearest[channel][1]
                past.open.remove(channel)

    def _number(self, space: int, id: str | None) -> int | None:
        if id is None:
            rows = self.look("newest_checkpoint", (space,))
        else:
            rows = self.look("checkpoint_at", (space, id))
        return rows[0][0] if rows else None

    def _next(self, where: CheckpointFilter, behind: tuple[str, int], limit: int) -> list[Row]:
        """The next checkpoints behind a place, whatever their metadata."""
        first, end = where.id or "", where.before or _LAST[0]
        if where.id is not None:
            end = min(end, where.id + "\0")  # the next text after it
        if where.thread is None and where.ns is None:
            return self.look("list_checkpoints", (first, end, *behind, limit))
        spaces = self._spaces(where)
        if len(spaces) == 1:
            end = min(end, behind[0])
            return self.look("list_checkpoints_of_space", (spaces[0], first, end, limit))
        return self.look("list_checkpoints_of_spaces", (as_list(spaces), first, end, *behind, limit))

    def _spaces(self, where: CheckpointFilter) -> list[int]:
        if where.thread is None:
            return [no for (no,) in self.look("spaces_named", (where.ns,))]
        spaces = self.look("spaces_of_threads", (as_list([where.thread]),))
        return [no for no, ns in spaces if where.ns is None or ns == where.ns]

    def _place(self, one: StoredCheckpoint) -> tuple[str, int]:
        assert one.at.id is not None
        found = self.look("space_named", (one.at.thread, one.at.ns))
        return one.at.id, found[0][0] if found else 0

    def _whole(self, nos: Sequence[int]) -> list[StoredCheckpoint]:
        """These checkpoints with all that belongs to them, largest id first."""
        if not nos:
            return []
        rows = self.look("checkpoint_rows", (as_list(nos),))
        values = self._values(self.look("values_of_checkpoints", (as_list(nos),)))
        writes = self._writes_of(rows)
        large = self.fetch_contents(row[7] for row in rows if row[7] is not None)
        return [
            StoredCheckpoint(
                CheckpointAt(thread, ns, id),
                parent,
                TypedBytes(type, body if content is None else large[content]),
                TypedBytes(metadata_type, metadata),
                tuple(values[no]),
                tuple(writes[space, id]),
            )
            for no, space, thread, ns, id, parent, type, content, body, metadata_type, metadata in rows
        ]

    def _writes_of(self, rows: Sequence[Row]) -> defaultdict[tuple[int, str], list[ChannelWrite]]:
        ids: defaultdict[int, list[str]] = defaultdict(list)
        for row in rows:
            ids[row[1]].append(row[4])
        found: defaultdict[tuple[int, str], list[ChannelWrite]] = defaultdict(list)
        for space, listed in ids.items():
            for id, write in self._writes(self.look("writes_of_checkpoints", (space, as_list(listed)))):
                found[space, id].append(write)
        return found

    def _writes(self, rows: Sequence[Row]) -> list[tuple[str, ChannelWrite]]:
        large = self.fetch_contents(row[6] for row in rows if row[6] is not None)
        found: list[tuple[str, ChannelWrite]] = []
        for id, task, index, channel, type, head, content, body, path in rows:
            value = TypedBytes(type, body if content is None else large[content], head)
            found.append((id, ChannelWrite(task, index, channel, value, path)))
        return found

    def _values(self, rows: Sequence[Row]) -> defaultdict[int, list[tuple[str, TypedBytes]]]:
        """(channel, value) by the number in the first column; a log is read once for all that name it."""
        longest: dict[int, int] = {}
        for _, _, _, _, log, length, _ in rows:
            if log is not None:
                longest[log] = max(length, longest.get(log, 0))
        logs = {log: self._log(log, length) for log, length in longest.items()}
        found: defaultdict[int, list[tuple[str, TypedBytes]]] = defaultdict(list)
        for no, channel, type, head, log, length, body in rows:
            whole = body if log is None else logs[log][:length]
            found[no].append((channel, TypedBytes(type, whole, head)))
        return found

    def _log(self, log: int, length: int) -> bytes:
        tails = self.look("tails", (log, length))
        large = self.fetch_contents(content for _, content, _ in tails if content is not None)
        return b"".join(body if content is None else large[content] for _, content, body in tails)


class _Pasts:
    """What was found while walking back; `writes` per checkpoint, nearest first."""

    def __init__(self, channels: Sequence[str]) -> None:
        self.open = list(dict.fromkeys(channels))
        self.writes: dict[str, list[list[ChannelWrite]]] = {channel: [] for channel in channels}
        self.seeds: dict[str, int] = {}
