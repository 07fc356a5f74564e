"""What a claim costs as the backlog grows, half of it in a lane that is blocked."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from statistics import median

from penstock.cli.bench.measurement import BenchOptions, Figure, Measurement, at_most
from penstock.cli.bench.rig import DATA, RESULT, raw, scratch
from penstock.model.ids import new_id
from penstock.model.lane import Lane
from penstock.model.rank import Rank
from penstock.model.states import TaskStatus
from penstock.model.task import Finish, NewTask
from penstock.stores.sqlite.store import SqliteStore

BATCH, CLAIMS, CHUNK = 100, 41, 5_000
MOVING, BLOCKED = Lane("bench", "moving"), Lane("bench", "blocked")


def _claim(options: BenchOptions) -> Iterator[Figure]:
    backlogs = (1_000, 10_000) if options.quick else (1_000, 100_000, 1_000_000)
    for durability in options.durable("normal"):
        alone = 1e3 * BATCH / raw(options, durability, options.size(20_000, 2_000)).claim
        costs = []
        with scratch(options.directory) as folder, SqliteStore.open(folder / "bench.db", durability) as store:
            waiting = 0
            for backlog in backlogs:
                _fill(store, backlog - waiting)
                waiting = backlog
                costs.append(median(_costs(store)) * 1e3)
                name = f"claim of {BATCH}, {backlog:,} waiting, {durability}"
                yield Figure(name, costs[-1], "ms", alone, note="raw: nothing blocked, mean over its backlog")
        name = f"{backlogs[-1]:,} against {backlogs[0]:,} waiting, {durability}"
        yield Figure(name, costs[-1] / costs[0], "x", None, at_most(2))


def _costs(store: SqliteStore) -> list[float]:
    """Seconds of each of some claims, commit included; between them the backlog is made up again."""
    node = store.run(
        lambda transaction: transaction.join("bench", 0, "bench", time.time(), time.time() + 3_600)
    )
    lane = store.run(lambda transaction: transaction.lane(MOVING))
    costs = []
    for _ in range(CLAIMS):
        begun = time.perf_counter()
        claimed = store.run(lambda transaction: transaction.claim({lane: BATCH}, node, time.time(), BATCH))
        costs.append(time.perf_counter() - begun)
        if len(claimed) != BATCH:
            raise AssertionError(f"a claim of {BATCH} gave {len(claimed)} tasks")
        ends = [Finish(task, TaskStatus.COMPLETED, time.time(), json.dumps(RESULT)) for task in claimed]
        store.run(lambda transaction, ends=ends: transaction.finish(ends))  # type: ignore[misc]
        store.run(lambda transaction: transaction.add([_task(MOVING) for _ in range(BATCH)]))
    return costs


def _fill(store: SqliteStore, count: int) -> None:
    for begin in range(0, count, CHUNK):
        tasks = [_task(MOVING if place % 2 else BLOCKED) for place in range(min(CHUNK, count - begin))]
        store.run(lambda transaction, tasks=tasks: transaction.add(tasks))  # type: ignore[misc]


def _task(lane: Lane) -> NewTask:
    now = time.time()
    return NewTask(new_id(), lane.type, lane, Rank(0, now), now, _PAYLOAD, entered_at=now)


_PAYLOAD = json.dumps(DATA)

CLAIM = Measurement("claim", "the cost of a claim of 100 as the backlog grows, half of it blocked", _claim)
