"""What a store promises about checkpoints of graphs: a part of `contract`.

Values are bytes here. A channel's value that only grew since the parent's checkpoint costs what is new in it,
large ones are kept once by content, and nothing is written for what did not change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from penstock.model.checkpoint import (
    ChannelPast,
    ChannelWrite,
    CheckpointAt,
    CheckpointFilter,
    NewCheckpoint,
    StoredCheckpoint,
    ThreadView,
)


class CheckpointReader(Protocol):
    """What a graph asks of its threads."""

    def checkpoint(self, at: CheckpointAt) -> StoredCheckpoint | None: ...
    def checkpoints(
        self, where: CheckpointFilter, after: StoredCheckpoint | None = None, limit: int = 20
    ) -> list[StoredCheckpoint]:
        """A page of those that match, largest id first; `after` is the last one of the page before."""

    def channel_pasts(self, at: CheckpointAt, channels: Sequence[str]) -> Mapping[str, ChannelPast]:
        """The past of each of these channels along the ancestors of a checkpoint, itself left out; costs by
        the distance to the nearest value."""

    def threads(self, prefix: str = "", after: str = "", limit: int = 100) -> list[ThreadView]:
        """A page of the threads whose ids begin so, by id; `after` is the last id of the page before."""


class CheckpointWriter(Protocol):
    """Keeping what graphs put. A thread expires `ttl` seconds after its last write, never if
    that one gave none."""

    def put_checkpoint(self, new: NewCheckpoint, now: float, ttl: float | None = None) -> None:
        """Keep it, in the place of the one of its id."""

    def put_channel_writes(
        self, at: CheckpointAt, writes: Sequence[ChannelWrite], now: float, ttl: float | None = None
    ) -> None:
        """Keep writes beside a checkpoint, which may come later."""

    def drop_threads(self, ids: Sequence[str]) -> int:
        """Forget threads with all they have; how many there were."""

    def drop_runs(self, runs: Sequence[str]) -> list[str]:
        """Forget the checkpoints of these runs with their writes. Gives the ids of threads in which a
        checkpoint that stays loses ancestors from which a channel of it was to be made again."""

    def copy_thread(self, source: str, target: str, now: float, ttl: float | None = None) -> None:
        """Copy all of a thread into another; what has the same id there is replaced. Large values are
        shared."""

    def keep_newest(self, threads: Sequence[str]) -> int:
        """Forget all but the newest checkpoint of each namespace and the ancestors from which channels of it
        are made again; how many checkpoints went."""

    def drop_idle_threads(self, now: float, limit: int = 20) -> int:
        """Forget threads whose time is over, the earliest first; how many."""
