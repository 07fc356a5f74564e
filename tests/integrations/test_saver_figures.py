"""What a long conversation costs, beside LangGraph's own checkpointers on SQLite in the same run."""

import asyncio
import sqlite3
import time

import pytest
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from tests.integrations.saver_graphs import chat, said

from penstock.integrations.langgraph import PenstockSaver
from penstock.manager import Manager
from penstock.runtime.settings import Settings

CONFIG = {"configurable": {"thread_id": "t"}}


def size(path):
    connection = sqlite3.connect(path)
    connection.execute("pragma wal_checkpoint(truncate)").fetchall()
    connection.execute("vacuum")
    (pages,), (page,) = (
        connection.execute("pragma page_count").fetchone(),
        connection.execute("pragma page_size").fetchone(),
    )
    connection.close()
    return pages * page


def timed(graph, turns):
    begun = time.perf_counter()
    for n in range(turns):
        graph.invoke(said(n), CONFIG)
    return (time.perf_counter() - begun) / turns * 1e3


def both(folder, turns):
    """(bytes, milliseconds a turn) of theirs and of ours."""
    with SqliteSaver.from_conn_string(str(folder / "theirs.db")) as saver:
        their_time = timed(chat(saver), turns)
        expected = chat(saver).get_state(CONFIG).values
    with PenstockSaver.from_store(str(folder / "ours.db")) as saver:
        our_time = timed(chat(saver), turns)
        assert chat(saver).get_state(CONFIG).values == expected
    with PenstockSaver.from_store(str(folder / "empty.db")):
        pass
    ours = size(folder / "ours.db") - size(folder / "empty.db")
    return (size(folder / "theirs.db"), their_time), (ours, our_time)


def test_a_conversation_grows_linearly(tmp_path):
    sizes = {}
    for turns in (20, 60):
        (tmp_path / str(turns)).mkdir()
        (theirs, _), (sizes[turns], _) = both(tmp_path / str(turns), turns)
    assert sizes[60] < 4 * sizes[20]
    assert sizes[60] < theirs / 5


@pytest.mark.slow
def test_figures_of_200_turns(tmp_path, capsys):
    (their_bytes, their_time), (our_bytes, our_time) = both(tmp_path, 200)
    with capsys.disabled():
        print(
            f"\n200 turns of 0.4 KB twice: SqliteSaver {their_bytes / 1e6:.1f} MB, "
            f"PenstockSaver {our_bytes / 1e6:.2f} MB"
        )
        print(f"a turn, synchronous: SqliteSaver {their_time:.1f} ms, PenstockSaver {our_time:.1f} ms")
    assert our_bytes < their_bytes / 10


@pytest.mark.slow
async def test_figures_of_many_conversations(tmp_path, capsys):
    async def conversations(saver):
        begun = time.perf_counter()
        await asyncio.gather(*(conversation(chat(saver), n) for n in range(50)))
        return time.perf_counter() - begun

    async def conversation(graph, n):
        for turn in range(10):
            await graph.ainvoke(said(turn), {"configurable": {"thread_id": f"t{n}"}})

    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "theirs.db")) as saver:
        theirs = await conversations(saver)
    async with PenstockSaver.from_store(str(tmp_path / "alone.db")) as saver:
        alone = await conversations(saver)
    async with Manager(Settings(store=str(tmp_path / "managed.db"))) as manager:
        managed = await conversations(PenstockSaver(manager))
    with capsys.disabled():
        print(
            f"\n500 turns of 50 conversations at once: AsyncSqliteSaver {theirs:.1f} s, "
            f"PenstockSaver {alone:.1f} s, on a manager {managed:.1f} s"
        )
    assert managed < theirs
