"""The published conformance suite of LangGraph checkpointers, base and extended, on every store there is.

It tests the asynchronous calls; for the synchronous ones it runs on a checkpointer that forwards to them. Its
tests of delta channels are not published, so there are some of our own here.
"""

import itertools

import pytest
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import ALL_CAPABILITIES
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from tests.integrations.saver_kinds import KINDS, Synchronous, opened

# As many tests as the suite has of each capability in the version it is pinned to.
TESTS = {
    "put": 17,
    "put_writes": 10,
    "get_tuple": 10,
    "list": 16,
    "delete_thread": 5,
    "delete_for_runs": 7,
    "copy_thread": 8,
    "prune": 8,
}


@pytest.mark.parametrize("synchronous", [False, True], ids=["async", "sync"])
@pytest.mark.parametrize("kind", KINDS)
async def test_published_suite(kind, synchronous, tmp_path):
    places = (tmp_path / str(n) for n in itertools.count())

    @checkpointer_test(name=f"{kind} {synchronous}")
    async def make():
        folder = next(places)
        folder.mkdir()
        async with opened(kind, folder) as saver:
            yield Synchronous(saver) if synchronous else saver

    report = await validate(make)
    assert {name: result.failures for name, result in report.results.items() if not result.passed} == {}
    assert {name: result.tests_passed for name, result in report.results.items()} == TESTS
    assert {one.value for one in ALL_CAPABILITIES} == set(TESTS)
    assert report.passed_all()


class Thread:
    """Puts checkpoints in a row, each the child of the one before unless told otherwise."""

    def __init__(self, saver, thread="t", ns=""):
        self.saver, self.thread, self.ns = saver, thread, ns
        self.head = self.config()
        self.versions = {}

    def config(self, id=None):
        given = {"thread_id": self.thread, "checkpoint_ns": self.ns}
        return {"configurable": given | ({"checkpoint_id": id} if id else {})}

    async def put(self, parent=None, rebuilt=(), touched=(), **values):
        for channel in (*values, *touched):
            self.versions[channel] = self.saver.get_next_version(self.versions.get(channel), None)
        checkpoint = {
            "v": 4,
            "id": str(uuid6()),
            "ts": "2026-01-01T00:00:00+00:00",
            "channel_values": values,
            "channel_versions": dict(self.versions),
            "versions_seen": {},
            "updated_channels": None,
        }
        metadata = {"source": "loop", "step": 1, "parents": {}}
        if rebuilt:
            metadata["counters_since_delta_snapshot"] = {channel: (1, 1) for channel in rebuilt}
        new = {channel: self.versions[channel] for channel in (*values, *touched)}
        self.head = await self.saver.aput(parent or self.head, checkpoint, metadata, new)
        return self.head

    async def history(self, *channels, config=None):
        return await self.saver.aget_delta_channel_history(config=config or self.head, channels=channels)


@pytest.fixture(params=["langgraph's own", "async", "sync"])
async def saver(request, tmp_path):
    """Ours in both forms, and theirs, which says what is expected."""
    if request.param == "langgraph's own":
        yield InMemorySaver()
    else:
        async with opened("file normal", tmp_path) as ours:
            yield Synchronous(ours) if request.param == "sync" else ours


async def test_delta_history_of_a_chain(saver):
    thread = Thread(saver)
    for n in range(3):
        await thread.put(touched=["d"], rebuilt=["d"])
        await saver.aput_writes(thread.head, [("d", n), ("other", "x")], f"task{n}")
    await thread.put(touched=["d"], rebuilt=["d"])
    await saver.aput_writes(thread.head, [("d", "pending")], "task")
    assert await thread.history("d") == {
        "d": {"writes": [("task0", "d", 0), ("task1", "d", 1), ("task2", "d", 2)]}
    }


async def test_delta_history_stops_at_a_snapshot(saver):
    thread = Thread(saver)
    await thread.put(touched=["d"])
    await saver.aput_writes(thread.head, [("d", "before")], "t0")
    await thread.put(d=_DeltaSnapshot(["before"]))
    await saver.aput_writes(thread.head, [("d", "after")], "t1")
    await thread.put(touched=["d"], rebuilt=["d"])
    assert await thread.history("d") == {
        "d": {"writes": [("t1", "d", "after")], "seed": _DeltaSnapshot(["before"])}
    }


async def test_delta_history_of_channels_that_stop_at_different_places(saver):
    thread = Thread(saver)
    await thread.put(a=["old"])  # as a channel leaves it that was no delta channel before
    await saver.aput_writes(thread.head, [("a", 1), ("b", 1)], "t0")
    await thread.put(touched=["a"], b=_DeltaSnapshot([1]))
    await saver.aput_writes(thread.head, [("a", 2), ("b", 2)], "t1")
    await thread.put(touched=["a", "b"])
    assert await thread.history("b", "a", "none") == {
        "a": {"writes": [("t0", "a", 1), ("t1", "a", 2)], "seed": ["old"]},
        "b": {"writes": [("t1", "b", 2)], "seed": _DeltaSnapshot([1])},
        "none": {"writes": []},
    }


async def test_delta_history_follows_the_parents_of_a_branch(saver):
    thread = Thread(saver)
    root = await thread.put(touched=["d"])
    await saver.aput_writes(root, [("d", "root")], "t0")
    await thread.put(touched=["d"])
    await saver.aput_writes(thread.head, [("d", "trunk")], "t1")
    trunk = await thread.put(touched=["d"])
    branch = await thread.put(parent=root, touched=["d"])
    await saver.aput_writes(branch, [("d", "branch")], "t2")
    await thread.put(touched=["d"])
    values = {
        name: [write[2] for write in (await thread.history("d", config=config))["d"]["writes"]]
        for name, config in (("trunk", trunk), ("branch", thread.head))
    }
    assert values == {"trunk": ["root", "trunk"], "branch": ["root", "branch"]}


async def test_delta_history_orders_writes_by_path_task_and_index(saver):
    thread = Thread(saver)
    await thread.put(touched=["d"])
    await saver.aput_writes(thread.head, [("d", 3)], "a", "~2")
    await saver.aput_writes(thread.head, [("d", 1), ("d", 2)], "z", "~1")
    await saver.aput_writes(thread.head, [("d", 0)], "m")
    await thread.put(touched=["d"])
    assert [write[2] for write in (await thread.history("d"))["d"]["writes"]] == [0, 1, 2, 3]


async def test_delta_history_of_the_newest_and_of_nothing(saver):
    thread = Thread(saver)
    await thread.put(touched=["d"])
    await saver.aput_writes(thread.head, [("d", 1)], "t0")
    await thread.put(touched=["d"])
    newest = thread.config()
    assert (await thread.history("d", config=newest))["d"]["writes"] == [("t0", "d", 1)]
    assert await thread.history() == {}
    assert await Thread(saver, "nobody").history("d") == {"d": {"writes": []}}
    assert await Thread(saver, "t", "sub").history("d") == {"d": {"writes": []}}


async def test_delta_history_is_that_of_the_default_walk(tmp_path):
    async with opened("file normal", tmp_path) as saver:
        thread = Thread(saver)
        for n in range(400):
            values = {"a": _DeltaSnapshot([n])} if n % 150 == 0 else {}
            await thread.put(touched=[c for c in "ab" if c not in values], **values)
            await saver.aput_writes(thread.head, [("a", n), ("b", -n)], f"task{n % 7}", f"~{n % 3}")
        expected = await super(type(saver), saver).aget_delta_channel_history(
            config=thread.head, channels=["a", "b"]
        )
        assert await thread.history("a", "b") == expected
        assert [len(expected[channel]["writes"]) for channel in "ab"] == [99, 399]


async def test_pruning_keeps_what_delta_channels_are_made_from(tmp_path):
    async with opened("file normal", tmp_path) as saver:
        thread = Thread(saver)
        for n in range(10):
            values = {"d": _DeltaSnapshot([n])} if n == 4 else {}
            await thread.put(
                touched=() if values else ("d",), plain=n, rebuilt=() if values else ("d",), **values
            )
            await saver.aput_writes(thread.head, [("d", n)], "t")
        before = await thread.history("d")
        await saver.aprune(["t"])
        assert await thread.history("d") == before
        left = [one async for one in saver.alist(thread.config())]
        assert [one.checkpoint["channel_values"]["plain"] for one in left] == [9, 8, 7, 6, 5, 4]
        await thread.put(d=_DeltaSnapshot([10]))
        await saver.aprune(["t"])
        assert len([one async for one in saver.alist(thread.config())]) == 1


async def test_deleting_runs_that_others_are_made_from_is_told(tmp_path, caplog):
    async with opened("file normal", tmp_path) as saver:
        thread = Thread(saver)
        first = await thread.put(touched=["d"])
        await saver.aput(thread.config(), {**(await saver.aget_tuple(first)).checkpoint}, {"run_id": "r"}, {})
        await thread.put(parent=first, touched=["d"], rebuilt=["d"])
        await saver.adelete_for_runs(["r"])
    assert "incomplete now: t" in caplog.text
