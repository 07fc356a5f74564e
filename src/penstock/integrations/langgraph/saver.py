"""A LangGraph checkpointer on a Penstock store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Self

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from penstock.integrations.langgraph.access import ManagerAccess, engine_of, open_access
from penstock.integrations.langgraph.codec import config_of, place
from penstock.integrations.langgraph.reading import PAGE
from penstock.integrations.langgraph.saving import Saving
from penstock.model.checkpoint import StoredCheckpoint, ThreadView
from penstock.stores.sqlite.store import Durability


class PenstockSaver(Saving):
    """Keeps the threads of graphs in a Penstock store, for synchronous and asynchronous graphs alike.

    graph = builder.compile(checkpointer=PenstockSaver(manager))

    With a manager (of any face) it works while that runs, and writes with its group commit. `from_store`
    opens a store by itself, also while another process works on the same file.

    A state that grows at its end costs what is new in it. A thread is dropped `ttl` seconds after its last
    write (`None`: never). `serde` serializes values: LangGraph's `JsonPlusSerializer` unless given.
    """

    def __init__(
        self, manager: Any, *, ttl: float | None = None, serde: SerializerProtocol | None = None
    ) -> None:
        super().__init__(ManagerAccess(engine_of(manager)), ttl, serde)

    @classmethod
    def from_store(
        cls,
        store: str,
        *,
        durability: Durability = "full",
        ttl: float | None = None,
        serde: SerializerProtocol | None = None,
    ) -> Self:
        """A checkpointer with a store of its own: `sqlite:///path`, a path, or `memory`.

        Close it with `close`, or use it as a context manager; as an asynchronous one it writes what comes at
        the same time together. `durability`: "full" survives a loss of power, "normal" a crash of the
        process.
        """
        made = cls.__new__(cls)
        Saving.__init__(made, open_access(str(store), durability), ttl, serde)
        return made

    def close(self) -> None:
        """Close the store that `from_store` opened."""
        self._access.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        await self._access.open()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._access.aclose()

    # Reading, in a thread: neither the file nor a large state stops the loop

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return await asyncio.to_thread(self.get_tuple, config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        where, codec = self._matching(config, filter, before), self._codec
        after: StoredCheckpoint | None = None
        while page := await asyncio.to_thread(self._page, where, after, limit):
            for stored in page:
                yield await asyncio.to_thread(codec.tuple, stored)
            after = page[-1]
            limit = None if limit is None else limit - len(page)
            if len(page) < PAGE:
                return

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        return await asyncio.to_thread(self.get_delta_channel_history, config=config, channels=channels)

    async def athreads(self, prefix: str = "", limit: int = 100, after: str = "") -> Sequence[ThreadView]:
        """As `threads`."""
        return await asyncio.to_thread(self.threads, prefix, limit, after)

    async def astate(self, thread_id: str, checkpoint_ns: str = "") -> dict[str, Any] | None:
        """As `state`."""
        return await asyncio.to_thread(self.state, thread_id, checkpoint_ns)

    # Writing

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        await self._access.awrite(self._putting(config, checkpoint, metadata, new_versions))
        return config_of(place(config), checkpoint["id"])

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        await self._access.awrite(self._putting_writes(config, writes, task_id, task_path))

    async def adelete_thread(self, thread_id: str) -> None:
        await self._access.awrite(lambda tx: tx.drop_threads([str(thread_id)]))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        self._warn(await self._access.awrite(lambda tx: tx.drop_runs([str(one) for one in run_ids])))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        await self._access.awrite(self._copying(source_thread_id, target_thread_id))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        await self._access.awrite(self._pruning(thread_ids, strategy))

    async def asweep(self) -> int:
        """As `sweep`."""
        swept = 0
        while gone := await self._access.awrite(self._sweeping()):
            swept += gone
        return swept
