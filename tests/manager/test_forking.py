"""Forks: copies of tasks that go on from before a step, while the old ones go on as they are."""

import asyncio

import pytest

from penstock import AITaskManager, InvalidTask, TaskContext, TaskNotFound, TaskStatus
from penstock.manager.client import APIConfig, OpenAICompatibleClient


class Made(list):
    """What was made, in order; some handlers wait for `go_on`."""

    def __init__(self):
        super().__init__()
        self.go_on = asyncio.Event()


@pytest.fixture
async def manager(tmp_path):
    client = OpenAICompatibleClient(APIConfig("sk-none", "http://127.0.0.1:1/v1"))
    async with AITaskManager(client, store=str(tmp_path / "fork.db")) as manager:
        yield manager


@pytest.fixture
def made(manager):
    """What was made anew, and a type whose steps tell of it."""
    made = Made()

    async def report(context: TaskContext):
        async def collect():
            return [await context.step("page", tell, "page", number) for number in range(2)]

        def tell(what, *more):
            made.append(what)
            return [what, *more, context.data]

        first = await context.step("plan", tell, "plan")
        pages = await context.step("collect", collect)
        if context.data == "waits":
            await made.go_on.wait()
        return [first, pages, await context.step("write", tell, "write")]

    manager.register_type("report", report)
    return made


def steps_of(manager, id):
    return [step["name"] for step in manager.engine.peek(lambda reader: reader.task(id)).steps]


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - conditions of many kinds
            await asyncio.sleep(0.005)


async def test_a_finished_task_is_forked_before_a_step_with_other_data(manager, made):
    id = await manager.submit_task("report", "old")
    first = await manager.wait_for_task(id, 10)
    assert made == ["plan", "page", "page", "write"]
    made.clear()
    fork = await manager.fork_task(id, "write", data="new")
    assert await manager.wait_for_task(fork, 10) == [*first[:2], ["write", "new"]]
    assert made == ["write"]
    task = manager.get_task(fork)
    assert (task.status, manager.get_task(id).result) == (TaskStatus.COMPLETED, first)
    kinds = [event.kind async for event in manager.events(fork, after=0)]
    assert kinds[:2] == ["submitted", "forked"]


@pytest.mark.parametrize(("step", "again"), [(1, "plan page page write"), ("collect", "page page write")])
async def test_by_number_or_name_with_all_that_was_made_inside(manager, made, step, again):
    id = await manager.submit_task("report", "d")
    await manager.wait_for_task(id, 10)
    made.clear()
    await manager.wait_for_task(await manager.fork_task(id, step), 10)
    assert made == again.split()


async def test_from_the_middle_of_a_step(manager, made):
    id = await manager.submit_task("report", "d")
    await manager.wait_for_task(id, 10)
    made.clear()
    await manager.wait_for_task(await manager.fork_task(id, 3), 10)  # the second page
    assert made == ["page", "write"]


async def test_a_running_task_goes_on_as_it_is(manager, made):
    id = await manager.submit_task("report", "waits")
    await until(lambda: len(steps_of(manager, id)) == 4)
    fork = await manager.fork_task(id, "collect", data="x")
    assert (await manager.wait_for_task(fork, 10))[2] == ["write", "x"]
    made.go_on.set()
    assert (await manager.wait_for_task(id, 10))[2] == ["write", "waits"]
    assert made == ["plan", "page", "page", "page", "page", "write", "write"]


async def test_steps_that_there_are_not_or_several_times_are_refused_by_name(manager, made):
    id = await manager.submit_task("report", "d")
    await manager.wait_for_task(id, 10)
    known = "1 plan, 2 page in /collect:"
    for step in ("nothing", 0, 6):
        with pytest.raises(InvalidTask, match=rf"has no step {step!r}; its steps: {known}"):
            await manager.fork_task(id, step)
    with pytest.raises(
        InvalidTask, match=r"has 2 steps 'page'; give the number of one: 2 page in .*, 3 page in"
    ):
        await manager.fork_task(id, "page")
    with pytest.raises(TaskNotFound):
        await manager.fork_task("nothing", 1)


async def test_data_are_checked_as_at_the_door(manager):
    @manager.task
    async def double(context: TaskContext, number: int) -> int:
        return 2 * int(await context.step("read", int, number))

    handle = await double.submit(2)
    assert await handle == 4
    with pytest.raises(InvalidTask, match="number"):
        await manager.fork_task(handle.id, "read", data={"number": "two"})
    assert await double.handle(await manager.fork_task(handle.id, "read", data={"number": 3})) == 6


async def test_versions_of_a_function(manager):
    @manager.task(name="greet", version="2")
    async def greet_now(name: str, loud: bool = False) -> str:
        return f"Hello {name}"

    @manager.task(name="greet", version="1")
    async def greet_then(name: str) -> str:
        return f"Good day {name}"

    assert await (await greet_now.submit("Ada")) == "Hello Ada"
    assert manager.functions.named("greet").function is greet_now.function


async def test_a_suspended_task_and_one_that_fell_back_on_something_else(manager):
    """It waits for a person after a step that failed; the fork and the task itself both go on."""
    tries = []

    async def work(context: TaskContext):
        def flaky():
            tries.append(1)
            raise ConnectionError("not today")

        try:
            await context.step("flaky", flaky)
        except ConnectionError:
            await context.step("instead", int, 1)
        decision = await context.approve("Go on?")
        return [decision.by, await context.step("last", int, context.data)]

    manager.register_type("work", work)
    id = await manager.submit_task("work", 5)
    await until(lambda: manager.get_task(id).status is TaskStatus.SUSPENDED)
    fork = await manager.fork_task(id, "instead", data=6)
    await until(lambda: manager.get_task(fork).status is TaskStatus.SUSPENDED)
    assert steps_of(manager, fork) == ["instead"]
    for one, last in ((id, 5), (fork, 6)):
        await manager.engine.decide(one, True, by="Ada")
        assert await manager.wait_for_task(one, 10) == ["Ada", last]
    assert len(tries) >= 3
