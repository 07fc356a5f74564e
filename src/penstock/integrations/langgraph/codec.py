"""Between what LangGraph hands a checkpointer and what a store keeps."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    PendingWrite,
    get_serializable_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from penstock.errors import ConfigurationError
from penstock.model.checkpoint import ChannelWrite, CheckpointAt, NewCheckpoint, StoredCheckpoint, TypedBytes

# Before the type of what is compressed: versions are long numbers of mostly zeros.
_ZIPPED = "zip:"

# Where metadata names the channels that are made again from the writes of ancestors.
_REBUILT = "counters_since_delta_snapshot"

# How many bytes the length of a value takes in MessagePack, by the first of them (msgpack/spec.md).
_LENGTH_BYTES = {0xD9: 2, 0xDA: 3, 0xDB: 5, 0xDC: 3, 0xDD: 5, 0xDE: 3, 0xDF: 5}
_SHORT = range(0x80, 0xC0)


def place(config: RunnableConfig) -> CheckpointAt:
    """Which checkpoint a config means."""
    given = config.get("configurable") or {}
    thread = given.get("thread_id")
    if thread is None:
        raise ConfigurationError('the config names no thread; give {"configurable": {"thread_id": ...}}')
    return CheckpointAt(str(thread), given.get("checkpoint_ns") or "", given.get("checkpoint_id") or None)


def config_of(at: CheckpointAt, id: str | None = None) -> RunnableConfig:
    """The config that means a checkpoint, or another one beside it."""
    return {
        "configurable": {"thread_id": at.thread, "checkpoint_ns": at.ns, "checkpoint_id": id or at.id},
    }


class Codec:
    """Serializes with `serde`, and never with anything else."""

    def __init__(self, serde: SerializerProtocol) -> None:
        self._serde = serde

    def encode(self, value: Any) -> TypedBytes:
        """A value, its length apart: the rest of a list that grew begins as the list did."""
        type, data = self._serde.dumps_typed(value)
        data = bytes(data)
        cut = _length_bytes(data) if type == "msgpack" else 0
        return TypedBytes(type, data[cut:], data[:cut])

    def decode(self, value: TypedBytes) -> Any:
        return self._serde.loads_typed((value.type, value.data))

    def zip(self, value: Any) -> TypedBytes:
        """A value as small as it gets."""
        type, data = self._serde.dumps_typed(value)
        small = _deflated(data)
        if len(small) < len(data):
            return TypedBytes(_ZIPPED + type, small)
        return TypedBytes(type, bytes(data))

    def unzip(self, value: TypedBytes) -> Any:
        if not value.type.startswith(_ZIPPED):
            return self.decode(value)
        return self._serde.loads_typed((value.type.removeprefix(_ZIPPED), zlib.decompress(value.data)))

    def checkpoint(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> NewCheckpoint:
        """What is put. Of the channels only those of `new_versions` that have a value are written."""
        at = place(config)
        values = checkpoint["channel_values"]
        said = cast("dict[str, Any]", get_serializable_checkpoint_metadata(config, metadata))
        body = {key: value for key, value in checkpoint.items() if key != "channel_values"}
        run = said.get("run_id")
        return NewCheckpoint(
            CheckpointAt(at.thread, at.ns, checkpoint["id"]),
            at.id,
            self.zip(body),
            self.zip(said),
            tuple(checkpoint["channel_versions"].items()),
            tuple(
                (channel, version, self.encode(values[channel]))
                for channel, version in new_versions.items()
                if channel in values
            ),
            None if run is None else str(run),
            tuple(said.get(_REBUILT) or ()),
        )

    def writes(
        self, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> tuple[ChannelWrite, ...]:
        """Writes of a task; errors, interrupts and answers have indexes of their own."""
        return tuple(
            ChannelWrite(task_id, WRITES_IDX_MAP.get(channel, index), channel, self.encode(value), task_path)
            for index, (channel, value) in enumerate(writes)
        )

    def pending(self, writes: Sequence[ChannelWrite]) -> list[PendingWrite]:
        return [(one.task, one.channel, self.decode(one.value)) for one in writes]

    def tuple(self, stored: StoredCheckpoint) -> CheckpointTuple:
        """A checkpoint as LangGraph takes it."""
        body = self.unzip(stored.body)
        body["channel_values"] = {channel: self.decode(value) for channel, value in stored.values}
        return CheckpointTuple(
            config_of(stored.at),
            body,
            self.unzip(stored.metadata),
            None if stored.parent is None else config_of(stored.at, stored.parent),
            self.pending(stored.writes),
        )


def _deflated(data: bytes) -> bytes:
    # As large a window as the data needs: to clear the tables of a full one costs five times what a body of
    # half a kilobyte does.
    bits = min(max(len(data).bit_length(), 9), zlib.MAX_WBITS)
    squeeze = zlib.compressobj(wbits=bits, memLevel=min(bits - 6, zlib.DEF_MEM_LEVEL))
    return squeeze.compress(data) + squeeze.flush()


def _length_bytes(data: bytes) -> int:
    if not data:
        return 0
    return 1 if data[0] in _SHORT else _LENGTH_BYTES.get(data[0], 0)
