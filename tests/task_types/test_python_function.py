"""PYTHON: registered functions on the loop, in threads and in processes, with checked arguments."""

from __future__ import annotations

import asyncio
import functools
import math
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from penstock import TaskOptions
from penstock.errors import ConfigurationError, InvalidTask, TaskFailed
from penstock.task_types.base import Toolbox
from penstock.task_types.functions import Functions
from penstock.task_types.python_function import KIND

if TYPE_CHECKING:
    from penstock import TaskContext


class Size(Enum):
    SMALL = "s"
    LARGE = "l"


class Box(BaseModel):
    width: int
    tags: list[str] = []


@dataclass
class Point:
    x: float
    y: float


async def greet(name: str, times: int = 1) -> str:
    return " ".join([f"hello {name}"] * times)


def where(_private: int, json: str = "j", copy: bool = False, *, model_config: int = 0) -> list[object]:
    """Names that no field of a model can have.

    More of it.
    """
    return [_private, json, copy, model_config, threading.current_thread() is threading.main_thread()]


def typed(day: date, box: Box, size: Size, point: Point) -> dict[str, object]:
    return {"day": day, "box": box, "size": size, "point": point, "money": Decimal("1.5"), "set": {1}}


async def counted(context: TaskContext, start: int) -> int:
    def count() -> int:
        return start + 1

    first = await context.step("count", count)
    if context.attempt == 1:
        raise RuntimeError("once")
    return int(first) * 10 + context.attempt


def threaded(context: TaskContext, text: str) -> str:
    return str(context.sync.step("upper", text.upper))


def only(a: int, /, b: int, **more: int) -> list[object]:
    return [a, b, more]


def compute(number: int) -> list[int]:
    return [math.factorial(number), os.getpid()]


def bounded(kind: Literal["a", "b"], share: Annotated[float, Field(ge=0, le=1)] = 0.5) -> str:
    return kind


def odd() -> object:
    return object()


@pytest.fixture
def functions():
    known = Functions()
    for function in (greet, where, typed, counted, threaded, only, bounded, odd):
        known.register(function)
    known.register(compute, run="process")
    known.register(functools.partial(greet, times=2), name="greet_twice", description="Twice.")
    known.register(lambda: "λ", name="lambda")
    return known


async def do(run_task, functions, name, /, *args, **kwargs):
    if run_task.manager is None:
        await run_task.start(functions=functions)
    data = {"function": name, "args": list(args), "kwargs": kwargs}
    return await run_task(KIND, data, options=TaskOptions(retry_delay=0.01))


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "result"),
    [
        ("greet", ["Ada"], {}, "hello Ada"),
        ("greet", [], {"name": "Ada", "times": 2}, "hello Ada hello Ada"),
        ("greet_twice", ["Ada"], {}, "hello Ada hello Ada"),
        ("where", [1], {"json": "x", "model_config": 3}, [1, "x", False, 3, False]),
        ("counted", [4], {}, 52),
        ("threaded", ["a"], {}, "A"),
        ("only", [1, 2], {"c": 3}, [1, 2, {"c": 3}]),
        ("only", [1], {"b": 2}, [1, 2, {}]),
        ("bounded", ["a", 1], {}, "a"),
        ("lambda", [], {}, "λ"),
        (
            "typed",
            ["2026-01-02", {"width": 3}, "s", {"x": 1, "y": 2}],
            {},
            {
                "day": "2026-01-02",
                "box": {"width": 3, "tags": []},
                "size": "s",
                "point": {"x": 1.0, "y": 2.0},
                "money": "1.5",
                "set": [1],
            },
        ),
    ],
)
async def test_functions(run_task, functions, name, args, kwargs, result):
    assert await do(run_task, functions, name, *args, **kwargs) == result


async def test_a_process_of_its_own(run_task, functions):
    value, pid = await do(run_task, functions, "compute", 5)
    assert value == 120
    assert pid != os.getpid()


async def test_a_result_that_is_no_json_fails_at_once(run_task, functions):
    with pytest.raises(TaskFailed, match="function odd returned what is no JSON"):
        await do(run_task, functions, "odd")


async def test_a_function_runs_beside_others(run_task, functions):
    met = asyncio.Barrier(2)

    async def meet() -> bool:
        async with met:
            return True

    functions.register(meet)
    await run_task.start(functions=functions)
    ids = [await run_task.submit(KIND, {"function": "meet"}) for _ in range(2)]
    assert await asyncio.gather(*map(run_task.manager_wait, ids)) == [True, True]


def test_schema_and_description(functions):
    greet = functions.named("greet")
    assert greet.schema["properties"]["name"] == {"title": "Name", "type": "string"}
    assert greet.schema["required"] == ["name"]
    assert greet.schema["additionalProperties"] is False
    assert functions.named("where").description == "Names that no field of a model can have."
    assert functions.named("greet_twice").description == "Twice."
    assert set(functions.named("where").schema["properties"]) == {"_private", "json", "copy", "model_config"}
    assert "context" not in functions.named("counted").schema["properties"]
    assert functions.named("bounded").schema["properties"]["kind"]["enum"] == ["a", "b"]


def test_check(functions):
    assert functions.named("greet").check({"name": "Ada"}) == {"name": "Ada"}
    box = functions.named("typed").check(
        {"day": "2026-01-02", "box": {"width": 1}, "size": "l", "point": {"x": 1, "y": 2}}
    )
    assert box["box"] == Box(width=1)
    assert functions.named("typed").check(box) == box  # once more changes nothing
    with pytest.raises(InvalidTask, match=r"function greet: name: .*; times: .*; nmae: "):
        functions.named("greet").check({"times": "x", "nmae": 1})
    assert "greet" in functions
    assert "none" not in functions


BAD = {
    "nothing": ({}, "function"),
    "no object": ("greet", "data"),
    "unknown": ({"function": "great"}, "no function named 'great' is registered; known: bounded, "),
    "function of wrong type": ({"function": 5}, "function"),
    "empty name": ({"function": ""}, "function"),
    "args of wrong type": ({"function": "greet", "args": "Ada"}, "args"),
    "kwargs of wrong type": ({"function": "greet", "kwargs": ["Ada"]}, "kwargs"),
    "argument missing": ({"function": "greet"}, "kwargs.name"),
    "argument of wrong type": ({"function": "greet", "args": [5]}, "args.0 (name)"),
    "named argument of wrong type": (
        {"function": "greet", "args": ["a"], "kwargs": {"times": "x"}},
        "kwargs.times",
    ),
    "inside an argument": (
        {"function": "typed", "args": ["2026-01-02", {"width": "x"}, "s", {"x": 1, "y": 2}]},
        "args.1 (box).width",
    ),
    "out of range": ({"function": "bounded", "args": ["a", 2]}, "args.1 (share)"),
    "none of these": ({"function": "bounded", "args": ["c"]}, "args.0 (kind)"),
    "unknown argument": ({"function": "greet", "kwargs": {"name": "a", "nmae": "b"}}, "kwargs.nmae"),
    "too many": ({"function": "greet", "args": ["a", 1, 2]}, "args.2"),
    "twice": ({"function": "greet", "args": ["a"], "kwargs": {"name": "b"}}, "kwargs.name"),
    "by name only": ({"function": "where", "args": [1, "j", True, 4]}, "args.3"),
    "the context": ({"function": "counted", "args": [1], "kwargs": {"context": 1}}, "kwargs.context"),
    "no JSON": ({"function": "lambda", "args": [float("nan")]}, "args"),
    "unknown field": ({"function": "greet", "name": "Ada"}, "name"),
}


@pytest.mark.parametrize(("data", "words"), BAD.values(), ids=BAD)
def test_bad_data_is_refused(functions, data, words):
    toolbox = Toolbox(client=lambda: None, functions=functions)
    with pytest.raises(InvalidTask) as caught:
        KIND.refuse(KIND.read(data), toolbox)
    assert str(caught.value).startswith("data of a python task: ")
    assert words in str(caught.value).removeprefix("data of a python task: ")


def context_later(a: int, context: TaskContext) -> None: ...


def with_context(context: TaskContext) -> None: ...


def many(*args: int) -> None: ...


def unreadable(a: Nowhere) -> None: ...  # noqa: F821


def no_type(a: threading.Lock) -> None: ...


def generator() -> object:
    yield 1


@pytest.mark.parametrize(
    ("function", "details", "words"),
    [
        (lambda: 1, {}, "give one: name="),
        (compute, {"name": "greet"}, "registered already"),
        (many, {}, r"takes \*args"),
        (context_later, {}, "must be its first"),
        (with_context, {"run": "process"}, "stays in this process"),
        (lambda: 1, {"name": "x", "run": "process"}, "cannot be sent to a process"),
        (greet, {"run": "process"}, "is a coroutine function"),
        (greet, {"run": "thread"}, "is a coroutine function"),
        (compute, {"run": "async"}, "is no coroutine function"),
        (unreadable, {}, "its annotations cannot be read"),
        (no_type, {}, "no_type"),
        (generator, {}, "is a generator"),
    ],
)
def test_what_cannot_be_registered(functions, function, details, words):
    with pytest.raises(ConfigurationError, match=words):
        functions.register(function, **details)


def test_what_no_model_can_be_told_of(functions):
    def apply(rule: Callable[[int], int]) -> int:
        return rule(1)

    with pytest.raises(ConfigurationError, match="apply: its parameters cannot be told to a model"):
        assert functions.register(apply).schema


def test_the_same_function_may_be_registered_again(functions):
    functions.register(greet, description="anew")
    assert functions.named("greet").description == "anew"


def test_objects_and_methods(functions):
    class Adder:
        def __init__(self, base: int) -> None:
            self.base = base

        def __call__(self, number: int) -> int:
            return self.base + number

        def add(self, number: int) -> int:
            return self.base + number

    functions.register(Adder(1), name="adder")
    functions.register(Adder(2).add)
    assert functions.named("add").check({"number": 1}) == {"number": 1}
    with pytest.raises(InvalidTask, match="number"):
        functions.named("adder").check({"number": "x"})
