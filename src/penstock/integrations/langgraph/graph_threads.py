"""Whose a thread is, and whose turn on it."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from typing import Any
from weakref import WeakValueDictionary

from penstock.errors import InvalidTask
from penstock.model.task import TaskView
from penstock.model.waits import Wait
from penstock.runtime.context import TaskContext
from penstock.stores.contract import Transaction

LONGEST = 500

_APART = "\x1f"
_ALLOWED = re.compile(rf"[^\x00-\x1f\x7f]{{1,{LONGEST}}}")

# The runs of this process that are on a thread or want to be, by manager and thread.
_turns: WeakValueDictionary[tuple[int, str], asyncio.Lock] = WeakValueDictionary()


def check_thread(type: str, thread_id: str) -> None:
    """Raises `InvalidTask` for what cannot be the id of a thread."""
    if not _ALLOWED.fullmatch(thread_id):
        raise InvalidTask(
            f"data of {type}: thread_id must have 1 to {LONGEST} characters, and no control characters",
            ["thread_id"],
        )


def thread_of(tenant: str, thread_id: str) -> str:
    """The name of a thread in the checkpointer: threads of different tenants are different ones, whatever
    their ids. Those of no tenant keep their id."""
    return f"{tenant}{_APART}{thread_id}" if tenant else thread_id


@contextlib.asynccontextmanager
async def turn(context: TaskContext, saver: Any, thread: str) -> AsyncIterator[None]:
    """While no other task of this manager runs on the thread, and none that wrote to it last is unfinished:
    one that asks a person, say, has to find the thread as it left it."""
    key = id(context.services), thread
    lock = _turns.get(key)
    if lock is None:
        lock = _turns[key] = asyncio.Lock()
    if lock.locked():
        async with context.off_slot():
            await lock.acquire()
    else:
        await lock.acquire()
    try:
        context.check_parked()
        while (before := await _unfinished(context, saver, thread)) is not None:
            await context.waiting(Wait(f"task:{before.seq}"), _is_final(before.id))
        yield
    finally:
        lock.release()


async def _unfinished(context: TaskContext, saver: Any, thread: str) -> TaskView | None:
    """The other task that wrote to the thread last, if it has not ended."""
    saved = await saver.aget_tuple({"configurable": {"thread_id": thread}})
    run = saved and saved.metadata.get("run_id")
    if not run or run == context.task_id:
        return None
    view = await context.services.committer.run(lambda store: store.task(str(run)))
    return None if view is None or view.id != run or view.status.final else view


def _is_final(id: str) -> Any:
    def look(store: Transaction) -> bool | None:
        view = store.task(id)
        return True if view is None or view.status.final else None

    return look
