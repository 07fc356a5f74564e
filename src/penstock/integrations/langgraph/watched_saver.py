"""A checkpointer that tells what it has saved: which parts of a graph are found again after a crash, and
whether a checkpoint is still on its way."""

from __future__ import annotations

import asyncio
import copy
import functools
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

SEPARATOR, ID_MARK = "|", ":"


class Watch:
    """What one run of a graph has saved and found, by checkpoint namespace."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._under_way: set[Future[None]] = set()
        self._lock = threading.Lock()
        self._new: str | None = None
        self._first: Callable[[], object] | None = None

    def begins(self, thread: str, first: Callable[[], object]) -> None:
        """Nothing was ever saved of this thread, and only this run saves something of it: it needs not be
        looked for. `first` is told before the first checkpoint is saved."""
        self._new, self._first = thread, first

    def others_may_save(self) -> None:
        """What a thread has is looked for from now on."""
        self._new = None

    def lacks(self, config: Any) -> bool:
        """Whether there is no checkpoint that this config could mean."""
        place = config["configurable"]
        return (
            self._new is not None
            and place.get("thread_id") == self._new
            and not place.get("checkpoint_id")
            and place.get("checkpoint_ns", "") not in self._known
        )

    async def settled(self) -> None:
        """Wait until the checkpoints that are being saved are: what is done after them has names made of
        theirs, and is lost with them."""
        with self._lock:
            pending = [asyncio.wrap_future(one) for one in self._under_way]
        if pending:
            await asyncio.wait(pending)

    def scope(self, namespace: str, depth: int = 1) -> str:
        """The journal scope of a node: its namespace `name:id|name:id`, without the ids that a run after a
        crash would not give again, because their graph keeps no checkpoints and begins anew then.

        `depth` counts the last pieces of the namespace that belong to one and the same graph.
        """
        pieces = namespace.split(SEPARATOR)
        if SEPARATOR.join(pieces[:-depth]) in self._known:
            return namespace
        kept = 0
        for count in range(len(pieces) - 1, 0, -1):
            if SEPARATOR.join(pieces[:count]) in self._known:
                kept = count + 1
                break
        else:
            kept = 1 if "" in self._known else 0
        fleeting = [piece.partition(ID_MARK)[0] for piece in pieces[kept:]]
        return SEPARATOR.join(pieces[:kept] + fleeting)

    def found(self, config: Any) -> None:
        """There is a checkpoint of this namespace."""
        self._known.add(config["configurable"].get("checkpoint_ns", ""))

    def begin(self) -> Future[None]:
        one: Future[None] = Future()
        with self._lock:
            self._under_way.add(one)
            first, self._first = self._first, None
        if first is not None:
            first()
        return one

    def end(self, one: Future[None]) -> None:
        with self._lock:
            self._under_way.discard(one)
        one.set_result(None)


def watched(saver: Any) -> tuple[Any, Watch]:
    """A copy of this checkpointer on the same store, and what watches it. It stays of its own class, for
    graphs look at that."""
    watch = Watch()
    return _watched_by(watch, saver), watch


def _watched_by(watch: Watch, saver: Any) -> Any:
    twin = copy.copy(saver)
    twin.put = _put(watch, saver.put)
    twin.aput = _aput(watch, saver.aput)
    twin.get_tuple = _get(watch, saver.get_tuple)
    twin.aget_tuple = _aget(watch, saver.aget_tuple)
    # Under LANGGRAPH_STRICT_MSGPACK a graph takes a copy that reads the types of its own state.
    twin.with_allowlist = lambda allowed: _watched_by(watch, saver.with_allowlist(allowed))
    return twin


def _put(watch: Watch, put: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(put)
    def watched_put(config: Any, *rest: Any, **named: Any) -> Any:
        watch.found(config)
        saving = watch.begin()
        try:
            return put(config, *rest, **named)
        finally:
            watch.end(saving)

    return watched_put


def _aput(watch: Watch, put: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(put)
    async def watched_put(config: Any, *rest: Any, **named: Any) -> Any:
        watch.found(config)
        saving = watch.begin()
        try:
            return await put(config, *rest, **named)
        finally:
            watch.end(saving)

    return watched_put


def _get(watch: Watch, get: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(get)
    def watched_get(config: Any) -> Any:
        if watch.lacks(config):
            return None
        found = get(config)
        if found is not None:
            watch.found(found.config)
        return found

    return watched_get


def _aget(watch: Watch, get: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(get)
    async def watched_get(config: Any) -> Any:
        if watch.lacks(config):
            return None
        found = await get(config)
        if found is not None:
            watch.found(found.config)
        return found

    return watched_get
