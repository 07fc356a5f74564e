"""`@manager.task`: functions whose calls are tasks, checked at the door and typed at the end."""

import dataclasses
import datetime
import decimal
import enum
import os
import pathlib
import subprocess
import sys
import textwrap
import threading

import pytest
from pydantic import BaseModel, Field

from penstock import (
    AITaskManager,
    BudgetExhausted,
    ConfigurationError,
    Estimate,
    InvalidTask,
    Priority,
    TaskCancelled,
    TaskConfig,
    TaskContext,
    TaskFailed,
    TaskStatus,
    TaskType,
)


class Colour(enum.Enum):
    RED = "red"


class Box(BaseModel):
    width: int = Field(gt=0)
    height: float = 1.0


@dataclasses.dataclass
class Crate:
    box: Box
    packed: datetime.date
    price: decimal.Decimal
    colours: frozenset[Colour] = frozenset()


def process_id(number: int) -> tuple[int, int]:
    return number, os.getpid()


async def done(handle, timeout=10):
    return await handle.result(timeout)


async def test_async_functions_run_on_the_loop_and_plain_ones_in_a_thread(manager):
    @manager.task
    async def on_the_loop() -> int:
        return threading.get_ident()

    @manager.task
    def in_a_thread() -> int:
        return threading.get_ident()

    assert await (await on_the_loop.submit()) == threading.get_ident()
    assert await done(await in_a_thread.submit()) != threading.get_ident()


async def test_functions_that_compute_run_in_a_process(manager):
    compute = manager.task(name="compute", run="process")(process_id)
    number, process = await done(await compute.submit(7), 30)
    assert number == 7
    assert process != os.getpid()


def test_a_decorated_function_of_a_program_runs_in_a_process(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            """
            import asyncio, os
            from penstock import AITaskManager

            manager = AITaskManager(store="memory")

            @manager.task(run="process")
            def square(number: int) -> dict[str, int]:
                return {"square": number * number, "process": os.getpid()}

            async def main() -> None:
                async with manager:
                    answer = await (await square.submit(7))
                    assert answer["square"] == 49 and answer["process"] != os.getpid()

            if __name__ == "__main__":
                asyncio.run(main())
            """
        )
    )
    run_program(program, tmp_path)


def test_what_another_process_could_not_find_is_refused_at_once(make):
    manager = make()

    def inside(number: int) -> int:
        return number

    with pytest.raises(ConfigurationError, match=r"inside.*top of a module"):
        manager.task(run="process")(inside)
    with pytest.raises(ConfigurationError, match="top of a module"):
        manager.task(name="nameless", run="process")(lambda: 1)


@pytest.mark.parametrize(
    ("args", "kwargs", "told"),
    [
        ((), {}, "box: Field required"),
        (("a box",), {}, "box"),
        (({"width": 0},), {}, r"box\.width"),
        (({"width": 1, "height": "high"},), {}, r"box\.height"),
        (({"width": 1},), {"when": "someday"}, "when"),
        (({"width": 1},), {"colour": "blue"}, "colour"),
        (({"width": 1},), {"weight": 5}, "weight"),
        (({"width": 1}, "2024-01-01", "red", 4), {}, "3 arguments by position"),
        (({"width": 1},), {"box": {"width": 1}}, "box"),
        ((object(),), {}, "box.*JSON"),
        (({"width": 1},), {"when": b"\xff"}, "when.*JSON"),
        (({1: {object()}},), {}, "box.*JSON"),
    ],
)
async def test_wrong_arguments_are_named_at_the_door(manager, args, kwargs, told):
    @manager.task
    async def pack(box: Box, when: datetime.date | None = None, colour: Colour = Colour.RED) -> None: ...

    with pytest.raises(InvalidTask, match=told):
        await pack.submit(*args, **kwargs)
    assert manager.get_queue_status()["is_empty"]
    assert manager.get_statistics()["tasks"]["total"] == 0


async def test_the_door_is_the_same_for_calls_by_name(manager):
    @manager.task
    async def pack(box: Box, note: str = "") -> float:
        return box.width * box.height

    @manager.task
    async def nothing() -> str:
        return "well"

    for wrong in (None, [1], {"box": {"width": -1}}, {"box": {"width": 1}, "more": 1}):
        with pytest.raises(InvalidTask):
            await manager.submit_task("pack", wrong)
    id = await manager.submit_task("pack", {"box": Box(width=2, height=3)})
    assert await manager.wait_for_task(id, timeout=5) == 6
    # PYTHON and FUNCTION_CALL know it, too.
    id = await manager.submit_task(TaskType.PYTHON, {"function": "pack", "args": [{"width": 5}]})
    assert await manager.wait_for_task(id, timeout=5) == 5
    assert await manager.wait_for_task(await manager.submit_task("nothing"), timeout=5) == "well"


async def test_models_and_dataclasses_go_in_and_come_out_as_themselves(manager):
    @manager.task
    async def pack(
        box: Box, when: datetime.date, price: decimal.Decimal, place: pathlib.Path, colours: set[Colour]
    ) -> Crate:
        assert isinstance(box, Box)
        assert isinstance(place, pathlib.Path)
        return Crate(box, when, price * 2, frozenset(colours))

    handle = await pack.submit(
        Box(width=2), datetime.date(2024, 2, 29), decimal.Decimal("0.10"), pathlib.Path("a/b"), {Colour.RED}
    )
    crate = Crate(Box(width=2), datetime.date(2024, 2, 29), decimal.Decimal("0.20"), frozenset({Colour.RED}))
    assert await done(handle) == crate
    # Everybody else sees JSON.
    assert manager.get_task_result(handle.id)["price"] == "0.20"
    assert await done(pack.handle(handle.id)) == crate


async def test_a_result_of_another_type_than_annotated_is_told_with_its_task(manager):
    @manager.task
    def count(text: str) -> int:
        return text  # what a type checker would have refused

    call = await count.submit("many")
    with pytest.raises(ConfigurationError, match=f"{call.id} is completed, .* 'many' .*valid integer"):
        await call
    assert call.status is TaskStatus.COMPLETED


@pytest.mark.parametrize(
    ("term", "value"),
    [
        ("deadline", datetime.datetime(2040, 1, 1, tzinfo=datetime.UTC)),
        ("deadline", "2040-01-01T00:00:00+09:00"),
        ("deadline", float("nan")),
        ("deadline", 10**400),
        ("delay", "5"),
        ("delay", datetime.timedelta(seconds=5)),
        ("slo_seconds", decimal.Decimal(5)),
        ("result_ttl", float("inf")),
    ],
)
async def test_times_that_are_no_numbers_are_refused_in_words(manager, term, value):
    with pytest.raises(InvalidTask, match=f"{term} of a 'goal' task must be .*seconds"):
        await manager.engine.submit("goal", {"goal": "rest"}, **{term: value})


async def test_a_result_that_is_no_json_fails_the_task(manager):
    @manager.task
    async def odd() -> object:
        return object()

    with pytest.raises(TaskFailed, match="odd"):
        await done(await odd.submit())


async def test_the_context_comes_first_and_its_steps_are_recorded(manager):
    fetched = []

    def fetch(city):
        fetched.append(city)
        return city.upper()

    @manager.task(config=TaskConfig(retry_delay=0.01))
    async def report(context: TaskContext, city: str) -> str:
        found = await context.step("fetch", fetch, city)
        if context.attempt == 1:
            raise RuntimeError("after the step")
        return f"{found} in attempt {context.attempt}"

    assert await done(await report.submit("oslo")) == "OSLO in attempt 2"
    assert fetched == ["oslo"]
    with pytest.raises(InvalidTask, match="context"):
        await report.submit("oslo", context=None)
    with pytest.raises(ConfigurationError, match="first parameter"):

        @manager.task
        async def twisted(city: str, context: TaskContext) -> None: ...


async def test_terms_of_the_decorator_and_of_single_calls(manager):
    heard = []
    config = TaskConfig(max_retries=0, tags=("sums",), callback=lambda task: heard.append(task.result))

    @manager.task(name="sum", priority=Priority.HIGH, config=config, metadata={"of": "numbers"})
    async def add(numbers: list[int]) -> int:
        return sum(numbers)

    assert add.name == "sum"
    assert repr(add) == "<task function sum>"
    manager.pause()
    handle = await add.submit([1, 2])
    task = manager.get_task(handle.id)
    assert (task.task_type, task.priority, task.tags) == ("sum", 30, ("sums",))
    assert task.metadata == {"of": "numbers"}
    assert task.data == {"numbers": [1, 2]}
    other = await add.with_options(priority=5, metadata={"of": "few"}).submit([1])
    task = manager.get_task(other.id)
    assert (task.priority, task.tags, task.metadata) == (5, ("sums",), {"of": "few"})
    assert handle.status is TaskStatus.QUEUED
    assert await other.cancel()
    assert other.status is TaskStatus.CANCELLED
    manager.resume()
    assert await done(handle) == 3
    with pytest.raises(TaskCancelled):
        await done(other)
    await manager.stop()
    assert heard == [3]


async def test_an_estimate_is_asked_at_the_door(make):
    async with make(budget_limit=0.01) as manager:

        @manager.task(estimate=lambda words: Estimate(model="gpt-4o-mini", output_tokens=2 * words))
        async def write(words: int) -> int:
            return words

        assert await done(await write.submit(10)) == 10
        with pytest.raises(BudgetExhausted, match="budget"):
            await write.submit(1_000_000)


async def test_a_function_can_still_be_called(manager):
    @manager.task
    def double(number: int) -> int:
        """Twice as much."""
        return 2 * number

    assert double(4) == 8
    assert double.__doc__ == "Twice as much."
    assert manager.get_statistics()["tasks"]["total"] == 0


async def test_names_are_taken_once_and_known(manager):
    @manager.task
    def double(number: int) -> int:
        return 2 * number

    with pytest.raises(ConfigurationError, match=r"double.*already"):
        manager.task(name="double")(process_id)
    for wrong in (5, lambda: 1):
        with pytest.raises(ConfigurationError):
            manager.task(wrong)


@pytest.mark.parametrize("wrong", ["llm_call", "python"])
async def test_built_in_types_are_not_replaced(manager, wrong):
    with pytest.raises(ConfigurationError, match=wrong):
        manager.task(name=wrong)(process_id)


def run_program(program, folder, **more):
    done = subprocess.run(
        [sys.executable, "-W", "error", str(program)],
        env={**os.environ, "XDG_DATA_HOME": str(folder), **more},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    if "DIES" not in more:
        assert done.returncode == 0, done.stderr
    return done


def test_a_call_made_before_a_crash_runs_once_the_function_is_registered_again(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            """
            import asyncio, os, pathlib
            from penstock import AITaskManager, TaskContext

            manager = AITaskManager(store="tasks.db")
            notes = pathlib.Path("notes.txt")

            def note(text: str) -> str:
                with notes.open("a") as file:
                    file.write(text + "\\n")
                return text

            async def work(context: TaskContext, name: str) -> str:
                await context.step("first", note, f"first of {name}")
                if "DIES" in os.environ:
                    os._exit(9)
                return await context.step("second", note, f"second of {name}")

            async def main() -> None:
                async with manager:
                    if "DIES" in os.environ:
                        handle = await manager.task(work).submit("a")
                        pathlib.Path("id.txt").write_text(handle.id)
                        await handle
                    await asyncio.sleep(0.1)  # nobody knows its type yet: it waits
                    handle = manager.task(work).handle(pathlib.Path("id.txt").read_text())
                    assert await handle.result(timeout=20) == "second of a"

            asyncio.run(main())
            """
        )
        .replace('"tasks.db"', repr(str(tmp_path / "tasks.db")))
        .replace('"notes.txt"', repr(str(tmp_path / "notes.txt")))
        .replace('"id.txt"', repr(str(tmp_path / "id.txt")))
    )
    assert run_program(program, tmp_path, DIES="yes").returncode == 9
    run_program(program, tmp_path)
    assert (tmp_path / "notes.txt").read_text().splitlines() == ["first of a", "second of a"]


async def test_a_child_may_be_a_task_function():
    async with AITaskManager(store="memory") as manager:

        @manager.task
        async def double(number: int) -> int:
            return 2 * number

        @manager.task
        async def parent(context: TaskContext) -> int:
            return await context.child(double, {"number": 4})

        @manager.task
        def plain_parent(context: TaskContext) -> int:
            return context.sync.child(double, {"number": 5})

        assert await (await parent.submit()) == 8
        assert await (await plain_parent.submit()) == 10
        assert await manager.wait_for_task(await manager.submit_task(double, {"number": 3})) == 6


async def test_a_child_that_cannot_be_is_refused_in_words():
    async with AITaskManager(store="memory") as manager, AITaskManager(store="memory") as other:

        @other.task
        async def double(number: int) -> int:
            return 2 * number

        @manager.task
        async def parent(context: TaskContext, how: str) -> None:
            if how == "foreign":
                await context.child(double, {"number": 4})
            if how == "bare":
                await context.child(double.function, {"number": 4})
            if how == "by name":
                await context.child("parent", how="other")
            await context.child("parnet", {})

        for how, words in {
            "foreign": "'double' belongs to another manager",
            "bare": "double is no task function; decorate it",
            "by name": r"child\('parent', \{'how': ...\}\)",
            "unknown": "'parnet' has no handler here; did you mean 'parent'",
        }.items():
            with pytest.raises(TaskFailed, match=words):
                await (await parent.with_options(config=TaskConfig(max_retries=0)).submit(how))
        with pytest.raises(InvalidTask, match="did you mean 'llm_call'"):
            await manager.submit_task("llm_cal", {"prompt": "Hello"})
