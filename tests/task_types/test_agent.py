"""AGENT: the loop of model and tool calls, its limits, and what providers do to it."""

from __future__ import annotations

import asyncio
import json

import pytest

from penstock import (
    Agent,
    ConfigurationError,
    InvalidTask,
    SyncTaskManager,
    TaskConfig,
    TaskContext,
    TaskFailed,
)
from penstock.simulator.faults import Fault
from penstock.testing import SimulatedProvider

ONCE = TaskConfig(max_retries=0, timeout=None)


def call(name, arguments=None, id="c1"):
    """One tool call as providers write it."""
    given = arguments if isinstance(arguments, str) else json.dumps(arguments or {})
    return {"id": id, "type": "function", "function": {"name": name, "arguments": given}}


def says(text=None, *calls, finish=None, usage=(100, 20), **message):
    """The status and body of a reply with these tool calls."""
    said = {"role": "assistant", "content": text, **message}
    if calls:
        said["tool_calls"] = list(calls)
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "gpt-4o-mini",
        "choices": [
            {"index": 0, "message": said, "finish_reason": finish or ("tool_calls" if calls else "stop")}
        ],
    }
    if usage:
        body["usage"] = {
            "prompt_tokens": usage[0],
            "completion_tokens": usage[1],
            "total_tokens": sum(usage),
        }
    return 200, body


@pytest.fixture
def provider():
    with SimulatedProvider() as running:
        yield running


@pytest.fixture
async def manager(provider):
    async with provider.manager() as running:
        yield running


@pytest.fixture
def weather(manager):
    """A tool that notes its calls."""
    asked = []

    @manager.tool
    async def weather(city: str) -> dict[str, object]:
        """The weather in a city.

        Not for the model.
        """
        asked.append(city)
        if city == "Atlantis":
            raise ValueError("it is under water")
        return {"city": city, "sun": True}

    weather.asked = asked
    return weather


@pytest.fixture
def run(manager, provider):
    async def run_agent(*replies, **data):
        provider.say(*replies)
        data = {"prompt": "Is it sunny?", **data}
        return await manager.wait_for_task(await manager.submit_task("agent", data, config=ONCE), timeout=20)

    return run_agent


def told(provider, place=-1):
    """What the tools told the model in a call."""
    return [one["content"] for one in provider.calls[place].body["messages"] if one["role"] == "tool"]


async def test_it_calls_a_tool_and_answers(run, provider, weather):
    result = await run(
        says(None, call("weather", {"city": "Oslo"})),
        says("Yes."),
        tools=["weather"],
        instructions="Be brief.",
        temperature=0.5,
        request={"parallel_tool_calls": False},
    )
    assert weather.asked == ["Oslo"]
    assert (result["text"], result["stopped"], result["turns"]) == ("Yes.", None, 2)
    assert result["usage"] == {"input_tokens": 200, "output_tokens": 40, "total_tokens": 240}
    assert [one["role"] for one in result["messages"]] == ["user", "assistant", "tool", "assistant"]
    first, second = (one.body for one in provider.calls)
    assert first["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (first["temperature"], first["parallel_tool_calls"]) == (0.5, False)
    (tool,) = first["tools"]
    assert tool["function"]["description"] == "The weather in a city."
    assert tool["function"]["parameters"]["required"] == ["city"]
    assert json.loads(second["messages"][-1]["content"]) == {"city": "Oslo", "sun": True}


async def test_an_agent_without_tools_answers_at_once(run, provider):
    assert (await run("Hello."))["text"] == "Hello."
    assert "tools" not in provider.calls[0].body


async def test_a_conversation_goes_on(run, provider):
    messages = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": "two"},
    ]
    result = await run("2", prompt=None, messages=messages)
    assert provider.calls[0].body["messages"] == messages
    assert result["messages"] == [*messages, {"role": "assistant", "content": "2"}]


async def test_calls_of_one_turn_run_side_by_side(run, provider, manager):
    inside, all_inside = [], asyncio.Event()

    @manager.tool
    async def slow(n: int) -> int:
        inside.append(n)
        if len(inside) == 4:
            all_inside.set()
        await asyncio.wait_for(all_inside.wait(), 10)
        return n * n

    calls = [call("slow", {"n": n}, f"c{n}") for n in range(4)]
    result = await run(says(None, *calls), "done", tools=["slow"])
    assert told(provider) == ["0", "1", "4", "9"]
    assert result["text"] == "done"


class TestErrors:
    async def test_an_error_goes_back_to_the_model(self, run, provider, weather):
        result = await run(
            says(None, call("weather", {"city": "Atlantis"})),
            says(None, call("weather", {"city": "Oslo"})),
            "Yes.",
            tools=["weather"],
        )
        assert told(provider, 1) == ["Error: ValueError: it is under water"]
        assert result["text"] == "Yes."

    async def test_unknown_tools_and_wrong_arguments(self, run, provider, weather):
        await run(
            says(None, call("whether", {"city": "Oslo"})),
            says(None, call("weather", {"town": "Oslo"})),
            "No.",
            tools=["weather"],
            max_errors=5,
        )
        unknown, wrong = told(provider)
        assert unknown == "Error: there is no tool 'whether'; there are: weather"
        assert "city" in wrong
        assert "town" in wrong
        assert weather.asked == []

    async def test_too_many_errors_in_a_row_end_it(self, run, provider, weather):
        bad = says("Hm.", call("weather", {"city": "Atlantis"}))
        good = says(None, call("weather", {"city": "Oslo"}))
        result = await run(bad, good, bad, bad, tools=["weather"], max_errors=2)
        assert (result["stopped"], result["turns"], result["text"]) == ("errors", 4, "Hm.")
        assert len(provider.calls) == 4

    async def test_tries_before_the_model_hears_of_it(self, run, provider, manager):
        tries = []

        @manager.tool(retries=2)
        def flaky() -> str:
            tries.append(1)
            if len(tries) < 3:
                raise OSError("down")
            return "up"

        provider.say(says(None, call("flaky")), "fine")
        config = TaskConfig(max_retries=0, retry_delay=0.01)
        id = await manager.submit_task("agent", {"prompt": "?", "tools": ["flaky"]}, config=config)
        assert (await manager.wait_for_task(id))["text"] == "fine"
        assert len(tries) == 3
        assert told(provider) == ["up"]

    async def test_a_tool_that_takes_too_long(self, run, provider, manager):
        @manager.tool(timeout=0.05)
        async def endless() -> None:
            await asyncio.sleep(3600)

        await run(says(None, call("endless")), "well", tools=["endless"])
        assert told(provider) == ["Error: it took longer than 0.05 seconds"]

    async def test_long_results_are_cut(self, run, provider, manager):
        @manager.tool
        def novel() -> str:
            return "x" * 150_000

        await run(says(None, call("novel")), "well", tools=["novel"])
        assert told(provider)[0].endswith("(cut: 50,000 more characters)")

    async def test_passing_errors_of_the_provider_are_tried_again(self, manager, provider, weather):
        provider.say(Fault.ERROR_500, says(None, call("weather", {"city": "Oslo"})), Fault.ERROR_500, "Yes.")
        config = TaskConfig(max_retries=2, retry_delay=0.01)
        id = await manager.submit_task("agent", {"prompt": "?", "tools": ["weather"]}, config=config)
        assert (await manager.wait_for_task(id))["text"] == "Yes."
        assert weather.asked == ["Oslo"]


class TestLimits:
    @pytest.mark.parametrize("turns", [1, 2, 5])
    async def test_turns_are_exact(self, run, provider, weather, turns):
        reply = says("Looking.", call("weather", {"city": "Oslo"}))
        result = await run(*[reply] * 6, tools=["weather"], max_turns=turns)
        assert (result["stopped"], result["turns"]) == ("turns", turns)
        assert len(provider.calls) == turns
        assert result["text"] == "Looking."
        # The calls of the last turn could be of no use to anybody.
        assert len(weather.asked) == turns - 1
        assert "tool_calls" not in result["messages"][-1]

    async def test_tokens(self, run, provider, weather):
        reply = says("Looking.", call("weather", {"city": "Oslo"}), usage=(300, 50))
        result = await run(*[reply] * 9, tools=["weather"], max_tokens=1000, max_output_tokens=60)
        assert result["stopped"] == "tokens"
        assert result["usage"]["total_tokens"] <= 1000
        assert result["text"] == "Looking."
        assert len(provider.calls) == 2

    async def test_the_output_is_capped_by_what_is_left(self, run, provider):
        result = await run("well", max_tokens=200)
        cap = provider.calls[0].body["max_tokens"]
        assert 100 < cap < 200
        assert result["stopped"] is None

    async def test_an_answer_that_is_cut_says_so(self, run):
        result = await run(says("Once upon a", finish="length"), max_output_tokens=3)
        assert (result["stopped"], result["text"]) == ("tokens", "Once upon a")

    async def test_nothing_is_asked_that_cannot_be_afforded(self, run, provider):
        result = await run(prompt="word " * 500, max_tokens=100)
        assert (result["stopped"], result["turns"], result["text"]) == ("tokens", 0, None)
        assert provider.calls == []

    async def test_replies_without_usage_are_counted_by_their_size(self, run):
        result = await run(says("word " * 100, usage=None))
        assert 50 < result["usage"]["output_tokens"] < 200
        assert result["usage"]["input_tokens"] > 0


class TestMoney:
    @pytest.fixture
    async def manager(self, provider):
        # USD per million tokens: a call of 100 and 20 tokens costs 0.0002 USD.
        async with provider.manager(prices={"gpt-4o-mini": {"input": 1, "output": 5}}) as running:
            yield running

    async def test_money_is_never_exceeded(self, run, provider, weather):
        reply = says("Looking.", call("weather", {"city": "Oslo"}))
        limits = {"max_cost": 0.001, "max_output_tokens": 20}
        result = await run(*[reply] * 9, tools=["weather"], **limits)
        assert result["stopped"] == "money"
        assert result["cost"] == pytest.approx(0.0002 * len(provider.calls))
        assert 0.0006 <= result["cost"] <= 0.001

    async def test_less_than_one_call(self, run, provider):
        result = await run(max_cost=0.000001)
        assert (result["stopped"], result["turns"]) == ("money", 0)
        assert provider.calls == []

    async def test_the_cost_is_that_of_the_task(self, run, manager):
        provider_result = await run("well", max_cost=1.0)
        (task,) = manager.list_tasks()
        assert provider_result["cost"] == pytest.approx(float(task.metrics.actual_cost))


async def test_an_unknown_price_with_a_limit_fails(provider):
    async with provider.manager(profile="openai") as manager:
        id = await manager.submit_task(
            "agent", {"prompt": "?", "model": "nobody-knows-me", "max_cost": 1.0}, config=ONCE
        )
        with pytest.raises(TaskFailed, match="no price is known"):
            await manager.wait_for_task(id)


SUNNY = {
    "type": "object",
    "properties": {"sunny": {"type": "boolean"}},
    "required": ["sunny"],
    "additionalProperties": False,
}


class TestSchema:
    async def test_an_object(self, run, provider):
        result = await run('Well: {"sunny": true}', output_schema=SUNNY)
        assert result["output"] == {"sunny": True}
        assert "JSON schema" in provider.calls[0].body["messages"][0]["content"]

    async def test_it_is_mended(self, run, provider, weather):
        result = await run(
            says(None, call("weather", {"city": "Oslo"})),
            "It is sunny.",
            '{"sunny": "yes"}',
            '{"sunny": true}',
            output_schema=SUNNY,
            tools=["weather"],
        )
        assert result["output"] == {"sunny": True}
        assert "sunny: 'yes' is not of type 'boolean'" in provider.calls[-1].text

    async def test_in_the_end_it_fails_and_a_retry_asks_again(self, manager, provider):
        provider.say("no", "no", "no")
        id = await manager.submit_task("agent", {"prompt": "?", "output_schema": SUNNY}, config=ONCE)
        with pytest.raises(TaskFailed, match="no usable final answer in 3 rounds"):
            await manager.wait_for_task(id)
        provider.say('{"sunny": false}')
        again = await manager.retry_task(id)
        assert (await manager.wait_for_task(again))["output"] == {"sunny": False}
        assert len(provider.calls) == 4


class TestOddProviders:
    async def test_broken_arguments(self, run, provider, weather):
        broken = says(None, call("weather", '{"city": "Os'))
        result = await run(broken, says(None, call("weather", {"city": "Oslo"})), "Yes.", tools=["weather"])
        assert "the arguments are no JSON" in told(provider, 1)[0]
        assert '{\\"city\\": \\"Os' in told(provider, 1)[0]
        # Endpoints refuse a history with broken arguments.
        sent = provider.calls[1].body["messages"][-2]["tool_calls"][0]
        assert json.loads(sent["function"]["arguments"]) == {}
        assert result["text"] == "Yes."

    @pytest.mark.parametrize("arguments", ["", "  ", {}])
    async def test_no_arguments(self, run, provider, manager, arguments):
        @manager.tool
        def ping() -> str:
            return "pong"

        odd = call("ping")
        odd["function"]["arguments"] = arguments
        await run(says(None, odd), "fine", tools=["ping"])
        assert told(provider) == ["pong"]

    @pytest.mark.parametrize("ids", [("same", "same"), (None, None), ("", 7)])
    async def test_equal_and_missing_ids(self, run, provider, weather, ids):
        calls = [call("weather", {"city": city}, id) for city, id in zip(("Oslo", "Rome"), ids, strict=True)]
        await run(says("", *calls), "Yes.", tools=["weather"])
        *_, assistant, first, second = provider.calls[1].body["messages"]
        sent = [one["id"] for one in assistant["tool_calls"]]
        assert len(set(sent)) == 2
        assert [first["tool_call_id"], second["tool_call_id"]] == sent
        assert json.loads(first["content"])["city"] == "Oslo"
        assert json.loads(second["content"])["city"] == "Rome"

    async def test_equal_calls_of_one_turn_are_both_made(self, run, provider, weather):
        twice = [call("weather", {"city": "Oslo"}, id) for id in ("a", "b")]
        await run(says("", *twice), "Yes.", tools=["weather"])
        assert weather.asked == ["Oslo", "Oslo"]

    async def test_calls_that_are_no_calls(self, run, provider, weather):
        odd = {"id": "x", "type": "function", "function": None}
        nameless = {"id": "y", "type": "function", "function": {"arguments": "{}"}}
        await run(says(None, odd, nameless), "Well.", tools=["weather"])
        assert told(provider) == ["Error: the call names no tool"] * 2

    async def test_a_thousand_calls(self, run, provider, weather):
        wild = [call("weather", {"city": "Oslo"}, f"c{n}") for n in range(1000)]
        await run(says("", *wild), "Yes.", tools=["weather"])
        assert len(weather.asked) == 64
        assert len(told(provider)) == 1000
        assert "at most 64 calls at once" in told(provider)[-1]

    async def test_nothing_at_all(self, run, provider):
        result = await run(says(""), says(None), "There.", max_errors=3)
        assert result["text"] == "There."
        assert "You said nothing" in provider.calls[1].text
        assert (await run(says(""), says(""), max_errors=2))["stopped"] == "errors"

    async def test_cut_amid_a_call(self, run, provider, weather):
        cut = says(None, call("weather", '{"ci'), finish="length")
        result = await run(cut, says(None, call("weather", {"city": "Oslo"})), "Yes.", tools=["weather"])
        assert (result["text"], result["stopped"]) == ("Yes.", None)

    @pytest.mark.parametrize(
        ("reply", "words"),
        [
            (says(None, refusal="I will not."), "refused to answer"),
            (says("x", finish="content_filter"), "content filter"),
        ],
    )
    async def test_refusals_fail_it(self, run, reply, words):
        with pytest.raises(TaskFailed, match=words):
            await run(reply)


class TestDoor:
    @pytest.mark.parametrize(
        ("data", "words"),
        [
            ({}, "give one of prompt and messages, not none"),
            ({"prompt": " "}, "prompt: must not be blank"),
            ({"prompt": "?", "messages": [{"role": "user", "content": "?"}]}, "prompt and messages"),
            ({"messages": []}, "messages"),
            ({"messages": [{"content": "?"}]}, "messages: message 0 needs a role"),
            ({"prompt": "?", "tools": ["nothing"]}, "tools.0: no tool named 'nothing'"),
            ({"prompt": "?", "tools": ["weather", "weather"]}, "tools: weather stands there twice"),
            ({"prompt": "?", "tools": ["a b"]}, "tools.0"),
            ({"prompt": "?", "max_turns": 0}, "max_turns"),
            ({"prompt": "?", "max_turns": True}, "max_turns"),
            ({"prompt": "?", "max_tokens": -1}, "max_tokens"),
            ({"prompt": "?", "max_cost": -0.1}, "max_cost"),
            ({"prompt": "?", "max_cost": float("nan")}, "max_cost"),
            ({"prompt": "?", "max_errors": 0}, "max_errors"),
            ({"prompt": "?", "output_schema": {"type": "array"}}, "output_schema: type: must be object"),
            ({"prompt": "?", "output_schema": {"properties": 3}}, "output_schema"),
            ({"prompt": "?", "request": {"messages": []}}, "request: messages: not here"),
            ({"prompt": "?", "temprature": 1}, "temprature"),
            ({"prompt": "?", "agent": "nobody"}, "agent: no agent named 'nobody' is registered; known: none"),
            ({"prompt": "?", "hand_off": ["nobody"]}, "hand_off.0: no agent named 'nobody'"),
        ],
    )
    async def test_what_is_wrong_is_named(self, manager, weather, data, words):
        with pytest.raises(InvalidTask) as refusal:
            await manager.submit_task("agent", data)
        assert words in str(refusal.value)
        assert manager.list_tasks() == []


class TestRegistered:
    async def test_an_agent_by_its_name(self, manager, provider, weather, run):
        forecaster = manager.add_agent(
            Agent("forecaster", "You know the sky.", tools=[weather], model="gpt-4o", max_turns=3)
        )
        provider.say(says(None, call("weather", {"city": "Oslo"})), "Sunny.")
        handle = await forecaster.submit("And Oslo?", config=ONCE)
        assert (await handle)["text"] == "Sunny."
        body = provider.calls[0].body
        assert body["model"] == "gpt-4o"
        assert body["messages"][0]["content"] == "You know the sky."
        # What the data say stands before what the agent says.
        result = await run("Hm.", agent="forecaster", instructions="You know nothing.", tools=[])
        assert provider.calls[-1].body["messages"][0]["content"] == "You know nothing."
        assert "tools" not in provider.calls[-1].body
        assert result["agent"] == "forecaster"

    async def test_a_task_keeps_to_the_agent_it_was_submitted_with(self, manager, provider):
        manager.add_agent(Agent("a", "First words."))
        id = await manager.submit_task("agent", {"agent": "a", "prompt": "?"})
        task = manager.get_task(id)
        assert task.data["instructions"] == "First words."

    async def test_inside_a_handler(self, manager, provider, weather):
        helper = manager.add_agent(Agent("helper", tools=[weather]))

        async def twice(ctx):
            first = await helper.run(ctx, "Oslo?")
            second = await manager.run_agent(ctx, "helper", "Rome?", max_turns=1)
            return [first["text"], second["stopped"]]

        manager.register_type("twice", twice)
        provider.say(says(None, call("weather", {"city": "Oslo"})), "Sunny.")
        provider.say(says(None, call("weather", {"city": "Rome"})))
        id = await manager.submit_task("twice", config=ONCE)
        assert await manager.wait_for_task(id) == ["Sunny.", "turns"]

    async def test_names_are_taken_once(self, manager, weather):
        manager.add_agent(Agent("a", "x"))
        manager.add_agent(Agent("a", "x"))
        with pytest.raises(ConfigurationError, match="'a' is there already"):
            manager.add_agent(Agent("a", "y"))
        with pytest.raises(ConfigurationError, match="cannot be an agent's name"):
            Agent("not a name")
        with pytest.raises(ConfigurationError, match="cannot be a tool's name"):
            manager.tool(name="not a name")(lambda: None)
        with pytest.raises(ConfigurationError, match="a tool is a function"):
            manager.add_agent(Agent("b", tools=[3]))
        with pytest.raises(ConfigurationError, match="retries of a tool"):
            manager.tool(retries=-1)(lambda: None)
        with pytest.raises(ConfigurationError, match="timeout of a tool"):
            manager.tool(timeout=0)(lambda: None)

    async def test_tasks_and_plain_functions_are_tools_too(self, manager, provider, run):
        @manager.task
        async def double(n: int) -> int:
            """Twice as much."""
            return 2 * n

        def triple(n: int) -> int:
            return 3 * n

        manager.add_agent(Agent("counter", tools=[double, triple]))
        await run(
            says(None, call("double", {"n": 4}, "a"), call("triple", {"n": 4}, "b")), "ok", agent="counter"
        )
        assert told(provider) == ["8", "12"]

    async def test_one_function_under_two_names_and_in_two_agents(self, manager, provider, run):
        def half(n: int) -> float:
            return n / 2

        manager.tool(name="halve")(half)
        manager.add_agent(Agent("a", tools=[half]))
        manager.add_agent(Agent("b", tools=[half, "halve"][:1]))
        await run(says(None, call("halve", {"n": 3})), "ok", agent="b")
        assert told(provider) == ["1.5"]

    def test_without_await(self, provider):
        client = provider.client()
        with SyncTaskManager(client, store="memory") as manager:

            @manager.tool
            def ping() -> str:
                return "pong"

            manager.add_agent(Agent("pinger", tools=[ping]))
            provider.say(says(None, call("ping")), "ok")
            id = manager.submit_task("agent", {"agent": "pinger", "prompt": "?"})
            assert manager.wait_for_task(id, timeout=20)["text"] == "ok"

    async def test_a_tool_with_steps_of_its_own(self, manager, provider, run):
        @manager.tool
        async def ask_twice(ctx: TaskContext, word: str) -> list[str]:
            """Asks."""
            return [await ctx.step(f"part {n}", lambda n=n: f"{word}{n}") for n in range(2)]

        await run(says(None, call("ask_twice", {"word": "w"})), "ok", tools=["ask_twice"])
        assert told(provider) == ['["w0", "w1"]']
        assert "ctx" not in json.dumps(provider.calls[0].body["tools"])


async def test_what_a_tool_makes_of_the_order_to_leave_is_not_recorded(provider, tmp_path):
    provider.say(says(None, call("slow")), says("Rested."))
    for life in (1, 2):
        async with provider.manager(store=str(tmp_path / "work.db")) as manager:
            begun = asyncio.Event()

            @manager.tool
            async def slow(context: TaskContext) -> str:
                begun.set()  # noqa: B023 (of this life)
                found = await asyncio.gather(context.sleep(0.3), return_exceptions=True)
                return f"slept {found}"

            if life == 1:
                id = await manager.submit_task("agent", {"prompt": "Rest.", "tools": ["slow"]}, config=ONCE)
                await begun.wait()
            else:
                result = await manager.wait_for_task(id, timeout=20)
    assert result["text"] == "Rested."
    assert told(provider) == ["slept [None]"]
