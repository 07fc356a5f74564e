"""The calls of the task manager, as SPEC's programs make them."""

import asyncio

import pytest

from penstock import (
    AITaskManager,
    InvalidTask,
    Priority,
    TaskCancelled,
    TaskConfig,
    TaskFailed,
    TaskFilter,
    TaskStatus,
    TaskType,
    WaitTimeout,
)

STATISTICS = {
    "status": {"running", "paused", "uptime_seconds"},
    "queue": {"size", "by_priority"},
    "concurrency": {"running_tasks", "max_concurrent"},
    "rate_limit": {"requests_per_minute", "requests_per_hour", "tokens_per_minute"},
    "cost": {"total", "daily", "hourly"},
    "tasks": {"total", "by_status", "by_type"},
    "performance": {
        "total_processed",
        "total_succeeded",
        "total_failed",
        "success_rate",
        "average_queue_time",
        "average_execution_time",
    },
}


async def never(context):
    await asyncio.Event().wait()


async def fail(context):
    raise ValueError("as it was meant")


async def test_a_call_from_its_door_to_its_figures(manager):
    id = await manager.submit_task(
        TaskType.LLM_CALL, {"prompt": "Say hello", "max_tokens": 20}, Priority.HIGH, metadata={"who": "Ada"}
    )
    reply = await manager.wait_for_task(id, timeout=10)
    assert reply["text"]
    assert manager.get_task_result(id) == reply
    status = manager.get_task_status(id)
    assert status["status"] == TaskStatus.COMPLETED
    assert status["created_at"] <= status["started_at"] <= status["completed_at"]
    metrics = status["metrics"]
    assert metrics["tokens_used"] > 0
    assert metrics["actual_cost"] > 0
    assert metrics["execution_time"] > 0
    assert metrics["queue_time"] >= 0
    assert manager.get_task(id).metadata == {"who": "Ada"}
    told = manager.get_statistics()
    for part, names in STATISTICS.items():
        assert names <= told[part].keys(), part
    assert told["tasks"]["by_status"]["completed"] == 1
    assert told["tasks"]["by_type"] == {"llm_call": 1}
    assert told["rate_limit"]["requests_per_minute"] == {"current": 1, "limit": None}
    assert told["rate_limit"]["tokens_per_minute"]["current"] == metrics["tokens_used"]
    assert told["cost"]["total"]["cost"] == pytest.approx(metrics["actual_cost"])
    assert told["performance"]["success_rate"] == 100
    assert told["performance"]["total_processed"] == 1


async def test_nothing_is_known_of_strangers(manager):
    assert manager.get_task_status("0" * 32) is None
    assert manager.get_task_result("0" * 32) is None
    assert await manager.cancel_task("0" * 32) is False
    assert await manager.cancel_batch(["0" * 32]) == {"0" * 32: False}


async def test_a_batch_goes_in_whole_or_not_at_all(manager):
    wrong = [
        {"task_type": "LLM_CALL", "data": {"prompt": "hello"}},
        {"task_type": "TEXT_CLASSIFICATION", "data": {"text": "hello", "categories": []}},
    ]
    with pytest.raises(InvalidTask, match="categories"):
        await manager.submit_batch(wrong)
    assert manager.get_statistics()["tasks"]["total"] == 0
    right = [{"task_type": "LLM_CALL", "data": {"prompt": f"hello {n}"}, "priority": 7} for n in range(5)]
    ids = await manager.submit_batch(right, priority=Priority.LOW)
    assert len(await manager.wait_for_tasks(ids, timeout=10)) == 5
    assert manager.get_task(ids[0]).priority == 7


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"data": {}}, "task_type"),
        ({"task_type": "LLM_CALL", "daten": {}}, "daten"),
        ({"task_type": "UNKNOWN"}, "UNKNOWN"),
        ({"task_type": 5}, "task_type"),
        ({"task_type": "LLM_CALL", "data": {"prompt": "x"}, "priority": 101}, "101"),
        ({"task_type": "LLM_CALL", "data": {"prompt": "x"}, "metadata": {"a": object()}}, "metadata"),
        ({"task_type": "LLM_CALL", "data": {"prompt": "x"}, "config": TaskConfig(tags="a")}, "tags"),
        ({"task_type": "LLM_CALL", "data": {"prompt": "x"}, "config": TaskConfig(debounce=1)}, "unique_key"),
    ],
)
async def test_wrong_submissions_are_refused_by_name(manager, wrong, told):
    with pytest.raises(Exception, match=told):
        await manager.submit_batch([wrong])
    assert manager.get_queue_status()["is_empty"]


async def test_the_queue_has_a_size(make):
    async with make(max_queue_size=2, max_concurrent=1) as manager:
        manager.register_type("never", never)
        manager.pause()
        for _ in range(2):
            await manager.submit_task("never")
        status = manager.get_queue_status()
        assert status["is_full"]
        assert status["total_size"] == 2
        assert status["by_priority"] == {"URGENT": 0, "HIGH": 0, "MEDIUM": 2, "LOW": 0}
        with pytest.raises(Exception, match="full"):
            await manager.submit_task("never")


async def test_waiting_for_what_does_not_end(manager):
    manager.register_type("never", never)
    manager.register_type("fail", fail)
    slow = await manager.submit_task("never")
    with pytest.raises(WaitTimeout):
        await manager.wait_for_task(slow, timeout=0.05)
    waiting = asyncio.create_task(manager.wait_for_task(slow))
    await asyncio.sleep(0.05)
    assert await manager.cancel_task(slow)
    with pytest.raises(TaskCancelled):
        await asyncio.wait_for(waiting, 5)
    bad = await manager.submit_task("fail", config=TaskConfig(max_retries=0))
    with pytest.raises(TaskFailed, match="as it was meant"):
        await manager.wait_for_task(bad, timeout=5)
    again = await manager.retry_task(bad)
    results = await manager.wait_for_tasks([bad, again], timeout=5, return_exceptions=True)
    assert [type(one) for one in results] == [TaskFailed, TaskFailed]


async def test_a_task_that_waits_in_the_queue_can_be_cancelled_under_its_waiter(manager):
    manager.register_type("never", never)
    manager.pause()
    ids = [await manager.submit_task("never") for _ in range(3)]
    waiting = asyncio.create_task(manager.wait_for_task(ids[0]))
    await asyncio.sleep(0.05)
    assert await manager.cancel_batch(ids[:2]) == {ids[0]: True, ids[1]: True}
    with pytest.raises(TaskCancelled):
        await asyncio.wait_for(waiting, 5)


async def test_pausing_stops_new_starts_only(manager):
    done = []

    async def note(context):
        done.append(context.data)

    manager.register_type("note", note)
    assert manager.is_running()
    assert not manager.is_paused()
    manager.pause()
    assert manager.is_paused()
    assert manager.get_statistics()["status"]["paused"]
    id = await manager.submit_task("note", 1)
    await asyncio.sleep(0.1)
    assert done == []
    manager.resume()
    await manager.wait_for_task(id, timeout=5)
    assert done == [1]


async def test_a_pause_holds_over_a_restart(make):
    async with make() as manager:
        manager.pause()
    async with make() as manager:
        assert manager.is_paused()
        manager.resume()
    async with make() as manager:
        assert not manager.is_paused()
    assert not manager.is_running()
    assert manager.get_statistics()["status"]["running"] is False


async def test_as_completed_and_events(manager):
    may_end = [asyncio.Event() for _ in range(3)]

    async def wait(context):
        await may_end[context.data].wait()
        return context.data

    manager.register_type("wait", wait)
    seen = []

    async def follow():
        async for event in manager.events(kinds=["finished"]):
            seen.append(event.task_id)
            if len(seen) == 3:
                return

    following = asyncio.create_task(follow())
    await asyncio.sleep(0.05)
    ids = [await manager.submit_task("wait", place) for place in (2, 0, 1)]
    may_end[0].set()
    results = []
    async for task in manager.as_completed(ids, timeout=5):
        results.append(task.result)
        may_end[min(2, len(results))].set()
    assert results == [0, 1, 2]
    await asyncio.wait_for(following, 5)
    assert seen == [ids[1], ids[2], ids[0]]
    kinds = [event.kind async for event in manager.events(ids[0])]
    assert kinds[0] == "submitted"
    assert kinds[-1] == "finished"


async def test_the_iterator_of_events_ends_with_the_manager(make):
    async with make() as manager:
        following = asyncio.create_task(_all(manager.events()))
        await asyncio.sleep(0.05)
        await manager.wait_for_task(await manager.submit_task("llm_call", {"prompt": "hi"}), timeout=10)
    events = await asyncio.wait_for(following, 5)
    assert [event.kind for event in events][-1] == "finished"


async def _all(source):
    return [one async for one in source]


async def test_tags_metadata_and_keys(manager):
    manager.pause()
    data = {"prompt": "hello"}
    one = await manager.submit_task(
        "llm_call", data, config=TaskConfig(tags=("a", "b"), idempotency_key="k1"), metadata={"run": 7}
    )
    same = await manager.submit_task("llm_call", data, config=TaskConfig(idempotency_key="k1"))
    assert one == same
    other = await manager.submit_task("llm_call", data, config=TaskConfig(tags=("b",), unique_key="u"))
    assert await manager.submit_task("llm_call", {"prompt": "x"}, config=TaskConfig(unique_key="u")) == other
    assert {task.task_id for task in manager.list_tasks(TaskFilter(tags=("b",)))} == {one, other}
    assert [task.task_id for task in manager.list_tasks(TaskFilter(metadata={"run": 7}))] == [one]
    assert manager.get_task(one).tags == ("a", "b")


async def test_dependencies_hand_their_results_on(manager):
    async def double(context):
        return 2 * context.data

    async def add(context):
        results = await context.results()
        return sum(results.values())

    manager.register_type("double", double)
    manager.register_type("add", add)
    manager.register_type("fail", fail)
    parts = [await manager.submit_task("double", number) for number in (1, 2, 3)]
    total = await manager.submit_task("add", config=TaskConfig(after=parts))
    assert await manager.wait_for_task(total, timeout=5) == 12
    broken = await manager.submit_task("fail", config=TaskConfig(max_retries=0))
    never_run = await manager.submit_task("add", config=TaskConfig(after=[broken]))
    with pytest.raises(TaskFailed, match="dependency_failed"):
        await manager.wait_for_task(never_run, timeout=5)


async def test_expiry_and_delay(manager):
    manager.pause()
    late = await manager.submit_task("llm_call", {"prompt": "x"}, config=TaskConfig(expires=0.1))
    with pytest.raises(TaskFailed, match="expired"):
        await manager.wait_for_task(late, timeout=5)
    manager.resume()
    loop = asyncio.get_running_loop()
    begun = loop.time()
    id = await manager.submit_task("llm_call", {"prompt": "x"}, config=TaskConfig(delay=0.3))
    await manager.wait_for_task(id, timeout=5)
    assert loop.time() - begun >= 0.29


async def test_cleaning_up(manager):
    ids = [await manager.submit_task("llm_call", {"prompt": f"{n}"}) for n in range(3)]
    await manager.wait_for_tasks(ids, timeout=10)
    assert await manager.cleanup_old_tasks(older_than_hours=1) == 0
    assert await manager.cleanup_old_tasks(older_than_hours=0) == 3
    assert manager.get_task(ids[0]) is None
    assert manager.get_statistics()["performance"]["total_succeeded"] == 3


async def test_slots_for_a_claim_are_not_in_use():
    async with AITaskManager(store="memory", max_concurrent=5) as manager:

        @manager.task
        def one(n: int) -> int:
            return n

        await (await one.submit(1))
        slots, seen = manager.engine.node.services.slots, set()
        for _ in range(20):
            manager.engine.node.dispatcher.notice_all()
            seen.add((slots.taken, manager.get_statistics()["concurrency"]["running_tasks"]))
            await asyncio.sleep(0)
        assert seen == {(0, 0), (5, 0)}
