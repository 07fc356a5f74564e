"""Programs that a strict type checker must accept; `assert_type` proves that results keep their types."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, assert_type

from penstock import (
    AITask,
    AITaskManager,
    APIConfig,
    Estimate,
    Event,
    OpenAICompatibleClient,
    Priority,
    SyncTaskManager,
    TaskConfig,
    TaskContext,
    TaskHandle,
    TaskStatus,
    TaskType,
    create_ai_task_manager,
)
from penstock.manager.synchronous_definitions import SyncTaskHandle

manager = AITaskManager(OpenAICompatibleClient(APIConfig(rate_limit=60)), max_concurrent=5, budget_limit=10.0)
portal = SyncTaskManager(max_concurrent=5)


@dataclass
class Size:
    width: int
    height: int


@manager.task
async def resize(path: str, size: Size, quality: float = 0.9) -> Size:
    return size


@manager.task
def count(text: str, *, word: str | None = None) -> int:
    return text.count(word or " ")


@manager.task(name="digest", run="process", priority=Priority.LOW, config=TaskConfig(max_retries=0))
def digest(data: list[int]) -> dict[str, int]:
    return {"sum": sum(data)}


@manager.task
async def report(context: TaskContext, city: str) -> list[str]:
    return [await context.step("look", city.upper)]


@manager.task(estimate=lambda n: Estimate(input_tokens=n))
def shout(context: TaskContext, n: int) -> str:
    return "a" * n


@manager.task
async def nothing() -> None: ...


@portal.task
def halve(number: float) -> float:
    return number / 2


@portal.task(name="look")
async def look_up(context: TaskContext, key: str) -> bytes | None:
    return None


async def on_done(task: AITask) -> None:
    print(task.metrics.actual_cost)


def on_progress(progress: float, current: float, total: float | None) -> None:
    print(progress)


async def own_tasks() -> None:
    assert_type(await resize.submit("a.png", Size(1, 2)), TaskHandle[Size])
    assert_type(await (await resize.submit("a.png", size=Size(1, 2), quality=0.5)), Size)
    assert_type(await (await count.submit("a b", word="b")).result(timeout=5), int)
    assert_type(await (await digest.submit([1, 2])), dict[str, int])
    assert_type(await (await report.submit("Oslo")), list[str])
    assert_type(await (await report.submit(city="Oslo")), list[str])
    assert_type(await (await shout.submit(3)), str)
    assert_type(await (await nothing.submit()), None)
    handle = await count.with_options(priority="HIGH", metadata={"a": 1}).submit("a b")
    assert_type(handle, TaskHandle[int])
    assert_type(handle.status, TaskStatus)
    assert_type(await handle.cancel(), bool)
    assert_type(count.handle("id"), TaskHandle[int])


async def submitting() -> None:
    made = await create_ai_task_manager(api_key="k", max_concurrent=5, budget_limit=10, rate_limit=None)
    assert_type(made, AITaskManager)
    config = TaskConfig(
        callback=on_done, error_callback=on_done, progress_callback=on_progress, tags=("a",), after=["id"]
    )
    assert_type(await made.submit_task(TaskType.LLM_CALL, {"prompt": "x"}, Priority.HIGH, config), str)
    assert_type(await made.submit_task(task_type="LLM_CALL", data={}, priority=35, metadata={"a": 1}), str)
    batch = [{"task_type": "LLM_CALL", "data": {"prompt": "x"}}]
    assert_type(await made.submit_batch(batch, priority="LOW"), list[str])
    assert_type(await made.wait_for_tasks(["a"], timeout=5, return_exceptions=True), list[Any])
    assert_type(made.as_completed(["a"]), AsyncIterator[AITask])
    assert_type(made.events(kinds=["finished"]), AsyncIterator[Event])
    assert_type(made.get_task("a"), AITask | None)
    assert_type(await made.cancel_batch(["a"]), dict[str, bool])
    assert_type(await made.cleanup_old_tasks(older_than_hours=1.5), int)
    made.adjust_settings(max_concurrent=3, requests_per_minute=None, budget_limit=5, daily_limit=2.5)
    made.cost_controller.reset_total_cost()
    await made.stop(timeout=5)


def synchronous() -> None:
    with portal as running:
        assert_type(running, SyncTaskManager)
        assert_type(halve.submit(3), SyncTaskHandle[float])
        assert_type(halve.submit(number=3.0).result(timeout=5), float)
        assert_type(look_up.submit("k").result(), bytes | None)
        assert_type(running.submit_task(TaskType.LLM_CALL, {"prompt": "x"}, priority=Priority.URGENT), str)
        assert_type(running.wait_for_tasks(["a"]), list[Any])
        assert_type(running.as_completed(["a"], timeout=5), Iterator[AITask])
        assert_type(running.get_task_status("a"), dict[str, Any] | None)
        assert_type(running.cancel_task("a"), bool)
        running.adjust_settings(budget_limit=None)
        running.pause()
        assert_type(running.cost_controller.total_cost, float)
