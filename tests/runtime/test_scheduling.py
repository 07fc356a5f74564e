"""Strategies live: who gets the next step, on a real manager with real handlers.

Who is served by the second is judged in virtual time: a busy machine is no part of it."""

import asyncio

import pytest

from penstock import Manager, Settings, Submission, TaskFilter, TaskOptions, TaskStatus
from penstock.errors import ConfigurationError, InvalidTask, TaskFailed
from penstock.model.clock import SystemClock
from penstock.testing import virtually

AGENTS, STEPS, SLOTS = 20, 30, 3


class Log:
    """What began when, in order: (kind, number of the task, number of the step)."""

    def __init__(self):
        self.began = []
        self.ended = []
        self.steps = 0

    async def step(self, kind, task, number):
        self.began.append((kind, task, number))
        self.steps += 1
        begun = SystemClock().monotonic()
        await asyncio.sleep(0.004)
        self.ended.append((task, number, SystemClock().monotonic() - begun))


def manager_with(log, tmp_path, strategy, **more):
    settings = more.pop("strategy_settings", {})
    manager = Manager(
        Settings(
            store=str(tmp_path / "s.db"),
            durability="normal",
            strategy=strategy,
            strategy_settings=settings,
            max_concurrent=SLOTS,
            **more,
        )
    )

    async def agent(context):
        for number in range(context.data["steps"]):
            await context.step(f"step {number}", log.step, "agent", context.data["task"], number)

    async def urgent(context):
        await context.step("urgent", log.step, "urgent", context.data, 0)

    manager.register("agent", agent)
    manager.register("urgent", urgent)
    return manager


def agents(count=AGENTS, steps=STEPS):
    return [Submission("agent", {"task": n, "steps": steps}, "low") for n in range(count)]


async def run_with_urgent(tmp_path, strategy):
    """(where in the log the urgent tasks were added, the log): they come when a third of the steps are
    done."""
    log = Log()
    async with manager_with(log, tmp_path, strategy) as manager:
        ids = await manager.submit_many(agents())
        async with asyncio.timeout(30):
            while log.steps < AGENTS * STEPS // 3:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            ids += await manager.submit_many([Submission("urgent", n, "urgent") for n in range(20)])
            mark = len(log.began)
            await asyncio.gather(*map(manager.wait, ids))
        await manager.idle()
    return mark, log


@virtually
async def test_under_preemptive_every_urgent_task_gets_the_next_free_step(tmp_path):
    mark, log = await run_with_urgent(tmp_path, "preemptive")
    after = [kind for kind, _, _ in log.began[mark:]]
    last_urgent = max(place for place, kind in enumerate(after) if kind == "urgent")
    # Steps that begin while the first urgent task is being claimed, and nothing more.
    assert after[: last_urgent + 1].count("agent") <= 2 * SLOTS
    assert len(log.began) == len(set(log.began)) == AGENTS * STEPS + 20  # nothing is done twice


@virtually
async def test_under_fifo_they_wait(tmp_path):
    mark, log = await run_with_urgent(tmp_path, "fifo")
    first_urgent = next(place for place, (kind, _, _) in enumerate(log.began) if kind == "urgent")
    begun_before = sum(kind == "agent" for kind, _, _ in log.began[:first_urgent])
    assert begun_before >= AGENTS * STEPS - SLOTS * STEPS
    assert first_urgent > mark


@virtually
async def test_round_robin_keeps_all_within_a_slice_and_a_step(tmp_path):
    log = Log()
    slice_seconds = 0.02
    async with manager_with(
        log, tmp_path, "round_robin", strategy_settings={"time_slice": slice_seconds}
    ) as manager:
        ids = await manager.submit_many(agents(10, 40))
        async with asyncio.timeout(60):
            await asyncio.gather(*map(manager.wait, ids))
    served = dict.fromkeys(range(10), 0.0)
    worst = 0.0
    for task, number, seconds in log.ended:
        served[task] += seconds
        if number == 39:
            break  # until here all of them wanted to go on
        worst = max(worst, max(served.values()) - min(served.values()))
    longest = max(seconds for _, _, seconds in log.ended)
    assert worst <= slice_seconds + longest + 0.002  # the scheduler measures around the step


@virtually
async def test_the_worst_open_task_makes_place_and_repeats_nothing(tmp_path):
    log = Log()
    async with manager_with(log, tmp_path, "preemptive", max_open=SLOTS + 2) as manager:
        ids = await manager.submit_many(agents(SLOTS + 2, 60))
        async with asyncio.timeout(30):
            while log.steps < 30:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            ids.append(await manager.submit("urgent", 1, priority="urgent"))
            await manager.wait(ids[-1])
            assert len({task for kind, task, _ in log.began if kind == "agent"}) <= SLOTS + 2
            assert manager.node.dispatcher.put_backs.count >= 1
            assert log.steps < (SLOTS + 2) * 60  # it did not wait for an agent to end
            await asyncio.gather(*map(manager.wait, ids))
    assert len(log.began) == len(set(log.began)) == (SLOTS + 2) * 60 + 1


@virtually
async def test_tenants_get_their_weighted_shares(tmp_path):
    log = Log()

    async def work(context):
        log.began.append(context.tenant)
        await asyncio.sleep(0.002)

    manager = Manager(
        Settings(
            store=str(tmp_path / "f.db"),
            durability="normal",
            strategy="fair",
            strategy_settings={"weights": {"a": 1, "b": 3}},
            max_concurrent=2,
        )
    )
    manager.register("work", work)
    async with manager:
        await manager.pause()
        for tenant in ("a", "b"):
            await manager.submit_many([Submission("work", n, tenant=tenant, size=0.002) for n in range(120)])
        await manager.resume()
        async with asyncio.timeout(30):
            while len(log.began) < 120:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        share = log.began[:120].count("b") / 120
    assert share == pytest.approx(0.75, abs=0.1)


async def test_a_strategy_is_switched_while_tasks_wait(tmp_path):
    order = []

    async def note(context):
        order.append(context.data)

    manager = Manager(Settings(store=str(tmp_path / "w.db"), strategy="fifo", max_concurrent=1))
    manager.register("note", note)
    async with manager:
        await manager.pause()
        ids = await manager.submit_many(
            [Submission("note", n, priority) for n, priority in enumerate((10, 30, 20, 90))]
        )
        assert await manager.switch_strategy("priority") == 4
        with pytest.raises(ConfigurationError, match="choose one of"):
            await manager.switch_strategy("nonsense")
        with pytest.raises(ConfigurationError, match="time_slice"):
            await manager.switch_strategy("round_robin", time_slice=0)
        await manager.resume()
        await asyncio.gather(*map(manager.wait, ids))
    assert order == [3, 1, 2, 0]
    # A later start under another strategy ranks anew what still waits.
    again = Manager(Settings(store=str(tmp_path / "w.db"), strategy="fifo"))
    async with again:
        assert await again.read(lambda reader: reader.setting("ranked_by")) == '["fifo", {}]'


@virtually
async def test_a_deadline_that_passed_before_the_start_fails_the_task(tmp_path):
    manager = Manager(
        Settings(store=str(tmp_path / "d.db"), strategy="deadline", max_concurrent=1, durability="normal")
    )

    async def sleep(context):
        await asyncio.sleep(0.15)

    manager.register("sleep", sleep, options=TaskOptions(max_retries=0))
    async with manager:
        first = await manager.submit("sleep")
        while (await manager.get(first)).status is not TaskStatus.RUNNING:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        late = await manager.submit("sleep", slo_seconds=0.05)
        await manager.wait(first)
        with pytest.raises(TaskFailed, match="deadline passed"):
            await manager.wait(late)
        with pytest.raises(InvalidTask, match="in the past"):
            await manager.submit("sleep", deadline=1.0)


async def test_service_classes_are_presets(tmp_path):
    manager = Manager(Settings(store=str(tmp_path / "c.db")))
    manager.register("any", lambda context: None)
    async with manager:
        await manager.pause()
        now = await manager.submit("any", service_class="immediate")
        bulk = await manager.submit("any", service_class="batch")
        views = [await manager.get(id) for id in (now, bulk)]
        assert [view.priority for view in views] == [90, 5]
        assert all(view.deadline is not None for view in views)
        with pytest.raises(ConfigurationError, match="immediate, scheduled, background, batch"):
            await manager.submit("any", service_class="soon")
        paused = await manager.read(lambda reader: reader.tasks(TaskFilter(statuses=(TaskStatus.QUEUED,))))
        assert len(paused) == 2


@pytest.mark.parametrize("model", ["", "gpt-4o-mini"])
@virtually
async def test_a_tenant_that_comes_late_gets_its_share_at_once(model):
    """All tasks of another have been claimed by then and wait in memory for a slot."""
    ended = []
    manager = Manager(
        Settings(
            store="memory", seed=1, max_concurrent=1, strategy="fair", strategy_settings={"inside": "fifo"}
        )
    )

    async def work(context):
        await context.step("work", asyncio.sleep, 1.0)
        ended.append(context.task.tenant)

    manager.register("work", work, model=lambda data: model)
    async with manager:
        ids = await manager.submit_many([Submission("work", n, tenant="early") for n in range(60)])
        await asyncio.sleep(20)
        ids += await manager.submit_many([Submission("work", n, tenant="late") for n in range(10)])
        await asyncio.gather(*map(manager.wait, ids))
    begun = ended.index("late")
    assert begun <= 23
    assert ended[begun : begun + 20].count("late") >= 9
    assert ended[: begun + 20].count("early") >= 29
