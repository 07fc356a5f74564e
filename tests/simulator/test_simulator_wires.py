"""Every wire format as the real SDKs read it, over a port of the loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import anthropic
import httpx2
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.simulator import Limits, Output, Script, Simulator, SimulatorConfig, SimulatorThread
from penstock.simulator.tokens import count_text

SAY = [{"role": "user", "content": "Tell me of the river. [[out=21]]"}]
SCHEMA = {
    "type": "object",
    "properties": {"category": {"enum": ["a", "b"]}, "confidence": {"type": "number", "minimum": 0}},
    "required": ["category", "confidence"],
}
SCRIPTS = (
    Script(r"weather in (\w+)", tool="weather", tool_arguments={"city": "Oslo"}),
    Script(r"capital of (\w+)", "The capital of $1 is known."),
)


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(SimulatorConfig(scripts=SCRIPTS, limits=Limits(1000, 100_000))) as running:
        yield running


@pytest.fixture
async def client(sim: Simulator) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=sim.base_url, api_key="k", max_retries=0) as made:
        yield made


@pytest.fixture
async def claude(sim: Simulator) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=sim.root_url, api_key="k", max_retries=0) as made:
        yield made


async def test_chat(client: openai.AsyncOpenAI) -> None:
    raw = await client.chat.completions.with_raw_response.create(model="m", messages=SAY)
    reply = raw.parse()
    assert reply.usage.completion_tokens == 21 == count_text(reply.choices[0].message.content)
    assert reply.choices[0].finish_reason == "stop"
    assert raw.headers["x-penstock-simulator"] == "for trying and measuring only"
    assert raw.headers["x-request-id"].startswith("req_sim")
    assert raw.headers["x-ratelimit-limit-requests"] == "1000"
    assert raw.headers["x-ratelimit-remaining-requests"] == "999"
    assert raw.headers["x-ratelimit-reset-requests"] in ("59ms", "60ms")


@pytest.mark.parametrize("cap", ["max_tokens", "max_completion_tokens"])
async def test_a_cap_cuts_the_reply(client: openai.AsyncOpenAI, cap: str) -> None:
    reply = await client.chat.completions.create(model="m", messages=SAY, n=2, **{cap: 5})
    assert [choice.finish_reason for choice in reply.choices] == ["length", "length"]
    assert reply.usage.completion_tokens == 10


async def test_chat_streams_with_usage_when_asked(client: openai.AsyncOpenAI) -> None:
    plain = await client.chat.completions.create(model="m", messages=SAY)
    chunks = [
        chunk async for chunk in await client.chat.completions.create(model="m", messages=SAY, stream=True)
    ]
    assert all(chunk.usage is None for chunk in chunks)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == plain.choices[0].message.content
    asked = await client.chat.completions.create(
        model="m", messages=SAY, stream=True, stream_options={"include_usage": True}
    )
    last = [chunk async for chunk in asked][-1]
    assert (last.choices, last.usage) == ([], plain.usage)


async def test_chat_tools_scripts_and_schemas(client: openai.AsyncOpenAI) -> None:
    tools = [{"type": "function", "function": {"name": "sort", "parameters": SCHEMA}}]
    forced = await client.chat.completions.create(
        model="m", messages=SAY, tools=tools, tool_choice={"type": "function", "function": {"name": "sort"}}
    )
    call = forced.choices[0].message.tool_calls[0]
    assert forced.choices[0].finish_reason == "tool_calls"
    assert set(json.loads(call.function.arguments)) == {"category", "confidence"}
    ask = [{"role": "user", "content": "the weather in Oslo?"}]
    async with client.chat.completions.stream(model="m", messages=ask) as stream:
        final = await stream.get_final_completion()
    assert json.loads(final.choices[0].message.tool_calls[0].function.arguments) == {"city": "Oslo"}
    ask = [{"role": "user", "content": [{"type": "text", "text": "the capital of Peru?"}]}]
    scripted = await client.chat.completions.create(model="m", messages=ask)
    assert scripted.choices[0].message.content == "The capital of Peru is known."
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}
    shaped = await client.chat.completions.create(model="m", messages=SAY, response_format=wanted)
    assert json.loads(shaped.choices[0].message.content)["category"] in ("a", "b")


async def test_responses(client: openai.AsyncOpenAI) -> None:
    reply = await client.responses.create(model="m", input="Tell me. [[out=9]]", instructions="Be short.")
    assert (reply.status, reply.usage.output_tokens, count_text(reply.output_text)) == ("completed", 9, 9)
    cut = await client.responses.create(model="m", input="Tell me. [[out=90]]", max_output_tokens=20)
    assert (cut.status, cut.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    tools = [{"type": "function", "name": "sort", "parameters": SCHEMA, "strict": False}]
    called = await client.responses.create(model="m", input="x", tools=tools, tool_choice="required")
    assert set(json.loads(called.output[0].arguments)) == {"category", "confidence"}


async def test_responses_stream(client: openai.AsyncOpenAI) -> None:
    async with client.responses.stream(model="m", input="Tell me. [[out=30]]") as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_response()
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    assert "response.output_text.delta" in kinds
    assert count_text(final.output_text) == 30
    tools = [{"type": "function", "name": "sort", "parameters": SCHEMA, "strict": False}]
    async with client.responses.stream(model="m", input="x", tools=tools, tool_choice="required") as stream:
        final = await stream.get_final_response()
    assert final.output[0].name == "sort"


async def test_embeddings(client: openai.AsyncOpenAI) -> None:
    made = await client.embeddings.create(model="e", input=["a big river", "the big river", "tax law"])
    one, two, other = (item.embedding for item in made.data)
    plain = await client.embeddings.create(model="e", input="a big river", encoding_format="float")
    assert plain.data[0].embedding == pytest.approx(one, abs=1e-6)
    assert sum(x * y for x, y in zip(one, two, strict=True)) > sum(
        x * y for x, y in zip(one, other, strict=True)
    )
    small = await client.embeddings.create(model="e", input=[[1, 2, 3]], dimensions=16)
    assert (len(small.data[0].embedding), small.usage.prompt_tokens) == (16, 3)


async def test_messages(claude: anthropic.AsyncAnthropic) -> None:
    raw = await claude.messages.with_raw_response.create(
        model="c", max_tokens=100, messages=SAY, system="Be kind."
    )
    reply = await raw.parse()
    assert (reply.stop_reason, reply.usage.output_tokens, count_text(reply.content[0].text)) == (
        "end_turn",
        21,
        21,
    )
    assert raw.headers["anthropic-ratelimit-requests-remaining"] == "999"
    assert raw.headers["anthropic-ratelimit-tokens-reset"].endswith("Z")
    async with claude.messages.stream(model="c", max_tokens=10, messages=SAY) as stream:
        final = await stream.get_final_message()
    assert (final.stop_reason, final.usage.output_tokens) == ("max_tokens", 10)
    tools = [{"name": "sort", "input_schema": SCHEMA}]
    async with claude.messages.stream(
        model="c", max_tokens=99, messages=SAY, tools=tools, tool_choice={"type": "any"}
    ) as stream:
        final = await stream.get_final_message()
    assert final.stop_reason == "tool_use"
    assert set(final.content[0].input) == {"category", "confidence"}


async def test_azure_addresses_and_models(sim: Simulator, client: openai.AsyncOpenAI) -> None:
    async with openai.AsyncAzureOpenAI(
        azure_endpoint=sim.root_url, api_key="k", api_version="2024-10-21", azure_deployment="my-gpt"
    ) as azure:
        reply = await azure.chat.completions.create(model="ignored", messages=SAY)
        assert reply.model == "my-gpt"
    assert [model.id async for model in client.models.list()] == ["simulated-model"]


def test_the_synchronous_clients_and_the_thread() -> None:
    with SimulatorThread(SimulatorConfig(api_key="right", models=("m", "e"))) as sim:
        with openai.OpenAI(base_url=sim.base_url, api_key="right", max_retries=0) as client:
            stream = client.chat.completions.create(model="m", messages=SAY, stream=True)
            assert count_text("".join(chunk.choices[0].delta.content or "" for chunk in stream)) == 21
            with pytest.raises(openai.NotFoundError) as missing:
                client.chat.completions.create(model="other", messages=SAY)
            assert missing.value.code == "model_not_found"
            assert [model.id for model in client.models.list()] == ["m", "e"]
        with openai.OpenAI(base_url=sim.base_url, api_key="wrong", max_retries=0) as client:
            with pytest.raises(openai.AuthenticationError) as refused:
                client.chat.completions.create(model="m", messages=SAY)
            assert refused.value.code == "invalid_api_key"
        with (
            anthropic.Anthropic(base_url=sim.root_url, api_key="wrong", max_retries=0) as claude,
            pytest.raises(anthropic.AuthenticationError),
        ):
            claude.messages.create(model="m", max_tokens=5, messages=SAY)
        assert sim.stats()["by_status"] == {"200": 1, "401": 2, "404": 1}
        sim.reset()
        assert sim.stats()["calls"] == 0
    assert sim.stats()["calls"] == 0


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("chat/completions", {"messages": SAY}, "model"),
        ("chat/completions", {"model": "m"}, "messages"),
        ("chat/completions", {"model": "m", "messages": []}, "messages"),
        (
            "chat/completions",
            {"model": "m", "messages": [{"role": "cat", "content": "x"}]},
            "messages[0].role",
        ),
        ("chat/completions", {"model": "m", "messages": [{"role": "user"}]}, "messages[0].content"),
        ("chat/completions", {"model": "m", "messages": SAY, "max_tokens": 0}, "max_tokens"),
        ("chat/completions", {"model": "m", "messages": SAY, "temperature": 3}, "temperature"),
        ("chat/completions", {"model": "m", "messages": SAY, "stream_options": {"a": 1}}, "stream_options"),
        ("chat/completions", {"model": "m", "messages": SAY, "tools": [{}]}, "tools[0].function.name"),
        ("chat/completions", {"model": "m", "messages": SAY, "tool_choice": "required"}, "tool_choice"),
        ("responses", {"model": "m"}, "input"),
        ("responses", {"model": "m", "input": 7}, "input"),
        ("embeddings", {"model": "m", "input": []}, "input"),
        ("embeddings", {"model": "m", "input": "x", "encoding_format": "hex"}, "encoding_format"),
    ],
)
async def test_a_bad_request_names_its_parameter(path: str, body: dict[str, object], param: str) -> None:
    async with httpx2.AsyncClient(transport=Simulator().transport(), base_url="http://sim/v1") as http:
        reply = await http.post(path, json=body)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)
    assert "x-penstock-simulator" in reply.headers


async def test_what_is_no_call_is_refused_in_the_same_shape() -> None:
    async with httpx2.AsyncClient(transport=Simulator().transport(), base_url="http://sim/v1") as http:
        for reply, status in (
            (await http.post("chat/completions", content=b"{nonsense"), 400),
            (await http.post("chat/completions", content=b"\xff\xfe"), 400),
            (await http.post("chat/completions", content=b"[" * 100_000), 400),
            (await http.post("chat/completions", json=[1]), 400),
            (await http.get("chat/completions"), 405),
            (await http.post("nowhere", json={}), 404),
        ):
            assert reply.status_code == status
            assert reply.json()["error"]["type"] == "invalid_request_error"
            assert "x-penstock-simulator" in reply.headers
        reply = await http.post("messages", json={"model": "m", "messages": SAY})
        assert reply.json()["error"] == {
            "type": "invalid_request_error",
            "message": "max_tokens: Field required",
        }


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 9)
    | st.sampled_from(["", "user", "text", "json_schema", "required"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "role", "content", "text", "function", "name", "schema"]), inner
        )
    ),
    max_leaves=8,
)
FIELDS = [
    "messages",
    "input",
    "tools",
    "tool_choice",
    "response_format",
    "text",
    "n",
    "stream",
    "max_tokens",
    "system",
]


@settings(max_examples=150, deadline=None)
@given(
    path=st.sampled_from(["chat/completions", "responses", "embeddings", "messages"]),
    fields=st.dictionaries(st.sampled_from(FIELDS), json_values),
)
def test_no_body_breaks_the_provider(path: str, fields: dict[str, object]) -> None:
    async def post() -> httpx2.Response:
        async with httpx2.AsyncClient(transport=Simulator().transport(), base_url="http://sim/v1") as http:
            return await http.post(
                path, json={"model": "m", "messages": SAY, "input": "x", "max_tokens": 5, **fields}
            )

    assert asyncio.run(post()).status_code in (200, 400)


async def test_sizes_are_lognormal_and_the_same_in_every_run() -> None:
    config = SimulatorConfig(seed=5, output=Output(mean=100, sigma=0.5, maximum=400))

    async def sizes() -> list[int]:
        async with httpx2.AsyncClient(
            transport=Simulator(config).transport(), base_url="http://sim/v1"
        ) as http:
            found = []
            for number in range(300):
                message = {"role": "user", "content": f"question {number}"}
                reply = await http.post("chat/completions", json={"model": "m", "messages": [message]})
                found.append(reply.json()["usage"]["completion_tokens"])
            return found

    first = await sizes()
    assert first == await sizes()
    assert sum(first) / len(first) == pytest.approx(100, rel=0.12)
    assert max(first) <= 400
