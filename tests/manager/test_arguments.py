"""Arguments that make no sense are refused by name, and waiting ends with the manager."""

import asyncio

import pytest

from penstock import (
    AITaskManager,
    APIConfig,
    ConfigurationError,
    InvalidTask,
    PenstockError,
    TaskConfig,
    TaskNotFound,
    TaskStatus,
)


async def never(context):
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("max_retries", -1),
        ("max_retries", 2.5),
        ("max_retries", True),
        ("retry_delay", -1),
        ("retry_delay", None),
        ("timeout", 0),
        ("timeout", float("nan")),
        ("estimated_tokens", -1),
        ("estimated_seconds", "long"),
        ("delay", "soon"),
        ("delay", float("inf")),
        ("expires", 0),
        ("slo_seconds", -1),
        ("debounce", 0),
        ("result_ttl", -1),
        ("cache_ttl", 0),
        ("callback", 5),
        ("error_callback", "print"),
        ("progress_callback", {}),
        ("after", "0" * 32),
        ("tenant", 5),
        ("tenant", None),
        ("idempotency_key", 7),
        ("unique_key", b"key"),
    ],
)
def test_configurations_that_make_no_sense(name, wrong):
    with pytest.raises(ConfigurationError, match=name):
        TaskConfig(**{name: wrong})


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"ai_client": "sk-secret-1f9c"}, r"ai_client.*not str"),
        ({"ai_client": object()}, "ai_client"),
        ({"ai_client": []}, "empty"),
        ({"store": 5}, "store"),
        ({"store": "postgres://host/name"}, "store"),
        ({"keep": 5}, "Keep"),
        ({"prices": ["gpt-4o-mini"]}, "prices"),
        ({"prices": {"gpt-4o-mini": {"in": 1}}}, "prices"),
        ({"pools": ["gpu"]}, "pools"),
        ({"zone": "Nowhere/Else"}, "zone"),
        ({"zone": "../etc/passwd"}, "zone"),
        ({"pools": {"gpu": -1}}, "gpu"),
        ({"pools": {"gpu": 1.5}}, "gpu"),
        ({"max_concurrent": 0}, "max_concurrent"),
        ({"daily_limit": "10"}, "daily_limit"),
        ({"budget": 10}, "budget"),
    ],
)
def test_settings_that_make_no_sense(wrong, told):
    with pytest.raises(ConfigurationError, match=told) as refused:
        AITaskManager(**{"store": "memory", **wrong})
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("timeout", "5"), ("timeout", 0), ("rate_limit", "x"), ("rate_limit", 0), ("api_key", 5)],
)
def test_endpoints_that_make_no_sense(name, wrong):
    with pytest.raises(ConfigurationError, match=name):
        APIConfig(**{name: wrong})


async def test_a_start_that_fails_gives_the_store_back(make, monkeypatch):
    async def fail(engine, setup):
        raise OSError("no prices today")

    manager = make()
    with monkeypatch.context() as patched:
        patched.setattr("penstock.manager.ai_task_manager._look_up_prices", fail)
        for _ in range(2):  # the second one must not believe that it runs
            with pytest.raises(OSError, match="no prices"):
                await manager.start()
            assert not manager.is_running()
    async with make() as other:
        assert other.is_running()


async def test_batches_of_what_is_no_task(manager):
    for wrong in ({"task_type": "llm_call"}, "llm_call", None):
        with pytest.raises(InvalidTask, match="tasks must be a list"):
            await manager.submit_batch(wrong)
    good = {"task_type": "llm_call", "data": {"prompt": "x"}}
    with pytest.raises(InvalidTask, match=r"task 1 must be an object.*\('llm_call'"):
        await manager.submit_batch([good, ("llm_call", {"prompt": "x"})])
    with pytest.raises(InvalidTask, match="metadata"):
        await manager.submit_task("llm_call", {"prompt": "x"}, metadata="urgent")
    assert manager.list_tasks() == []


async def test_clean_up_and_lists_say_what_they_take(manager):
    for wrong in (-1, "x", None, float("nan")):
        with pytest.raises(ConfigurationError, match="older_than_hours"):
            await manager.cleanup_old_tasks(wrong)
    with pytest.raises(ConfigurationError, match="TaskFilter"):
        manager.list_tasks("completed")


@pytest.mark.parametrize(
    ("name", "handler", "data", "told"),
    [
        ("", never, None, "name"),
        ("LLM_CALL", never, None, "built in"),
        ("mine", 5, None, "function"),
        ("mine", never, dict, "pydantic"),
    ],
)
def test_types_that_make_no_sense(name, handler, data, told):
    with pytest.raises(ConfigurationError, match=told):
        AITaskManager(store="memory").register_type(name, handler, data=data)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"run": "proc"}, "run"),
        ({"config": {"timeout": 5}}, "TaskConfig"),
        ({"retries": 5}, "no option 'retries'"),
    ],
)
def test_decorators_that_make_no_sense(options, told):
    with pytest.raises(ConfigurationError, match=told):
        AITaskManager(store="memory").task(**options)


async def test_one_id_is_no_list_of_ids(manager):
    id = await manager.submit_task("llm_call", {"prompt": "x"})
    for call in (
        lambda: manager.wait_for_tasks(id),
        lambda: manager.cancel_batch(id),
        lambda: anext(manager.as_completed(id)),
    ):
        with pytest.raises(InvalidTask, match="list of ids"):
            await call()
    with pytest.raises(InvalidTask, match=r"TaskConfig.*dict"):
        await manager.submit_task("llm_call", {"prompt": "x"}, config={"max_retries": 1})


async def test_pages_of_tasks(manager):
    manager.pause()
    ids = [await manager.submit_task("llm_call", {"prompt": f"{n}"}) for n in range(5)]
    pages, last = [], None
    while page := manager.list_tasks(limit=2, after=last):
        pages.append([task.task_id for task in page])
        last = pages[-1][-1]
    assert pages == [ids[:2:-1], ids[2:0:-1], ids[:1]]
    with pytest.raises(TaskNotFound):
        manager.list_tasks(after="0" * 32)


async def test_events_begin_with_the_call(manager):
    before = await manager.submit_task("llm_call", {"prompt": "before"})
    await manager.wait_for_task(before, timeout=10)
    events = manager.events(kinds=["submitted"])
    after = await manager.submit_task("llm_call", {"prompt": "after"})
    assert (await anext(events)).task_id == after
    await events.aclose()


async def test_progress_can_be_looked_up(manager):
    told = asyncio.Event()

    async def half(context):
        context.progress(1, 2, "one of two")
        await told.wait()

    manager.register_type("half", half)
    id = await manager.submit_task("half")
    async with asyncio.timeout(10):
        async for _ in manager.events(id, kinds=["progress"]):
            break
    progress = {"current": 1, "total": 2, "message": "one of two"}
    assert manager.get_task(id).progress == progress
    assert manager.get_task_status(id)["progress"] == progress
    told.set()
    await manager.wait_for_task(id, timeout=10)


async def test_waiting_ends_with_the_manager(make):
    async with make() as manager:
        manager.pause()
        id = await manager.submit_task("llm_call", {"prompt": "x"})
        waiting = [
            asyncio.ensure_future(one)
            for one in (manager.wait_for_task(id), manager.wait_for_tasks([id]), _first(manager, id))
        ]
        while len(manager.engine.waiters._futures.get(id, ())) < len(waiting):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    async with asyncio.timeout(5):
        errors = await asyncio.gather(*waiting, return_exceptions=True)
    assert [isinstance(error, PenstockError) and "stopped" in str(error) for error in errors] == [True] * 3
    async with make() as manager:
        assert manager.get_task(id).status is TaskStatus.QUEUED


async def _first(manager, id):
    return await anext(manager.as_completed([id]))


async def test_a_stop_with_a_limit_of_time(make):
    async with make() as manager:
        manager.register_type("never", never)
        id = await manager.submit_task("never")
        async for _ in manager.events(id, kinds=["started"]):
            break
        async with asyncio.timeout(5):
            await manager.stop(timeout=0.05)
    async with make() as manager:
        assert not manager.get_task(id).status.final
        assert await manager.cancel_task(id)
