"""A store with many finished tasks: figures at a constant cost, and a cleanup that is in nobody's way."""

import asyncio
import resource
import statistics
import time

import pytest

from penstock.model.clock import SystemClock
from penstock.model.ids import new_id
from penstock.model.lane import Lane
from penstock.model.rank import Rank
from penstock.model.task import NewTask
from penstock.stores.sqlite.store import SqliteStore


def fill(path, count):
    """So many failed tasks, ended an hour ago."""
    store = SqliteStore.open(str(path), durability="normal")
    at = SystemClock().wall() - 3600
    lane = Lane("old")
    for start in range(0, count, 10_000):
        tasks = [
            NewTask(new_id(), "old", lane, Rank(0, at), at, payload='{"text":"hello"}', error='{"code":"x"}')
            for _ in range(min(10_000, count - start))
        ]
        store.run(lambda transaction, tasks=tasks: transaction.add(tasks))
    store.close()


def usual_ms(call):
    """What it takes where the machine does nothing else meanwhile: a tenth of the calls are quicker."""
    took = []
    for _ in range(200):
        begun = time.perf_counter()
        call()
        took.append(1000 * (time.perf_counter() - begun))
    return statistics.quantiles(took, n=10)[0]


async def figures(manager):
    return usual_ms(manager.get_statistics), usual_ms(manager.get_queue_status)


@pytest.mark.parametrize("count", [20_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
@pytest.mark.timeout(600)
async def test_finished_tasks_cost_nothing_and_leave_quietly(make, tmp_path, count):
    async with make(store=str(tmp_path / "empty.db")) as manager:
        empty = await figures(manager)
    fill(tmp_path / "full.db", count)

    async def quick(context):
        return None

    async with make(store=str(tmp_path / "full.db")) as manager:
        full = await figures(manager)
        assert manager.get_statistics()["tasks"]["by_status"]["failed"] == count
        manager.register_type("quick", quick)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        begun = time.perf_counter()
        cleaning = asyncio.create_task(manager.cleanup_old_tasks(older_than_hours=0.5))
        waits = []
        while not cleaning.done():
            submitted = time.perf_counter()
            await manager.wait_for_task(await manager.submit_task("quick"), timeout=60)
            waits.append(time.perf_counter() - submitted)
            await asyncio.sleep(0.02)
        assert await cleaning == count
        took = time.perf_counter() - begun
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before
    print(
        f"{count} finished: statistics {full[0]:.3f} ms (empty {empty[0]:.3f}), queue {full[1]:.3f} ms "
        f"(empty {empty[1]:.3f}); cleanup {took:.1f} s, {grown:.0f} MB more, {len(waits)} tasks meanwhile, "
        f"longest {max(waits, default=0):.3f} s"
    )
    assert full[0] < 2 * empty[0] + 0.2
    assert full[1] < 2 * empty[1] + 0.2
    assert grown < 100
    assert max(waits, default=0) < 2
