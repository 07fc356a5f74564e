"""Many tasks at once: counts, ids, tags and the filters of lists."""

import pytest

from penstock.model.lane import Lane
from penstock.model.rank import Rank
from penstock.model.states import TaskStatus
from penstock.model.task import OMITTED, NewTask
from penstock.stores.contract import TaskFilter
from penstock.stores.sqlite.store import SqliteStore

LANE = Lane("t", "")


def new(number, **fields):
    return NewTask(f"{number:032x}", "t", LANE, Rank(0, float(number)), 100.0, entered_at=100.0, **fields)


@pytest.fixture
def store():
    opened = SqliteStore.open(":memory:")
    tasks = [
        new(
            n,
            tenant=("", "a", "b")[n % 3],
            priority=n,
            tags=(f"g/{n % 2}", "all"),
            program="p" if n < 4 else None,
        )
        for n in range(9)
    ]
    opened.run(lambda tx: tx.add(tasks))
    yield opened
    opened.close()


def test_counts_are_by_status(store):
    store.run(lambda tx: tx.pause(TaskFilter(tenant="a"), 101.0))
    found = store.read(lambda reader: reader.counts(TaskFilter()))
    assert {status: one.count for status, one in found.items()} == {
        TaskStatus.QUEUED: 6,
        TaskStatus.PAUSED: 3,
    }
    (claimed, *_) = store.run(lambda tx: tx.claim({1: 9}, tx.join("n", 1, "h", 102.0, 200.0), 105.0))
    one = store.read(lambda reader: reader.counts(TaskFilter(ids=(claimed.id,))))[TaskStatus.RUNNING]
    assert (one.count, one.queue_seconds, one.run_seconds) == (1, 5.0, 0.0)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (TaskFilter(tenant="a"), [1, 4, 7]),
        (TaskFilter(tenant=""), [0, 3, 6]),
        (TaskFilter(priorities=(2, 5, 99)), [2, 5]),
        (TaskFilter(program="p", tenant="b"), [2]),
        (TaskFilter(tags=("g/0", "all"), statuses=(TaskStatus.QUEUED, TaskStatus.FAILED)), [0, 2, 4, 6, 8]),
    ],
)
def test_ids_go_on_behind_the_last(store, where, expected):
    first = store.read(lambda reader: reader.ids(where, limit=2))
    rest = store.read(lambda reader: reader.ids(where, first[-1][0]))
    assert [int(id, 16) for _, id in first + rest] == expected
    views = store.read(lambda reader: reader.tasks(where))
    assert [int(view.id, 16) for view in views] == expected[::-1]


def test_tags_by_their_beginning(store):
    assert store.read(lambda reader: reader.tags("g/")) == ["g/1", "g/0"]
    assert store.read(lambda reader: reader.tags("g/", "g/1")) == ["g/0"]
    assert store.read(lambda reader: reader.tags("g/", limit=1)) == ["g/1"]
    assert store.read(lambda reader: reader.tags("x")) == []


def test_large_values_can_be_left_out(store):
    store.run(lambda tx: tx.add([new(99, payload='"' + "x" * 5000 + '"')]))
    (view,) = store.read(lambda reader: reader.tasks(TaskFilter(), limit=1, whole=False))
    assert view.payload is OMITTED
    (view,) = store.read(lambda reader: reader.tasks(TaskFilter(), limit=1))
    assert view.payload == "x" * 5000


def test_events_tell_the_tenant(store):
    events = store.read(lambda reader: reader.events(0))
    assert [event.tenant for event in events][:3] == ["", "a", "b"]


def test_a_tenant_is_found_by_its_index(store):
    plan = store._writer.execute(
        "explain query plan select t.seq from tasks t where t.tenant = 'a' and t.tenant <> '' order by t.seq"
    )
    assert "tasks_tenant" in str(plan.fetchall())
