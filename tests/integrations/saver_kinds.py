"""Every way to have a checkpointer, opened for a test; and one whose asynchronous calls make the synchronous
ones."""

import asyncio
from contextlib import asynccontextmanager

from langgraph.checkpoint.base import BaseCheckpointSaver

from penstock import AITaskManager
from penstock.integrations.langgraph import PenstockSaver
from penstock.manager import Manager
from penstock.manager.synchronous import SyncTaskManager
from penstock.runtime.settings import Settings
from penstock.stores.sqlite.store import SqliteStore


@asynccontextmanager
async def opened(kind, folder, **how):
    """A saver, and the store behind it found in order when it is closed."""
    file = str(folder / "penstock.db")
    path = "memory" if kind.startswith("memory") else file
    if kind in ("file full", "memory"):
        async with PenstockSaver.from_store(path, **how) as saver:
            yield saver
            in_order(saver)
    elif kind == "file normal":
        with PenstockSaver.from_store("sqlite:///" + path, durability="normal", **how) as saver:
            yield saver
            in_order(saver)
    elif kind == "beside a manager":
        async with Manager(Settings(store=path)), PenstockSaver.from_store(path, **how) as saver:
            yield saver
            in_order(saver)
    elif kind in ("manager", "memory manager"):
        async with Manager(Settings(store=path)) as manager:
            yield PenstockSaver(manager, **how)
            assert manager.peek(verify) == []
    elif kind == "task manager":
        async with AITaskManager(store=path) as manager:
            yield PenstockSaver(manager, **how)
    else:
        manager = SyncTaskManager(store=path)
        await asyncio.to_thread(manager.start)
        try:
            yield PenstockSaver(manager, **how)
        finally:
            await asyncio.to_thread(manager.stop)
    if path == file:
        with SqliteStore.open(file) as store:
            assert store.verify() == []


KINDS = (
    "file full",
    "file normal",
    "memory",
    "beside a manager",
    "manager",
    "memory manager",
    "task manager",
    "synchronous manager",
)


def in_order(saver):
    assert saver._access._store.verify() == []


def verify(reader):
    from penstock.stores.sqlite.connection import STATEMENTS

    names = [name for name in STATEMENTS if name.startswith("verify_")]
    return [row for name in names for row in reader.db.rows(name)]


class Synchronous(BaseCheckpointSaver):
    """Makes every asynchronous call a synchronous one, in a thread."""

    def __init__(self, saver):
        super().__init__()
        self.saver = saver

    def get_next_version(self, current, channel):
        return self.saver.get_next_version(current, channel)

    async def aget_tuple(self, config):
        return await asyncio.to_thread(self.saver.get_tuple, config)

    async def alist(self, config, **how):
        for one in await asyncio.to_thread(lambda: list(self.saver.list(config, **how))):
            yield one

    async def aput(self, *args):
        return await asyncio.to_thread(self.saver.put, *args)

    async def aput_writes(self, *args, **how):
        await asyncio.to_thread(lambda: self.saver.put_writes(*args, **how))

    async def adelete_thread(self, *args):
        await asyncio.to_thread(self.saver.delete_thread, *args)

    async def adelete_for_runs(self, *args):
        await asyncio.to_thread(self.saver.delete_for_runs, *args)

    async def acopy_thread(self, *args):
        await asyncio.to_thread(self.saver.copy_thread, *args)

    async def aprune(self, *args, **how):
        await asyncio.to_thread(lambda: self.saver.prune(*args, **how))

    async def aget_delta_channel_history(self, **what):
        return await asyncio.to_thread(lambda: self.saver.get_delta_channel_history(**what))
