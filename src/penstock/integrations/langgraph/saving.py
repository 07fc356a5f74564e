"""The synchronous half of the checkpointer, and what both halves write."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata

from penstock.errors import ConfigurationError
from penstock.integrations.langgraph.codec import config_of, place
from penstock.integrations.langgraph.reading import ThreadReading
from penstock.stores.contract import Transaction

T = TypeVar("T")

Work = Callable[[Transaction], T]

log = logging.getLogger("penstock.langgraph")


class Saving(ThreadReading):
    """Every call in its synchronous form."""

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        self._access.write(self._putting(config, checkpoint, metadata, new_versions))
        return config_of(place(config), checkpoint["id"])

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        self._access.write(self._putting_writes(config, writes, task_id, task_path))

    def delete_thread(self, thread_id: str) -> None:
        self._access.write(lambda tx: tx.drop_threads([str(thread_id)]))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        self._warn(self._access.write(lambda tx: tx.drop_runs([str(one) for one in run_ids])))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        self._access.write(self._copying(source_thread_id, target_thread_id))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        self._access.write(self._pruning(thread_ids, strategy))

    def sweep(self) -> int:
        """Drop the threads whose time is over; how many. A running manager does it by itself, each minute."""
        swept = 0
        while gone := self._access.write(self._sweeping()):
            swept += gone
        return swept

    def get_next_version(self, current: str | None, channel: None) -> str:
        # As LangGraph's own savers make them, so that threads can move between those and this one.
        number = 0 if current is None else int(str(current).split(".")[0])
        return f"{number + 1:032}.{random.random():016}"

    # What both halves do inside a transaction

    def _putting(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> Work[None]:
        # Serialized now: nodes may change the same objects while the transaction waits.
        new = self._codec.checkpoint(config, checkpoint, metadata, new_versions)
        now = self._access.clock.wall()
        return lambda tx: tx.put_checkpoint(new, now, self.ttl)

    def _putting_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> Work[None]:
        at, now = place(config), self._access.clock.wall()
        rows = self._codec.writes(writes, task_id, task_path)
        return lambda tx: tx.put_channel_writes(at, rows, now, self.ttl)

    def _copying(self, source: str, target: str) -> Work[None]:
        now = self._access.clock.wall()
        return lambda tx: tx.copy_thread(str(source), str(target), now, self.ttl)

    def _pruning(self, thread_ids: Sequence[str], strategy: str) -> Work[int]:
        ids = [str(one) for one in thread_ids]
        if strategy == "keep_latest":
            return lambda tx: tx.keep_newest(ids)
        if strategy == "delete":
            return lambda tx: tx.drop_threads(ids)
        raise ConfigurationError(f"strategy is {strategy!r}; it can be 'keep_latest' or 'delete'")

    def _sweeping(self) -> Work[int]:
        now = self._access.clock.wall()
        return lambda tx: tx.drop_idle_threads(now)

    def _warn(self, robbed: Sequence[str]) -> None:
        if robbed:
            log.warning(
                "runs were deleted from which channels of later checkpoints were to be made again, "
                "so these are incomplete now: %s",
                ", ".join(robbed),
            )
