"""What is read of threads, synchronously; reading is the same for both halves of the checkpointer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple, DeltaChannelHistory
from langgraph.checkpoint.serde.base import SerializerProtocol

from penstock.errors import ConfigurationError
from penstock.integrations.langgraph.access import Access
from penstock.integrations.langgraph.codec import Codec, config_of, place
from penstock.model.checkpoint import (
    CheckpointAt,
    CheckpointFilter,
    StoredCheckpoint,
    ThreadView,
    TypedBytes,
)

# Checkpoints that are read together; their states are in memory at once.
PAGE = 20


class ThreadReading(BaseCheckpointSaver[str]):
    """Checkpoints and threads as they stand. `ttl`: seconds after its last write a thread is dropped."""

    def __init__(
        self, access: Access, ttl: float | None = None, serde: SerializerProtocol | None = None
    ) -> None:
        super().__init__(serde=serde)
        if ttl is not None and not ttl > 0:
            raise ConfigurationError(f"ttl must be more than 0 seconds, not {ttl!r}")
        self.ttl = ttl
        self._access = access

    @property
    def _codec(self) -> Codec:
        # Not kept: `with_allowlist` makes a copy of the saver and changes its serde.
        return Codec(self.serde)

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        at = place(config)
        stored = self._access.read(lambda reader: reader.checkpoint(at))
        return None if stored is None else self._codec.tuple(stored)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        where = self._matching(config, filter, before)
        after: StoredCheckpoint | None = None
        while page := self._page(where, after, limit):
            yield from map(self._codec.tuple, page)
            after = page[-1]
            limit = None if limit is None else limit - len(page)
            if len(page) < PAGE:
                return

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        if not channels:
            return {}
        at, codec = place(config), self._codec
        pasts = self._access.read(lambda reader: reader.channel_pasts(at, channels))
        found: dict[str, DeltaChannelHistory] = {}
        for channel, past in pasts.items():
            found[channel] = {"writes": codec.pending(past.writes)}
            if past.seed is not None:
                found[channel]["seed"] = codec.decode(past.seed)
        return found

    def threads(self, prefix: str = "", limit: int = 100, after: str = "") -> Sequence[ThreadView]:
        """Threads whose ids begin so, by id; `after` is the last one of the page before."""
        return self._access.read(lambda reader: reader.threads(prefix, after, limit))

    def state(self, thread_id: str, checkpoint_ns: str = "") -> dict[str, Any] | None:
        """The channels of a thread's newest checkpoint, without its graph; `None` without such a thread.

        Channels that are made again from writes (`DeltaChannel`) are not in it between their snapshots.
        """
        found = self.get_tuple(config_of(CheckpointAt(thread_id, checkpoint_ns)))
        return None if found is None else found.checkpoint["channel_values"]

    def _matching(
        self, config: RunnableConfig | None, filter: dict[str, Any] | None, before: RunnableConfig | None
    ) -> CheckpointFilter:
        given = (config or {}).get("configurable") or {}
        thread, codec = given.get("thread_id"), self._codec

        def accept(metadata: TypedBytes) -> bool:
            said = codec.unzip(metadata)
            return all(said.get(key) == value for key, value in (filter or {}).items())

        return CheckpointFilter(
            None if thread is None else str(thread),
            given.get("checkpoint_ns"),
            given.get("checkpoint_id") or None,
            ((before or {}).get("configurable") or {}).get("checkpoint_id"),
            accept if filter else None,
        )

    def _page(
        self, where: CheckpointFilter, after: StoredCheckpoint | None, limit: int | None
    ) -> Sequence[StoredCheckpoint]:
        size = PAGE if limit is None else min(PAGE, limit)
        return self._access.read(lambda reader: reader.checkpoints(where, after, size))
