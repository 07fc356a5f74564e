"""Programs that a strict type checker must refuse: at every line marked with `wrong`, for the reason named,
and nowhere else."""

from dataclasses import dataclass

from penstock import (
    AITask,
    AITaskManager,
    Estimate,
    Priority,
    SyncTaskManager,
    TaskConfig,
    TaskContext,
    TaskType,
    create_ai_task_manager,
)

manager = AITaskManager(max_concurrent=5)
portal = SyncTaskManager()


@dataclass
class Size:
    width: int
    height: int


@manager.task
async def resize(path: str, size: Size, quality: float = 0.9) -> Size:
    return size


@manager.task(run="process")
def digest(data: list[int], *, salt: str) -> dict[str, int]:
    return {salt: sum(data)}


@manager.task
async def report(context: TaskContext, city: str) -> list[str]:
    return [city]


@manager.task
def shout(context: TaskContext, n: int) -> str:
    return "a" * n


@portal.task
def halve(number: float) -> float:
    return number / 2


@manager.task(run="fiber")  # wrong: call-overload
def in_a_fiber() -> None: ...


@manager.task(config={"max_retries": 3})  # wrong: call-overload
def with_a_dict() -> None: ...


@manager.task(colour="red")  # wrong: call-overload
def coloured() -> None: ...


@manager.task(estimate=3)  # wrong: call-overload
def estimated(n: int) -> Estimate:
    return Estimate(input_tokens=n)


manager.task(5)  # wrong: call-overload


async def late_callback(task: AITask, extra: int) -> None: ...


async def arguments() -> None:
    await resize.submit(5, Size(1, 2))  # wrong: arg-type
    await resize.submit("a.png", {"width": 1, "height": 2})  # wrong: arg-type
    await resize.submit("a.png")  # wrong: call-arg
    await resize.submit("a.png", Size(1, 2), 0.9, True)  # wrong: call-arg
    await resize.submit("a.png", Size(1, 2), colour="red")  # wrong: call-arg
    await resize.submit("a.png", Size(1, 2), quality="high")  # wrong: arg-type
    await digest.submit([1, 2])  # wrong: call-arg
    await digest.submit([1, 2], "salt")  # wrong: call-arg misc
    await digest.submit(["1"], salt="a")  # wrong: list-item
    await report.submit(None, "Oslo")  # wrong: call-arg arg-type
    await report.submit(city=5)  # wrong: arg-type
    await shout.submit("5")  # wrong: arg-type
    await shout.with_options(priority=Priority.LOW).submit("5")  # wrong: arg-type


async def results() -> None:
    number: int = await (await resize.submit("a.png", Size(1, 2)))  # wrong: assignment
    text: str = await (await digest.submit([1], salt="a")).result()  # wrong: assignment
    (await report.submit("Oslo")).append("x")  # wrong: attr-defined
    flag: bool = (await report.submit("Oslo")).status  # wrong: assignment
    print(number, text, flag, await report.handle(5))  # wrong: arg-type


async def submitting() -> None:
    await manager.submit_task(TaskType.LLM_CALL, {"prompt": "x"}, priority=2.5)  # wrong: arg-type
    await manager.submit_task(5, {"prompt": "x"})  # wrong: arg-type
    await manager.submit_task(TaskType.LLM_CAL, {"prompt": "x"})  # wrong: attr-defined
    await manager.submit_task(TaskType.LLM_CALL, {}, config={"max_retries": 3})  # wrong: arg-type
    await manager.submit_task(TaskType.LLM_CALL, {}, max_retries=3)  # wrong: call-arg
    await manager.submit_batch(["LLM_CALL"])  # wrong: list-item
    await manager.wait_for_task(["a"])  # wrong: arg-type
    await manager.get_task_result("a")["text"].run  # right: results of task types are Any
    print(manager.get_task("a").result)  # wrong: union-attr
    await manager.events()  # wrong: misc
    TaskConfig(max_retries="3")  # wrong: arg-type
    TaskConfig(callback=late_callback)  # wrong: arg-type
    TaskConfig(retries=3)  # wrong: call-arg


async def settings() -> None:
    manager.adjust_settings(max_concurrent="5")  # wrong: arg-type
    manager.adjust_settings(max_concurrent=None)  # wrong: arg-type
    manager.adjust_settings(10)  # wrong: call-arg misc
    manager.adjust_settings(max_retries=3)  # wrong: call-arg
    manager.adjust_settings(budget_limit="10")  # wrong: arg-type
    made: SyncTaskManager = await create_ai_task_manager()  # wrong: assignment
    await create_ai_task_manager(max_concurrent="5")  # wrong: arg-type
    await create_ai_task_manager(timeout=None)  # wrong: arg-type
    create_ai_task_manager().get_statistics()  # wrong: attr-defined
    AITaskManager("a key")  # wrong: arg-type
    print(made)


async def synchronous() -> None:
    portal.submit_task(TaskType.LLM_CALL, {}, priority=2.5)  # wrong: arg-type
    await portal.submit_task(TaskType.LLM_CALL, {})  # wrong: misc
    portal.adjust_settings(max_concurrent="5")  # wrong: arg-type
    portal.wait_for_task()  # wrong: call-arg
    halve.submit("3")  # wrong: arg-type
    halve.submit(3, 4)  # wrong: call-arg
    text: str = halve.submit(3).result()  # wrong: assignment
    number: int = portal.cancel_batch(["a"])  # wrong: assignment
    print(text, number)
