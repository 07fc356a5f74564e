"""A first claim makes no task larger, so that no page of the file overflows: the row keeps room for it."""

import sqlite3

import pytest

from penstock.stores.sqlite.store import SqliteStore
from penstock.testing.store_probe import NOW, Probe, task_named

TASKS = 200


def pages_of_tasks(store):
    """(pages, bytes of all rows) of the table of tasks."""
    try:
        return store._writer.execute(
            "select count(*), sum(payload) from dbstat where name = 'tasks' and pagetype = 'leaf'"
        ).fetchone()
    except sqlite3.OperationalError as error:
        pytest.skip(f"this SQLite tells nothing of pages: {error}")


def room(store):
    return store._writer.execute("select length(room), count(*) from tasks group by 1").fetchall()


def some(flow):
    return [
        task_named(at=NOW + 0.5 + place, flow=f"tenant-{place}" if flow else None) for place in range(TASKS)
    ]


@pytest.mark.parametrize("flow", [False, True])
def test_a_first_claim_makes_no_task_larger(flow):
    with SqliteStore.open(":memory:") as store:
        probe = Probe(store)
        lane = probe.offer(*some(flow))[0].lane
        pages, size = pages_of_tasks(store)
        assert room(store) == [(18, TASKS)]
        if flow:
            wanted = {lane: {f"tenant-{place}": 1 for place in range(TASKS)}}
            claimed = store.run(lambda tx: tx.claim_flows(wanted, probe.node, NOW + 0.25))
        else:
            claimed = store.run(lambda tx: tx.claim({lane: TASKS}, probe.node, NOW + 0.25))
        assert len(claimed) == TASKS
        assert room(store) == [(None, TASKS)]
        now_pages, now_size = pages_of_tasks(store)
        assert now_pages == pages
        assert size - 4 * TASKS <= now_size <= size
        assert store.verify() == []
