"""Schedules through both managers: defined, fired, refused, steered, and seen by another process."""

import asyncio
import time

import pytest

from penstock import (
    BudgetExhausted,
    ConfigurationError,
    InvalidTask,
    Manager,
    Priority,
    ScheduleNotFound,
    Settings,
    Submission,
    SyncTaskManager,
    TaskConfig,
    TaskFilter,
    TaskOptions,
    TaskType,
)
from penstock.manager.scheduling import Timing, keep, schedule_of
from penstock.stores.sqlite.store import SqliteStore
from penstock.testing.clock import VirtualClock

NINE = 1_790_067_600.0  # 2026-09-22T09:00:00Z


async def eventually(condition, seconds=10.0):
    async with asyncio.timeout(seconds):
        while not (found := condition()):  # noqa: ASYNC110 (conditions of many kinds)
            await asyncio.sleep(0.005)
    return found


async def echo(context):
    return context.data


@pytest.fixture
async def engine():
    """A manager in virtual time, ten minutes before nine."""
    manager = Manager(Settings(store="memory"), clock=VirtualClock(NINE - 600))
    manager.register("echo", echo)
    async with manager:
        yield manager


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "work.db")


def tasks(engine, **where):
    return engine.peek(lambda reader: reader.tasks(TaskFilter(**where), newest=False))


async def at(engine, instant):
    """Let it be that instant."""
    engine.clock.advance(instant - engine.clock.wall())
    engine.node.cron.look()
    await eventually(lambda: not due_now(engine))


def due_now(engine):
    return engine.peek(lambda reader: reader.due_schedules(engine.clock.wall()))


async def test_a_schedule_makes_tasks_with_all_it_was_given(engine):
    schedule = await engine.schedule(
        "nightly", "daily at 9:00", "echo", {"city": "Oslo"}, priority="HIGH", tenant="ann", tags=["weather"],
        metadata={"who": "Ada"}, options=TaskOptions(max_retries=1, timeout=9.0),
    )  # fmt: skip
    assert (schedule.next_at, schedule.cron) == (NINE, "0 9 * * *")
    await at(engine, NINE)
    (task,) = tasks(engine)
    assert await engine.wait(task.id, timeout=10) == {"city": "Oslo"}
    task = await engine.get(task.id)
    assert (task.priority, task.tenant, task.options) == (30, "ann", {"max_retries": 1, "timeout": 9.0})
    assert set(task.tags) == {"weather", "schedule:nightly"}
    assert task.metadata == {"who": "Ada", "schedule": "nightly", "scheduled_for": "2026-09-22T09:00:00.000Z"}
    (now,) = engine.schedules("ann")
    assert (now.last_at, now.last_task, now.fired, now.next_at) == (NINE, task.id, 1, NINE + 86_400)
    assert engine.schedules("bob") == []


async def test_what_makes_no_sense_is_refused_at_once(engine):
    for words, details in {
        "deadline makes no sense in a schedule; give slo_seconds": {"deadline": NINE},
        "idempotency_key makes no sense": {"idempotency_key": "k"},
        "after makes no sense": {"after": ["id"]},
    }.items():
        with pytest.raises(ConfigurationError, match=words):
            await engine.schedule("s", "hourly", "echo", **details)
    with pytest.raises(ConfigurationError, match="no time of the day"):
        await engine.schedule("s", "daily at nine", "echo")
    with pytest.raises(InvalidTask, match="has no handler here"):
        await engine.schedule("s", "hourly", "unheard of")
    assert engine.schedules() == []


async def test_pause_resume_and_remove(engine):
    await engine.schedule("s", "hourly", "echo")
    await engine.pause_schedule("s")
    await at(engine, NINE + 5)
    assert tasks(engine) == []
    await engine.resume_schedule("s")
    assert engine.schedules()[0].next_at == NINE + 3600
    await at(engine, NINE + 3600)
    assert len(tasks(engine)) == 1
    assert await engine.unschedule("s") is True
    assert await engine.unschedule("s") is False
    await at(engine, NINE + 7200)
    assert len(tasks(engine)) == 1
    for call in (engine.pause_schedule, engine.resume_schedule, engine.run_schedule_now):
        with pytest.raises(ScheduleNotFound, match="there is no schedule 's'"):
            await call("s")


async def test_running_it_now_is_beside_its_ticks(engine):
    await engine.schedule("s", "hourly", "echo", 7)
    id = await engine.run_schedule_now("s")
    assert await engine.wait(id, timeout=10) == 7
    assert await engine.run_schedule_now("s") != id
    assert engine.schedules()[0].next_at == NINE
    await at(engine, NINE)
    assert len(tasks(engine, tags=("schedule:s",))) == 3


async def test_a_unique_key_keeps_firings_from_overlapping(engine):
    await engine.pause()
    await engine.schedule("s", "hourly", "echo", unique_key="one at a time")
    for hour in range(3):
        await at(engine, NINE + 3600 * hour)
    (task,) = tasks(engine)
    assert (engine.schedules()[0].last_task is not None, engine.schedules()[0].fired) == (True, 3)
    await engine.resume()
    await engine.wait(task.id, timeout=10)
    await at(engine, NINE + 3 * 3600)
    assert len(tasks(engine)) == 2


async def test_firings_missed_between_two_lives_follow_the_rule(tmp_path):
    clock = VirtualClock(NINE - 600)

    def make():
        manager = Manager(Settings(store=str(tmp_path / "work.db"), durability="normal"), clock=clock)
        manager.register("echo", echo)
        return manager

    async def define(manager):
        for missed in ("skip", "once", "all"):
            await manager.schedule(missed, "hourly", "echo", missed, missed=missed)

    async with make() as manager:
        await define(manager)
    clock.advance(600 + 3 * 3600 + 1800)  # nine, ten, eleven and twelve o'clock are missed
    async with make() as manager:
        await define(manager)  # as a program does at its start
        await eventually(lambda: not due_now(manager))
        made = [task.payload for task in tasks(manager)]
        assert sorted(made) == ["all"] * 4 + ["once"]
        assert {one.next_at for one in manager.schedules()} == {NINE + 4 * 3600}


async def test_another_process_adds_a_schedule_and_it_fires(path):
    manager = Manager(Settings(store=path, durability="normal"))
    manager.register("echo", echo)
    async with manager:
        with SqliteStore.open(path) as client:
            now = time.time()
            new = schedule_of("s", Timing("every second"), Submission("echo", "hello"), now)
            client.run(lambda tx: keep(tx, new, now))
            task = (await eventually(lambda: tasks(manager)))[0]
            assert await manager.wait(task.id, timeout=10) == "hello"
            client.run(lambda tx: tx.drop_schedule("s"))


async def test_the_task_manager_checks_at_definition_and_again_at_firing(make):
    async with make(budget_limit=1.0) as manager:
        schedule = await manager.schedule(
            "summary", "weekdays at 8:30", TaskType.LLM_CALL, {"prompt": "Summarise", "max_tokens": 20},
            zone="Europe/Berlin", jitter=60, priority=Priority.LOW, metadata={"a": 1},
            config=TaskConfig(max_retries=1, tenant="ann", tags=["x"]),
        )  # fmt: skip
        assert (schedule.type, schedule.tenant, schedule.priority) == ("llm_call", "ann", 10)
        assert schedule.next_at <= schedule.fire_at < schedule.next_at + 60
        assert manager.schedules() == [schedule]
        id = await manager.run_schedule_now("summary", "ann")
        assert (await manager.wait_for_task(id, timeout=10))["text"]
        with pytest.raises(InvalidTask, match="prompt"):
            await manager.schedule("bad", "hourly", TaskType.LLM_CALL, {"prompt": 7})
        with pytest.raises(ConfigurationError, match="lives in this process"):
            await manager.schedule(
                "s", "hourly", "LLM_CALL", {"prompt": "x"}, config=TaskConfig(callback=print)
            )
        manager.adjust_settings(budget_limit=0.0)
        with pytest.raises(BudgetExhausted):
            await manager.run_schedule_now("summary", "ann")
        await manager.schedule("soon", "every second", "LLM_CALL", {"prompt": "x", "max_tokens": 20})
        (refused,) = await eventually(lambda: [one for one in manager.schedules() if one.last_error])
        assert "budget" in refused.last_error
        manager.adjust_settings(budget_limit=1.0)
        await manager.pause_schedule("soon")
        await manager.resume_schedule("soon")
        await eventually(lambda: [one.fired for one in manager.schedules("") if one.fired])
        assert await manager.unschedule("soon") is True


def test_schedules_without_await(path):
    with SyncTaskManager(store=path, durability="normal") as manager:
        manager.schedule(
            "s", "monthly on the last day at 18:00", "LLM_CALL", {"prompt": "x"}, zone="Asia/Tokyo"
        )
        assert [one.name for one in manager.schedules()] == ["s"]
        manager.pause_schedule("s")
        assert manager.schedules()[0].enabled is False
        manager.resume_schedule("s")
        assert manager.unschedule("s") is True
