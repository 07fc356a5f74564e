"""FUNCTION_CALL: the model calls, the arguments are judged, a registered function is run once."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator

from penstock import TaskOptions
from penstock.errors import TaskFailed
from penstock.task_types.base import TaskKind, Toolbox
from penstock.task_types.function_call import KIND
from penstock.task_types.functions import Functions
from penstock.task_types.json_schemas import problems_of


def on_a_map(city: str) -> str:
    if city == "Atlantis":
        raise ValueError("is not on any map")
    return city


City = Annotated[str, AfterValidator(on_a_map)]

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer", "minimum": 1},
        "unit": {"$ref": "#/$defs/unit"},
    },
    "required": ["city"],
    "additionalProperties": False,
    "$defs": {"unit": {"enum": ["C", "F"]}},
}
DATA = {"function_name": "forecast", "parameters": SCHEMA, "content": "Will it rain in Oslo?"}


CALLS = []


async def forecast(city: City, days: int = 1, unit: Literal["C", "F"] = "C") -> dict[str, Any]:
    """Whether it will rain."""
    CALLS.append((city, days, unit))
    return {"rain": True}


@pytest.fixture
def functions():
    CALLS.clear()
    registry = Functions()
    registry.register(forecast)
    return registry


async def test_the_model_is_made_to_call(run_task):
    result = await run_task(KIND, {**DATA, "system_prompt": "be quick", "description": "tells the weather"})
    assert result["function"] == "forecast"
    assert set(result["arguments"]) <= {"city", "days", "unit"}
    assert problems_of(result["arguments"], SCHEMA) == []
    assert "result" not in result
    (body,) = run_task.bodies
    function = {"name": "forecast", "description": "tells the weather", "parameters": SCHEMA}
    assert body["tools"] == [{"type": "function", "function": function}]
    assert body["tool_choice"] == {"type": "function", "function": {"name": "forecast"}}


async def test_a_registered_function_is_run_with_the_arguments(run_task, replies, functions):
    reply = replies.tool("forecast", {"city": "Oslo"}, "stop")
    result = await run_task(KIND, DATA, replies=[reply], functions=functions)
    assert result == {
        "function": "forecast",
        "arguments": {"city": "Oslo"},
        "result": {"rain": True},
    }
    assert CALLS == [("Oslo", 1, "C")]


async def test_a_registered_function_brings_its_schema(run_task, replies, functions):
    data = {"function_name": "forecast", "content": "?"}
    reply = replies.tool("forecast", {"city": "Oslo"})
    result = await run_task(KIND, data, replies=[reply], functions=functions)
    assert result["result"]["rain"]
    sent = run_task.bodies[0]["tools"][0]["function"]
    assert sent["description"] == "Whether it will rain."
    assert sent["parameters"]["required"] == ["city"]
    assert sent["parameters"]["properties"]["unit"]["enum"] == ["C", "F"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("{oops", "no JSON"),
        ("[1]", "JSON object"),
        ({"days": 1}, "'city' is a required property"),
        ({"city": "Oslo", "days": 0}, "days: 0 is less than the minimum"),
        ({"city": "Oslo", "unit": "K"}, "unit: 'K' is not one of"),
        ({"city": "Oslo", "when": 1}, "'when' was unexpected"),
        ({"city": "Atlantis"}, "not on any map"),
    ],
)
async def test_bad_arguments_are_repaired_once(run_task, replies, functions, arguments, problem):
    bad, good = replies.tool("forecast", arguments), replies.tool("forecast", {"city": "Oslo"})
    result = await run_task(KIND, DATA, replies=[bad, good], functions=functions)
    assert result["arguments"] == {"city": "Oslo"}
    assert CALLS == [("Oslo", 1, "C")]
    assistant, tool = run_task.bodies[1]["messages"][-2:]
    assert assistant["tool_calls"][0]["id"] == tool["tool_call_id"] == "call_1"
    assert problem in tool["content"]


async def test_a_model_that_does_not_call_is_told_and_then_given_up(run_task, replies):
    result = await run_task(KIND, DATA, replies=["It may.", replies.tool("forecast", {"city": "Oslo"})])
    assert result["arguments"] == {"city": "Oslo"}
    assert run_task.bodies[1]["messages"][-2] == {"role": "assistant", "content": "It may."}
    with pytest.raises(TaskFailed, match="it does not call forecast") as failure:
        await run_task(KIND, {**DATA, "content": "other"}, replies=["It may.", "It may not.", "never asked"])
    assert failure.value.reason == "invalid_answer"
    assert len(run_task.bodies) == 4


async def test_of_several_calls_the_one_asked_for_counts(run_task, replies):
    reply = replies.tool("other", {})
    calls = reply["choices"][0]["message"]["tool_calls"]
    calls += replies.tool("forecast", {"city": "Rome"})["choices"][0]["message"]["tool_calls"]
    assert (await run_task(KIND, DATA, replies=[reply]))["arguments"] == {"city": "Rome"}


async def test_a_function_is_run_once_over_all_attempts(run_task, replies, functions):
    lives = []

    async def twice(context, data, toolbox):
        result = await KIND.run(context, data, toolbox)
        lives.append(result)
        if len(lives) == 1:
            raise RuntimeError("something breaks after the call")
        return result

    kind = TaskKind("called", KIND.data, twice)
    reply = replies.tool("forecast", {"city": "Oslo"})
    options = TaskOptions(retry_delay=0.01, strict_journal=True)
    await run_task(kind, DATA, replies=[reply], functions=functions, options=options)
    assert len(CALLS) == len(run_task.bodies) == 1
    assert lives[0] == lives[1]


def test_without_parameters_there_must_be_a_function(refused, functions):
    words = refused(KIND, {"function_name": "forecast", "content": "?"})
    assert "parameters" in words
    assert "'forecast'" in words
    box = Toolbox(client=lambda: None, functions=functions)
    KIND.refuse(KIND.read({"function_name": "forecast", "content": "?"}), box)


def test_the_estimate_counts_the_schema(functions):
    box = Toolbox(client=lambda: None, functions=functions)
    small = KIND.estimate(KIND.read({**DATA, "parameters": {"type": "object"}}), box)
    assert small.input_tokens < KIND.estimate(KIND.read(DATA), box).input_tokens


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"$schema": "http://json-schema.org/draft-07/schema#", "required": ["a"]}, {"a": 1}, {}),
        ({"$schema": "https://unknown.test/draft", "required": ["a"]}, {"a": 1}, {}),
        (
            {
                "$id": "https://x.test/s",
                "properties": {"a": {"$ref": "#/$defs/b"}},
                "$defs": {"b": {"type": "null"}},
            },
            {"a": None},
            {"a": 1},
        ),
        (
            {"properties": {"next": {"$ref": "#"}}, "additionalProperties": False},
            {"next": {"next": {}}},
            {"next": {"a": 1}},
        ),
        ({"properties": {"$ref": {"type": "string"}}}, {"$ref": "x"}, {"$ref": 1}),
        ({"properties": {"a": {"pattern": "^x+$"}}}, {"a": "xx"}, {"a": "y"}),
    ],
)
def test_schemas_of_many_kinds_are_kept_to(schema, good, bad):
    read = KIND.read({**DATA, "parameters": schema})
    assert problems_of(good, read.parameters) == []
    assert problems_of(bad, read.parameters)


def test_a_schema_that_never_ends_is_a_problem_and_no_crash():
    assert problems_of({}, {"allOf": [{"$ref": "#"}]}) == ["it is nested too deeply"]
