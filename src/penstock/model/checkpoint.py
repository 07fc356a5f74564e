"""Checkpoints of a graph's threads, as a store keeps them: bytes that somebody else reads.

A thread has namespaces (the root graph, its subgraphs), a namespace has checkpoints, and each of those has
one version of every channel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Version = str | int | float


@dataclass(frozen=True, slots=True)
class TypedBytes:
    """A serialized value. `head` is the beginning that changes when the value grows at its end (a list's
    length, say), so that bodies of later versions begin with those of earlier ones."""

    type: str
    body: bytes
    head: bytes = b""

    @property
    def data(self) -> bytes:
        return self.head + self.body


@dataclass(frozen=True, slots=True)
class CheckpointAt:
    """Where a checkpoint is; without `id` the newest of the namespace."""

    thread: str
    ns: str = ""
    id: str | None = None


@dataclass(frozen=True, slots=True)
class NewCheckpoint:
    """What is put. `versions`: of every channel; `values`: those of the versions that are new.

    `parent` is the id of the checkpoint it came from, `run` the id of the run that made it. `rebuilt` names
    the channels whose value is not kept here, but made again from the writes of ancestors.
    """

    at: CheckpointAt
    parent: str | None
    body: TypedBytes
    metadata: TypedBytes
    versions: tuple[tuple[str, Version], ...] = ()
    values: tuple[tuple[str, Version, TypedBytes], ...] = ()
    run: str | None = None
    rebuilt: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        assert self.at.id is not None
        return self.at.id


@dataclass(frozen=True, slots=True)
class ChannelWrite:
    """One write of a node's task to a channel; known by (task, index). One with a negative index replaces
    what was there, others leave it."""

    task: str
    index: int
    channel: str
    value: TypedBytes
    path: str = ""


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A checkpoint with the values of its channels and its pending writes, by (path, task, index)."""

    at: CheckpointAt
    parent: str | None
    body: TypedBytes
    metadata: TypedBytes
    values: tuple[tuple[str, TypedBytes], ...] = ()
    writes: tuple[ChannelWrite, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckpointFilter:
    """Which checkpoints; `None` is any. `before`: ids that are smaller. `accept` looks at the metadata."""

    thread: str | None = None
    ns: str | None = None
    id: str | None = None
    before: str | None = None
    accept: Callable[[TypedBytes], bool] | None = None


@dataclass(frozen=True, slots=True)
class ChannelPast:
    """How a channel came to its value: its value at the nearest ancestor that has one, and all writes since,
    oldest first."""

    writes: tuple[ChannelWrite, ...] = ()
    seed: TypedBytes | None = None


@dataclass(frozen=True, slots=True)
class ThreadView:
    """A thread as it stands. `touched_at`: its last write; it is dropped at `expires_at`."""

    id: str
    created_at: float
    touched_at: float
    expires_at: float | None = None
    checkpoints: int = 0
    namespaces: tuple[str, ...] = ()
