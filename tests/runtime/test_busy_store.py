"""Another process holds the store for a while: what ended is written when it lets go, and nothing is lost."""

import asyncio
import logging

import pytest

from penstock.errors import StoreBusy, StoreFull
from penstock.runtime import committer as committing
from penstock.runtime.committer import Committer


class Held:
    """A store that raises `StoreBusy` for the next `busy` transactions; notes what was written, in order."""

    def __init__(self, busy=0):
        self.busy = busy
        self.tried = 0
        self.written = []
        self.other = None

    def run(self, work):
        self.tried += 1
        if self.other is not None:
            raise self.other
        if self.busy:
            self.busy -= 1
            raise StoreBusy("another process holds its lock")
        return work(self)

    def __getattr__(self, verb):
        return lambda items, *_: self.written.extend((verb, item) for item in items) or [True] * len(items)


@pytest.fixture
async def make():
    made = []

    async def start(busy):
        made.append(Committer(Held(busy)))
        await made[-1].start()
        return made[-1], made[-1]._store

    yield start
    for one in made:
        await one.stop()


async def test_what_ended_is_written_when_the_store_is_free(make, caplog):
    caplog.set_level(logging.WARNING, "penstock.store")
    committer, store = await make(busy=4)
    answers = await asyncio.gather(
        *(committer.do(verb, [verb]) for verb in ("finish", "settle", "record", "put_back"))
    )
    assert answers == [[True]] * 4
    assert store.written == [(verb, verb) for verb in ("settle", "record", "finish", "put_back")]
    assert store.tried == 5
    assert len(caplog.records) == 1


async def test_what_has_not_happened_yet_fails_at_once(make):
    committer, store = await make(busy=1)
    with pytest.raises(StoreBusy):
        await committer.do("add", ["a"])
    store.busy = 1
    with pytest.raises(StoreBusy):
        await committer.run(lambda transaction: None)
    assert await committer.do("add", ["b"]) == [True]
    assert store.written == [("add", "b")]


async def test_overdue_writes_go_with_whatever_comes(make, monkeypatch, eventually):
    monkeypatch.setattr(committing, "FIRST_PAUSE", 60.0)
    committer, store = await make(busy=1)
    committer._pause = 60.0
    ended = asyncio.create_task(committer.do("finish", [1]))
    await eventually(lambda: store.tried)
    await committer.do("add", [2])
    assert await ended == [True]
    assert store.written == [("finish", 1), ("add", 2)]


async def test_the_pauses_grow_and_are_short_again_later(make, monkeypatch):
    monkeypatch.setattr(committing, "LONGEST_PAUSE", 0.2)
    committer, _ = await make(busy=4)
    await committer.do("finish", [1])
    assert committer._pause == committing.FIRST_PAUSE
    assert committer._retry is None


async def test_another_failure_ends_the_patience(make, eventually):
    committer, store = await make(busy=1)
    ended = asyncio.create_task(committer.do("finish", [1]))
    await eventually(lambda: store.tried)
    store.other = StoreFull("the disk is full")
    with pytest.raises(StoreFull):
        await ended
    store.other = None


async def test_at_the_stop_it_is_tried_once_more(make, eventually):
    committer, store = await make(busy=1)
    outcomes, errors = [], []
    committer.send("finish", [1], outcomes.extend, errors.append)
    await eventually(lambda: store.tried)
    await committer.stop()
    assert (outcomes, errors) == ([True], [])
    stubborn, store = await make(busy=1000)
    stubborn.send("finish", [1], outcomes.extend, errors.append)
    await eventually(lambda: store.tried)
    await stubborn.stop()
    assert isinstance(errors[0], StoreBusy)


async def test_not_more_is_kept_than_the_bound(make, monkeypatch, eventually):
    monkeypatch.setattr(committing, "BOUND", 10)
    committer, _ = await make(busy=1000)
    errors = []
    for number in range(100):
        committer.send("finish", [number], lambda outcomes: None, errors.append)
    await eventually(lambda: committer._retry)
    assert len(committer._overdue) == 20
    assert len(errors) == 100 - len(committer._overdue)
    assert not committer._room.is_set()
    committer._store.busy = 0


async def test_an_operation_between_keeps_its_place(make):
    """What is sent after it is not in its transaction nor before it, however often the store is busy."""
    committer, store = await make(busy=0)
    for busy in (0, 3):
        store.busy, store.written = busy, []
        errors = []
        first = asyncio.create_task(committer.do("settle", ["before"]))
        await asyncio.sleep(0)
        committer.send_between(lambda transaction: store.written.append("between"), errors.append)
        after = asyncio.create_task(committer.do("settle", ["after"]))
        assert [await first, await after] == [[True], [True]]
        assert store.written == [("settle", "before"), "between", ("settle", "after")]
        assert not errors


async def test_a_task_ends_though_the_store_was_busy(world, eventually, monkeypatch):
    """The whole way: the handler is done, the store is held for a moment, and nobody starts anew."""
    runs = []

    async def handler(context):
        runs.append(1)
        store = world.manager.node.committer._store
        free, left = store.run, [5]

        def run(work):
            if left[0]:
                left[0] -= 1
                raise StoreBusy("another process holds its lock")
            return free(work)

        monkeypatch.setattr(store, "run", run)
        return {"answer": 42}

    assert await world.run(handler) == {"answer": 42}
    assert len(runs) == 1
    await eventually(world.idle_again)
