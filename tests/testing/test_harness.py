"""Tasks run by hand, time moved by hand, processes killed by hand."""

import asyncio
import logging

import httpx2
import pytest

from penstock import ConfigurationError, Priority, TaskConfig, TaskStatus, TaskType
from penstock.simulator.faults import Fault
from penstock.testing import Harness, SimulatedProvider, Stalled, run_virtually, virtually

DAY = 86_400.0


@pytest.fixture
def provider():
    with SimulatedProvider() as running:
        yield running


@pytest.fixture
def harness(provider):
    """To be entered: `async with harness:`."""
    return Harness(provider.manager())


async def echo(context):
    return context.data


async def echo_back(value):
    return value


async def say(manager, base_url, text):
    """What the model answers, by a client on the transport of the manager's present life."""
    async with httpx2.AsyncClient(transport=manager.engine.transport()) as http:
        body = {"model": "any", "messages": [{"role": "user", "content": text}]}
        reply = await http.post(f"{base_url}/chat/completions", json=body)
        return reply.json()["choices"][0]["message"]["content"]


async def test_nothing_starts_by_itself(harness):
    async with harness:
        manager = harness.manager
        manager.register_type("echo", echo)
        ids = [await manager.submit_task("echo", n) for n in range(3)]
        await asyncio.sleep(0.05)
        assert {manager.get_task(id).status for id in ids} == {TaskStatus.QUEUED}
        assert not manager.is_paused()
        assert [task.result for task in await harness.drain()] == [0, 1, 2]
        assert await harness.drain() == []
        assert await harness.step() is None
        await manager.submit_task("echo", 4)
        await asyncio.sleep(0.02)
        assert manager.get_queue_status()["total_size"] == 1


@pytest.mark.parametrize("strategy", ["priority", "preemptive", "fifo", "fair", "shortest_job_first"])
def test_steps_go_in_rank_order(provider, strategy):
    async def run():
        async with Harness(provider.manager(strategy=strategy)) as harness:
            manager = harness.manager
            for type in ("echo", "other"):
                manager.register_type(type, echo)
            for n, priority in enumerate((10, 40, 20, 30)):
                await manager.submit_task(("echo", "other")[n % 2], n, priority)
            order = []
            while task := await harness.step():
                order.append(task.result)
            return order

    order = run_virtually(run)
    assert sorted(order) == [0, 1, 2, 3]
    if strategy in ("priority", "preemptive"):
        assert order == [1, 3, 2, 0]
    if strategy == "fifo":
        assert order == [0, 1, 2, 3]


@virtually
async def test_a_preemptive_strategy_does_not_wait_for_what_may_not_start(provider):
    async def calls(context):
        if context.data == 1:
            await harness.manager.submit_task("calls", 3, Priority.URGENT)
        await context.step("pass", echo_back, 1)
        return await say(harness.manager, provider.base_url, f"call {context.data}")

    async with Harness(provider.manager(strategy="preemptive", max_concurrent=1)) as harness:
        harness.manager.register_type("calls", calls, model=lambda data: "any")
        first = await harness.manager.submit_task("calls", 1, Priority.LOW)
        await harness.manager.submit_task("calls", 2, Priority.LOW)
        task = await harness.step()
        assert (task.task_id, task.status) == (first, TaskStatus.COMPLETED)
        assert [one.data for one in await harness.drain()] == [3, 2]


async def test_drain_runs_what_tasks_and_callbacks_submit(harness):
    async with harness:
        manager = harness.manager

        async def parent(context):
            await manager.submit_task("echo", "child")
            return "parent"

        async def after(task):
            await manager.submit_task("echo", "from a callback")

        manager.register_type("parent", parent)
        manager.register_type("echo", echo)
        id = await manager.submit_task("parent", config=TaskConfig(callback=after))
        await manager.submit_task("echo", "dependent", config=TaskConfig(after=[id]))
        ended = [task.result for task in await harness.drain()]
        assert ended[0] == "parent"
        assert sorted(ended[1:]) == ["child", "dependent", "from a callback"]


@virtually
async def test_time_is_moved_by_hand(harness):
    async with harness:
        manager = harness.manager

        async def flaky(context):
            if context.attempt < 3:
                raise RuntimeError(f"attempt {context.attempt}")
            return await context.now()

        manager.register_type("flaky", flaky)
        manager.register_type("echo", echo)
        begun = harness.now
        delayed = await manager.submit_task("echo", "late", config=TaskConfig(delay=DAY))
        expiring = await manager.submit_task("echo", "never", config=TaskConfig(expires=60))
        await harness.advance(59)
        assert manager.get_task(expiring).status is TaskStatus.QUEUED
        await harness.advance(1)
        assert manager.get_task(expiring).error_code == "expired"
        assert await harness.drain() == []
        await harness.advance(DAY - 60)
        (task,) = await harness.drain()
        assert task.task_id == delayed
        assert task.started_at == pytest.approx(begun + DAY, abs=0.05)
        id = await manager.submit_task("flaky", config=TaskConfig(retry_delay=3600))
        assert (await harness.step()).status is TaskStatus.RETRYING
        assert await harness.drain() == []
        (task,) = await harness.run_out()
        assert (task.task_id, task.metrics.retry_count) == (id, 2)
        assert harness.now > begun + DAY + 60
        assert await harness.run_out() == []


async def test_time_is_not_moved_where_it_passes_by_itself(harness):
    async with harness:
        with pytest.raises(ConfigurationError, match="virtually"):
            await harness.advance(1)


def test_who_waits_without_draining_is_told(provider):
    async def run():
        async with Harness(provider.manager()) as harness:
            await harness.manager.wait_for_task(
                await harness.manager.submit_task("llm_call", {"prompt": "x"})
            )

    with pytest.raises(Stalled, match=r"harness\.drain"):
        run_virtually(run)


@pytest.mark.parametrize("steps", range(1, 4))
def test_a_crash_after_any_step_pays_nothing_twice(provider, steps, caplog):
    caplog.set_level(logging.WARNING)
    paid = []

    async def pay(amount):
        paid.append(amount)
        return amount

    async def order(context):
        await context.step("pay", pay, 3)
        answer = await say(harness.manager, provider.base_url, "confirm 3")
        await context.step("pay", pay, 4)
        return [answer, context.attempt]

    async def run():
        async with harness:
            harness.manager.register_type("order", order)
            provider.when(r"confirm (\d+)", "confirmed $1")
            await harness.manager.submit_task("order")
            await harness.crash_and_restart(after_steps=steps)
            assert harness.lives == 2
            assert len(paid) + len(provider.calls) == steps
            return await harness.drain()

    harness = Harness(provider.manager())
    (task,) = run_virtually(run)
    assert task.result == ["confirmed 3", 2]
    assert (paid, len(provider.calls), provider.repeated) == ([3, 4], 1, [])
    assert not caplog.records


@virtually
async def test_a_crash_at_this_instant_repeats_the_call_in_flight(provider):
    async with Harness(provider.manager()) as harness:
        manager = harness.manager
        provider.say("first", Fault.HANG, "second")

        async def two(context):
            return [await say(manager, provider.base_url, text) for text in ("one", "two")]

        manager.register_type("two", two)
        id = await manager.submit_task("two")
        running = asyncio.create_task(harness.drain())
        while len(provider.calls) < 2:  # noqa: ASYNC110 - in virtual time
            await asyncio.sleep(0.01)
        running.cancel()
        await harness.crash_and_restart()
        task = manager.get_task(id)
        assert (task.status, task.metrics.retry_count) == (TaskStatus.QUEUED, 1)
        (task,) = await harness.drain()
        assert task.result == ["first", "second"]
        assert [call.text for call in provider.calls] == ["one", "two", "two"]
        assert provider.repeated == []


async def test_a_killed_process_writes_nothing_more(harness, caplog):
    caplog.set_level(logging.WARNING)
    async with harness:
        manager = harness.manager
        begun = asyncio.Event()

        async def cleans(context):
            try:
                begun.set()
                await asyncio.Event().wait() if context.attempt == 1 else None
            finally:
                if context.attempt == 1:
                    await context.step("never recorded", echo_back, 1)
            return "done"

        manager.register_type("cleans", cleans)
        await manager.submit_task("cleans")
        running = asyncio.create_task(harness.drain())
        await begun.wait()
        running.cancel()
        await harness.crash_and_restart()
        (task,) = await harness.drain()
        assert task.result == "done"
        view = await manager.engine.get(task.task_id)
        assert view.steps == []
    assert not caplog.records


async def test_a_third_crash_is_poison(harness):
    reached = asyncio.Event()

    async def deadly(context):
        await context.step("recorded", echo_back, 1)
        reached.set()
        await asyncio.Event().wait()

    async with harness:
        harness.manager.register_type("deadly", deadly)
        id = await harness.manager.submit_task("deadly")
        for _ in range(3):
            running = asyncio.create_task(harness.drain())
            await reached.wait()
            reached.clear()
            running.cancel()
            await harness.crash_and_restart()
        task = harness.manager.get_task(id)
        assert task.error_code == "poison"
        assert "the last 3 times without a new recorded step" in task.error
        assert harness.lives == 4


async def test_crashes_of_a_task_that_gets_further_are_not_counted_together(harness):
    async def long(context):
        for number in range(8):
            await context.step("further", echo_back, number)
        return "alive"

    async with harness:
        harness.manager.register_type("long", long)
        await harness.manager.submit_task("long")
        for _ in range(7):
            await harness.crash_and_restart(after_steps=1)
        (task,) = await harness.drain()
        assert task.result == "alive"


async def test_a_task_whose_steps_change_by_themselves_does_not_crash_for_ever(harness):
    async def deadly(context):
        await context.step("deadly", echo_back, context.attempt)

    async with harness:
        harness.manager.register_type("deadly", deadly)
        id = await harness.manager.submit_task("deadly")
        for _ in range(30):
            await harness.crash_and_restart(after_steps=1)
        assert harness.manager.get_task(id).error_code == "poison"


async def test_too_few_steps_to_crash_after(harness):
    async with harness:
        harness.manager.register_type("echo", echo)
        await harness.manager.submit_task("echo", 1)
        with pytest.raises(AssertionError, match="after 0 steps"):
            await harness.crash_and_restart(after_steps=1)
        assert harness.lives == 1


@virtually
async def test_a_crash_that_did_not_come_does_not_come_later(harness):
    async def steps(context):
        for number in range(3):
            await context.step("count", echo_back, number)

    harness.manager.register_type("steps", steps)
    async with harness:
        with pytest.raises(AssertionError, match="after 0 steps"):
            await harness.crash_and_restart(after_steps=2)
        id = await harness.manager.submit_task("steps")
        await harness.drain()
        assert harness.manager.get_task(id).status is TaskStatus.COMPLETED


async def test_a_running_manager_is_refused(provider):
    async with provider.manager() as manager:
        with pytest.raises(ConfigurationError, match="runs already"):
            async with Harness(manager):
                pass


@virtually
async def test_built_in_types_under_the_harness(harness, provider):
    async with harness:
        provider.say({"category": "good", "confidence": 0.9})
        await harness.manager.submit_task(
            TaskType.TEXT_CLASSIFICATION, {"text": "fine", "categories": ["good", "bad"]}
        )
        (task,) = await harness.drain()
        assert task.result["category"] == "good"


async def test_who_only_waits_is_not_to_blame_for_crashes(harness):
    async def parent(context):
        return await context.wait_for_event("go")

    async with harness:
        harness.manager.register_type("parent", parent)
        id = await harness.manager.submit_task("parent")
        for _ in range(4):
            running = asyncio.create_task(harness.drain())
            while harness.manager.get_task(id).status is not TaskStatus.RUNNING:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            running.cancel()
            await harness.crash_and_restart()
        await harness.manager.send_event(id, "go", 1)
        (task,) = await harness.drain()
        assert task.result == 1
