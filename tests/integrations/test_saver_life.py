"""The checkpointer in its surroundings: managers, loops, threads, other processes, time, and kill -9."""

import asyncio
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from tests.integrations.saver_graphs import chat, said

from penstock.errors import BlockingCall, ConfigurationError, StoreError
from penstock.integrations.langgraph import PenstockSaver
from penstock.manager import Manager
from penstock.manager.synchronous import SyncTaskManager
from penstock.model.checkpoint import CheckpointAt
from penstock.model.clock import SystemClock
from penstock.runtime.settings import Settings
from penstock.stores.contract import Retention
from penstock.stores.sqlite.store import SqliteStore

ROOT = Path(__file__).resolve().parents[2]
CONFIG = {"configurable": {"thread_id": "t"}}


def of(thread):
    return {"configurable": {"thread_id": thread}}


class Ahead(SystemClock):
    """A clock that a test puts forward."""

    seconds = 0.0

    def wall(self):
        return super().wall() + self.seconds


def test_threads_and_states_are_read_without_their_graph(tmp_path):
    with PenstockSaver.from_store(str(tmp_path / "a.db")) as saver:
        for thread in ("team/a", "team/b", "other"):
            chat(saver).invoke(said(1), of(thread))
        assert [one.id for one in saver.threads("team/")] == ["team/a", "team/b"]
        assert [one.id for one in saver.threads(limit=1, after="other")] == ["team/a"]
        assert saver.threads("other")[0].checkpoints == 3
        assert [one.id for one in saver.state("other")["messages"]] == ["q1", "a1"]
        assert saver.state("nobody") is None
        saver.delete_thread("other")
        assert saver.state("other") is None


def test_threads_go_after_their_ttl(tmp_path):
    with PenstockSaver.from_store("memory", ttl=60) as saver, PenstockSaver.from_store("memory") as for_ever:
        clock = saver._access.clock = for_ever._access.clock = Ahead()
        for n in range(45):
            chat(saver).invoke(said(1), of(f"old{n}"))
        chat(for_ever).invoke(said(1), CONFIG)
        clock.seconds = 40
        chat(saver).invoke(said(2), of("old7"))
        assert saver.sweep() == 0
        clock.seconds = 70
        assert (saver.sweep(), for_ever.sweep()) == (44, 0)
        assert [one.id for one in saver.threads()] == ["old7"]
        clock.seconds = 101
        assert asyncio.run(saver.asweep()) == 1
        assert saver._access._store.read(lambda reader: reader.sizes())["content_bytes"] == 0


async def test_a_node_drops_threads_after_their_ttl():
    clock = Ahead()
    async with Manager(Settings(store="memory"), clock=clock) as manager:
        saver = PenstockSaver(manager, ttl=60)
        await chat(saver).ainvoke(said(1), CONFIG)
        pruner = next(one for one in manager.node._loopers if type(one).__name__ == "Pruner")
        clock.seconds = 61
        pruner.hurry()
        await wait_until(lambda: not manager.peek(lambda reader: reader.threads()))
        assert await saver.astate("t") is None


async def wait_until(condition, seconds=10):
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_manager_serves_threads_and_other_loops(tmp_path):
    async with Manager(Settings(store=str(tmp_path / "a.db"))) as manager:
        saver = PenstockSaver(manager)
        await asyncio.to_thread(chat(saver).invoke, said(1), CONFIG)
        await asyncio.to_thread(lambda: asyncio.run(chat(saver).ainvoke(said(2), CONFIG)))
        assert len((await saver.astate("t"))["messages"]) == 4
        with pytest.raises(BlockingCall, match="ainvoke"):
            chat(saver).invoke(said(3), CONFIG)
        with pytest.raises(BlockingCall, match="ainvoke"):
            saver.delete_thread("t")
        before = manager.node.committer.transactions
        await asyncio.gather(*(chat(saver).ainvoke(said(1), of(f"many{n}")) for n in range(50)))
        assert manager.node.committer.transactions - before < 150  # 50 turns, each with 5 writes or more
    with pytest.raises(ConfigurationError, match="not running"):
        await saver.aget_tuple(CONFIG)


def test_a_synchronous_manager(tmp_path):
    with SyncTaskManager(store=str(tmp_path / "a.db")) as manager:
        saver = PenstockSaver(manager)
        chat(saver).invoke(said(1), CONFIG)
        asyncio.run(chat(saver).ainvoke(said(2), CONFIG))
        assert len(saver.state("t")["messages"]) == 4


def test_wrong_arguments_are_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="from_store"):
        PenstockSaver("a.db")
    with pytest.raises(ConfigurationError, match="ttl"):
        PenstockSaver.from_store("memory", ttl=0)
    with PenstockSaver.from_store("memory") as saver:
        with pytest.raises(ConfigurationError, match="keep_latest"):
            saver.prune(["t"], strategy="oldest")
        with pytest.raises(ConfigurationError, match="thread_id"):
            saver.get_tuple({"configurable": {}})
    with pytest.raises(StoreError, match="closed"):
        saver.get_tuple(CONFIG)


def test_other_serializers_are_used():
    with PenstockSaver.from_store("memory", serde=EncryptedSerializer(Inverting())) as saver:
        for n in range(4):
            chat(saver).invoke(said(n), CONFIG)
        assert len(saver.state("t")["messages"]) == 8
        stored = saver._access.read(lambda reader: reader.checkpoint(CheckpointAt("t")))
        assert dict(stored.values)["messages"].type == "msgpack+z"
        assert b"question" not in dict(stored.values)["messages"].data


def test_values_that_cannot_be_serialized_are_never_pickled():
    with PenstockSaver.from_store("memory") as saver:
        with pytest.raises(TypeError):
            saver.put_writes(
                {"configurable": {"thread_id": "t", "checkpoint_id": "1"}}, [("c", threads_of)], "task"
            )
        assert saver.threads() == []


class Inverting:
    def encrypt(self, plaintext):
        return "z", bytes(255 - byte for byte in plaintext)

    def decrypt(self, ciphername, ciphertext):
        return self.encrypt(ciphertext)[1]


def threads_of(path):
    with PenstockSaver.from_store(path) as saver:
        return {one.id: len(saver.state(one.id)["messages"]) for one in saver.threads()}


def test_several_processes_and_threads_write_at_the_same_time(tmp_path):
    path = str(tmp_path / "a.db")
    talkers = [talker(path, f"t{n % 2}", 2) for n in range(3)]
    with PenstockSaver.from_store(path) as saver, ThreadPoolExecutor(3) as pool:

        def talk(n):
            for turn in range(2):
                chat(saver).invoke(said(turn), of(f"own{n}"))

        list(pool.map(talk, range(3)))
    assert [one.wait(60) for one in talkers] == [0, 0, 0]
    found = threads_of(path)
    assert {thread: count for thread, count in found.items() if thread != "t0"} == {
        "t1": 4, "own0": 4, "own1": 4, "own2": 4,
    }  # fmt: skip
    with SqliteStore.open(path) as store:
        assert store.verify() == []


async def test_a_store_that_another_process_dispatches(tmp_path):
    path = str(tmp_path / "a.db")
    async with Manager(Settings(store=path)) as manager:
        process = talker(path, "t", 3)
        await chat(PenstockSaver(manager)).ainvoke(said(1), of("own"))
        assert await asyncio.to_thread(process.wait, 60) == 0
        assert len((await PenstockSaver(manager).astate("t"))["messages"]) == 6


@pytest.mark.parametrize("turns", [2, 7])
def test_what_was_acknowledged_survives_kill_9(turns, tmp_path):
    path = str(tmp_path / "a.db")
    process = talker(path, "t", 1_000)
    kept = [int(process.stdout.readline()) for _ in range(turns)][-1]
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with PenstockSaver.from_store(path) as saver:
        graph = chat(saver)
        messages = graph.get_state(CONFIG).values["messages"]
        assert {f"q{n}" for n in range(kept + 1)} <= {one.id for one in messages}
        graph.invoke(None, CONFIG)
        graph.invoke(said("after"), CONFIG)
        assert graph.get_state(CONFIG).next == ()
        assert saver._access._store.verify() == []
        saver.prune(["t"])
        assert saver._access._store.verify() == []
        saver._access.write(lambda tx: tx.prune(Retention(), 0))


def test_without_the_library_the_extra_is_named(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['langgraph'] = None")
    code = "import penstock.integrations.langgraph"
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": paths}
    )
    assert "pip install 'penstock[langgraph]'" in found.stderr


def talker(path, thread, turns):
    command = [sys.executable, "-m", "tests.integrations.talking", path, thread, str(turns)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
    out = subprocess.PIPE if turns > 100 else subprocess.DEVNULL
    return subprocess.Popen(command, stdout=out, env=environment, cwd=ROOT)


async def test_writes_and_the_checkpoint_behind_them_are_one_transaction(tmp_path):
    async with PenstockSaver.from_store(str(tmp_path / "s.db")) as saver:
        before = saver._access._committer.transactions
        first = empty_checkpoint()
        config = await saver.aput(of_root("t"), first, {}, {})
        assert saver._access._committer.transactions == before + 1

        async def a_little_later():
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            await saver.aput(config, {**first, "id": first["id"] + "1"}, {}, {})

        await asyncio.gather(saver.aput_writes(config, [("said", 1)], "task"), a_little_later())
        assert saver._access._committer.transactions == before + 2
        assert (await saver.aget_tuple(config)).pending_writes == [("task", "said", 1)]


async def test_a_write_that_fails_fails_alone(tmp_path):
    async with PenstockSaver.from_store(str(tmp_path / "s.db")) as saver:
        gone = saver._access.awrite(lambda tx: {}["nothing"])
        kept = saver.aput(of_root("t"), empty_checkpoint(), {}, {})
        left = asyncio.ensure_future(saver.aput(of_root("left"), empty_checkpoint(), {}, {}))
        asyncio.get_running_loop().call_soon(left.cancel)
        outcomes = await asyncio.gather(gone, kept, left, return_exceptions=True)
        assert [type(one) for one in outcomes] == [KeyError, dict, asyncio.CancelledError]
        assert await saver.aget_tuple(of("t")) is not None


def of_root(thread):
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
