"""A node that starts again goes on in the order in which it was: shares, programs, suspects, sizes."""

import asyncio
import sqlite3

import pytest

from penstock import Manager, Settings, Submission, TaskOptions
from penstock.errors import StoreFull
from penstock.testing import virtually


def settings(path, **more):
    return Settings(**{"store": str(path), "durability": "normal", "max_concurrent": 1, **more})


async def until(condition, seconds=15):
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


def as_after_a_crash(path, target):
    """The store as it is now, in another file: whoever works on the first knows nothing of it."""
    with sqlite3.connect(path) as source, sqlite3.connect(target) as copy:
        source.backup(copy)
    source.close()
    copy.close()
    return target


def sharing(path, log):
    manager = Manager(settings(path, strategy="fair"))

    async def work(context):
        log.append(context.tenant)
        await asyncio.sleep(context.data)

    manager.register("work", work)
    return manager


@pytest.mark.parametrize("crash", [False, True], ids=["stop", "crash"])
@virtually
async def test_shares_go_on_after_a_restart(tmp_path, crash):
    path, log, later = tmp_path / "s.db", [], []
    async with sharing(path, log) as manager:
        await manager.pause()
        for tenant, seconds in (("a", 0.25), ("b", 0.005)):
            await manager.submit_many([Submission("work", seconds, tenant=tenant) for _ in range(12)])
        await manager.resume()
        await until(lambda: log.count("a") == 1 and log.count("b") >= 1)
        if crash:
            path = as_after_a_crash(path, tmp_path / "crashed.db")
        await manager.stop(now=True)
    async with sharing(path, later) as manager:
        await until(lambda: len(later) >= 6)
        await manager.stop(now=True)
    assert set(later[:6]) == {"b"}, "a has had its share"


def programs(path, log):
    manager = Manager(settings(path, strategy="shortest_program"))

    async def work(context):
        log.append(context.data["name"])
        await context.step("work", asyncio.sleep, context.data["seconds"])

    manager.register("work", work)
    return manager


def part(name, program, size, seconds=0.0):
    return Submission("work", {"name": name, "seconds": seconds}, program=program, size=size)


@pytest.mark.parametrize("crash", [False, True], ids=["stop", "crash"])
@virtually
async def test_programs_go_on_after_a_restart(tmp_path, crash):
    path, log, later = tmp_path / "p.db", [], []
    async with programs(path, log) as manager:
        await manager.pause()
        [first] = await manager.submit_many([part("p1", "p", 0.35, seconds=0.3)])
        await manager.resume()
        await manager.wait(first)
        await manager.pause()
        await manager.submit_many([part("q1", "q", 0.2)])
        if crash:
            path = as_after_a_crash(path, tmp_path / "crashed.db")
    async with programs(path, later) as manager:
        # Without what p attained it would have 0.45 left, and without its size 0.1.
        ids = await manager.submit_many([part("q2", "q", 0.05), part("p2", "p", 0.1)])
        await manager.resume()
        await asyncio.gather(*map(manager.wait, ids))
        await manager.idle()
    assert later == ["p2", "q1", "q2"]


async def test_suspects_wait_aside_until_their_turn(tmp_path):
    path, running, most = tmp_path / "c.db", [], []
    manager = Manager(settings(path, max_concurrent=4))

    async def work(context):
        running.append(context.task_id)
        most.append(len(running))
        await asyncio.sleep(0.03)
        running.remove(context.task_id)

    manager.register("work", work)
    async with manager:
        await manager.pause()
        ids = await manager.submit_many([Submission("work", n) for n in range(12)])
    with sqlite3.connect(path) as connection:
        connection.execute("update tasks set crashes = 2")
    connection.close()
    async with manager:
        await manager.resume()
        async with asyncio.timeout(10):
            await asyncio.gather(*map(manager.wait, ids))
        events = await manager.read(lambda reader: reader.events(0, 1_000))
        transactions = manager.node.committer.transactions
    assert max(most) == 1, "one at a time, so that the one to blame is found"
    assert sum(event.kind == "put_back" for event in events) <= 12, "each is put aside once"
    assert transactions < 120


async def test_suspects_set_aside_before_a_crash_do_not_wait_for_somebody_to_call_them(tmp_path):
    path, started = tmp_path / "c.db", asyncio.Event()

    def suspecting(path, forever):
        manager = Manager(settings(path, max_concurrent=4))

        async def work(_):
            started.set()
            await asyncio.sleep(1e6 if forever else 0)

        manager.register("work", work)
        return manager

    first = suspecting(path, forever=True)
    async with first:
        await first.pause()
        ids = await first.submit_many([Submission("work", n) for n in range(4)])
        later = await first.submit("work", delay=3_600)
    with sqlite3.connect(path) as connection:
        connection.execute("update tasks set crashes = 2")
    connection.close()
    await first.start()
    await first.resume()
    async with asyncio.timeout(10):
        await started.wait()
        while len(await first.read(lambda reader: reader.events(0, 99, None, ("put_back",)))) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.002)
    copy = as_after_a_crash(path, tmp_path / "copy.db")
    await first.stop(now=True)
    async with suspecting(copy, forever=False) as second:
        async with asyncio.timeout(20):  # 60 s from their being set aside
            done = await asyncio.gather(*map(second.wait, ids), return_exceptions=True)
        assert sum(isinstance(end, Exception) for end in done) == 1, "that which ran at three crashes"
        assert not (await second.get(later)).status.final


async def test_tasks_put_back_without_a_flow_are_found_under_fair(tmp_path):
    """Put back by a node that worked under an older strategy, while others of the lane wait."""
    path, log = tmp_path / "f.db", []
    async with sharing(path, log) as manager:
        await manager.pause()
        ids = await manager.submit_many(
            [Submission("work", 0.001, tenant=tenant) for tenant in ("a", "b") for _ in range(5)]
        )
    with sqlite3.connect(path) as connection:
        connection.execute("update tasks set flow = null, band = 0, key = 0 where seq % 3 = 0")
    connection.close()
    async with sharing(path, log) as manager:
        await manager.resume()
        async with asyncio.timeout(10):
            await asyncio.gather(*map(manager.wait, ids))
        counters = manager.node.services.shares.flows.counters()
    assert (log.count("a"), log.count("b")) == (5, 5)
    assert counters.get("", 0.0) == 0.0, "what had no flow was charged to its tenant"


@virtually
async def test_only_completed_tasks_teach_sizes(tmp_path):
    manager = Manager(settings(tmp_path / "l.db", strategy="shortest_job_first", size_in="seconds"))

    async def work(context):
        await context.step(f"step {context.attempt}", asyncio.sleep, 0.05)
        if context.attempt < 3:
            raise RuntimeError("again")

    manager.register("work", work, options=TaskOptions(max_retries=3, retry_delay=0.001))
    async with manager:
        await manager.wait(await manager.submit("work"), timeout=10)
        sizes = manager.node.ranker.sizes
    learned = sizes.seconds(("work", "", ""))
    assert learned.seen == 1
    assert learned.mean == pytest.approx(0.15, rel=0.4), "over all its claims"
    assert sizes.tokens(("work", "", "")) is None


async def test_a_store_that_fails_at_the_start_fails_the_start_and_no_more(tmp_path, monkeypatch, caplog):
    def full(node, store):
        raise StoreFull("the disk is full")

    manager = Manager(settings(tmp_path / "s.db"))
    with monkeypatch.context() as patch:
        patch.setattr("penstock.runtime.node.arrive", full)
        with pytest.raises(StoreFull, match="the disk is full"):
            await manager.start()
    assert caplog.records == []
    async with manager:
        assert manager.node.failure is None
