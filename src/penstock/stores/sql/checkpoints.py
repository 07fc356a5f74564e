"""Keeping checkpoints of graphs: what did not change is named, what only grew is continued."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence

from penstock.model.checkpoint import ChannelWrite, CheckpointAt, NewCheckpoint, TypedBytes, Version
from penstock.stores.sql.checkpoint_reading import CheckpointReading
from penstock.stores.sql.session import Row, WritingSession, as_list

# Values up to this size stand in their own row; longer ones in a log that later versions continue.
SMALL = 512

_DIGEST = 16


class CheckpointWriting(WritingSession, CheckpointReading):
    """`put_checkpoint`, `put_channel_writes`."""

    def put_checkpoint(self, new: NewCheckpoint, now: float, ttl: float | None = None) -> None:
        space = self.space(new.at, now, ttl)
        if old := self.db.rows("checkpoint_at", (space, new.id)):
            self.forget_checkpoints([no for (no,) in old])
        logs = self._logs_of_parent(space, new)
        for channel, version, value in new.values:
            self._put_value(space, (channel, version), value, logs.get(channel))
        rebuilt = as_list(new.rebuilt) if new.rebuilt else None
        row = (
            space,
            new.id,
            new.parent,
            new.run,
            rebuilt,
            new.metadata.type,
            new.metadata.data,
            new.body.type,
        )
        ((no,),) = self.db.rows("add_checkpoint", (*row, *self.inline_or_kept(new.body.data)))
        self.db.do("use_values", (no, space, json.dumps(new.versions)))

    def put_channel_writes(
        self, at: CheckpointAt, writes: Sequence[ChannelWrite], now: float, ttl: float | None = None
    ) -> None:
        space = self.space(at, now, ttl)
        for one in writes:
            old = self.db.rows("find_write", (space, at.id, one.task, one.index))
            if old and one.index >= 0:
                continue
            for no, content in old:
                self.db.do("forget_write", (no,))
                self.drop_contents([(content,)])
            row = (space, at.id, one.task, one.index, one.path, one.channel, one.value.type, one.value.head)
            self.db.do("add_write", (*row, *self.inline_or_kept(one.value.body)))

    def space(self, at: CheckpointAt, now: float, ttl: float | None) -> int:
        """The number of a namespace, made when new; its thread was touched."""
        expires_at = None if ttl is None else now + ttl
        ((thread,),) = self.db.rows("touch_thread", (at.thread, now, expires_at))
        row = (thread, at.ns)
        found = self.db.rows("find_space", row) or self.db.rows("add_space", row)
        return int(found[0][0])

    def forget_checkpoints(self, nos: Sequence[int]) -> None:
        """Without their pending writes, and without the values that nobody names then."""
        listed = as_list(nos)
        self.db.do("forget_uses", (listed,))
        self.drop_contents(self.db.rows("forget_checkpoints", (listed,)))

    def drop_contents(self, rows: Iterable[Row]) -> None:
        for (content,) in rows:
            if content is not None:
                self.drop_content(content)

    def drop_logs(self, rows: Iterable[Row]) -> None:
        """These values are gone, and with the last one of a log the log."""
        gone = Counter(log for (log,) in rows if log is not None)
        if not gone:
            return
        self.db.many("drop_log", list(gone.items()))
        dead = [no for (no,) in self.db.rows("forget_logs", (as_list(gone),))]
        self.drop_contents(self.db.rows("forget_tails", (as_list(dead),)))

    def _logs_of_parent(self, space: int, new: NewCheckpoint) -> dict[str, Row]:
        """(log, length, digest) of the parent's values that could be continued, by channel."""
        growing = [channel for channel, _, value in new.values if len(value.body) > SMALL]
        if new.parent is None or not growing:
            return {}
        return {
            row[0]: row[1:] for row in self.db.rows("logs_of_parent", (space, new.parent, as_list(growing)))
        }

    def _put_value(self, space: int, key: tuple[str, Version], value: TypedBytes, before: Row | None) -> None:
        log: int | None = None
        body: bytes | None = value.body
        if len(value.body) > SMALL:
            log, body = self._logged(value.body, before), None
        row = (value.type, value.head, log, len(value.body), body)
        if self.db.do("add_value", (space, *key, *row)) == 0:
            ((no, old),) = self.db.rows("take_value", (space, *key))
            self.db.do("replace_value", (no, *row))
            self.drop_logs([(old,)])

    def _logged(self, body: bytes, before: Row | None) -> int:
        """The log that begins with this body and ends with it: the parent's, continued, or a new one."""
        if before is not None:
            log, length, digest = before
            seen = hashlib.blake2b(body[:length], digest_size=_DIGEST)
            if len(body) >= length and seen.digest() == digest:
                tail = body[length:]
                seen.update(tail)
                self.db.do("extend_log", (log, len(body), seen.digest()))
                if tail:
                    self.db.do("add_tail", (log, length, *self.inline_or_kept(tail)))
                return int(log)
        digest = hashlib.blake2b(body, digest_size=_DIGEST).digest()
        ((log,),) = self.db.rows("add_log", (len(body), digest))
        self.db.do("add_tail", (log, 0, *self.inline_or_kept(body)))
        return int(log)
