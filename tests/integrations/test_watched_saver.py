"""Which parts of a checkpoint namespace name a journal scope, and waiting for checkpoints on their way."""

import asyncio

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.memory import InMemorySaver

from penstock.integrations.langgraph.watched_saver import Watch, watched


def at(namespace=""):
    return {"configurable": {"thread_id": "t", "checkpoint_ns": namespace}}


@pytest.mark.parametrize(
    ("known", "namespace", "depth", "scope"),
    [
        ([""], "node:1", 1, "node:1"),
        ([], "node:1", 1, "node"),
        (["", "outer:1"], "outer:1|inner:2", 1, "outer:1|inner:2"),
        ([""], "outer:1|inner:2", 1, "outer:1|inner"),
        ([""], "flow:1|task:2", 2, "flow:1|task:2"),
        (["", "outer:1|1"], "outer:1|1|inner:2", 1, "outer:1|1|inner:2"),
        ([""], "outer:1|inner:2|innermost:3", 1, "outer:1|inner|innermost"),
        (["", "outer:1"], "outer:1|inner:2|innermost:3", 1, "outer:1|inner:2|innermost"),
    ],
)
def test_ids_that_come_again_after_a_crash_are_kept(known, namespace, depth, scope):
    watch = Watch()
    for one in known:
        watch.found(at(one))
    assert watch.scope(namespace, depth) == scope


async def test_a_checkpoint_on_its_way_is_waited_for():
    saved, go = [], asyncio.Event()

    class Slow(InMemorySaver):
        async def aput(self, *given):
            await go.wait()
            saved.append(given)
            return await super().aput(*given)

    saver = Slow()
    twin, watch = watched(saver)
    assert type(twin) is Slow
    await watch.settled()
    putting = asyncio.create_task(twin.aput(at(), empty_checkpoint(), {}, {}))
    waiting = asyncio.create_task(watch.settled())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not waiting.done()
    go.set()
    await waiting
    assert saved
    await putting
    assert await saver.aget_tuple(at()) is not None
    assert "aput" not in vars(saver)


async def test_what_is_found_or_put_is_known():
    saver = InMemorySaver()
    twin, watch = watched(saver)
    assert twin.get_tuple(at("a:1")) is None
    assert watch.scope("a:1|b:2") == "a|b"
    saver.put(at("a:1"), empty_checkpoint(), {}, {})
    assert await twin.aget_tuple(at("a:1")) is not None
    assert watch.scope("a:1|b:2") == "a:1|b:2"
    twin.put(at("c:1"), empty_checkpoint(), {}, {})
    assert watch.scope("c:1|d:2") == "c:1|d:2"


def test_a_copy_that_reads_other_types_is_watched_too():
    class Allowing(InMemorySaver):
        allowed = ()

        def with_allowlist(self, extra_allowlist):
            made = Allowing()
            made.allowed = extra_allowlist
            return made

        def get_tuple(self, config):
            return self.allowed

    twin, _ = watched(Allowing())
    assert twin.with_allowlist([("here", "Doc")]).allowed == [("here", "Doc")]
    twin.with_allowlist([]).put(at("of the copy"), empty_checkpoint(), {}, {})


async def test_what_a_new_thread_lacks_is_not_looked_for():
    looked, told = [], []

    class Looking(InMemorySaver):
        def get_tuple(self, config):
            looked.append(config["configurable"])
            return super().get_tuple(config)

    twin, watch = watched(Looking())
    watch.begins("t", lambda: told.append("first"))
    assert twin.get_tuple(at()) is await twin.aget_tuple(at("sub:1")) is None
    assert looked == []
    twin.get_tuple({"configurable": {"thread_id": "another", "checkpoint_ns": ""}})
    twin.get_tuple({"configurable": {**at()["configurable"], "checkpoint_id": "1"}})
    assert len(looked) == 2
    for _ in range(2):
        await twin.aput(at(), empty_checkpoint(), {}, {})
    assert told == ["first"]
    assert await twin.aget_tuple(at()) is not None
    watch.others_may_save()
    twin.get_tuple(at("sub:1"))
    assert len(looked) == 4
