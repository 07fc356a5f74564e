"""Unchanged clients on the gateway: OpenAI's SDK, LangChain's chat model, curl."""

import asyncio
import json
import shutil

import pytest
from openai import AsyncOpenAI, BadRequestError, NotFoundError, OpenAI

from penstock.admission import RateLimit
from penstock.simulator import Latency, Script, SimulatorConfig

MODEL = "gpt-4o-mini"
HELLO = [{"role": "user", "content": "Say hello"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


def client_of(served, **settings):
    return AsyncOpenAI(base_url=served.base_url, api_key="anything", **settings)


async def test_chat_completion_with_headers(serve, eventually):
    served = await serve()
    async with client_of(served) as client:
        raw = await client.chat.completions.with_raw_response.create(model=MODEL, messages=HELLO)
        reply = raw.parse()
    assert reply.choices[0].message.content
    assert reply.usage.total_tokens > 0
    assert reply._request_id
    assert float(raw.headers["x-penstock-cost"]) > 0
    assert int(raw.headers["x-penstock-waited-ms"]) >= 0
    assert "set-cookie" not in raw.headers
    spent = served.engine.node.gate.money(served.engine.clock.monotonic())
    assert spent == []  # nobody set a budget

    def booked():
        [row] = served.engine.peek(lambda reader: reader.recent_reservations(0.0))
        return row.type, row.task, row.state

    await eventually(lambda: booked() == ("gateway", None, "settled"))


async def test_streaming_chat(serve):
    served = await serve()
    async with client_of(served) as client:
        text = ""
        async for chunk in await client.chat.completions.create(model=MODEL, messages=HELLO, stream=True):
            assert chunk.usage is None  # nobody asked for it
            text += chunk.choices[0].delta.content or ""
        assert text
        options = {"include_usage": True}
        stream = await client.chat.completions.create(
            model=MODEL, messages=HELLO, stream=True, stream_options=options
        )
        usages = [chunk.usage async for chunk in stream if chunk.usage is not None]
    assert usages[0].completion_tokens > 0
    booked = served.engine.peek(lambda reader: reader.recent_reservations(0.0))
    assert [one.state for one in booked] == ["settled", "settled"]


async def test_tools_and_unknown_fields_pass(serve):
    script = Script("weather in (\\w+)", "", tool="weather", tool_arguments={"city": "Oslo"})
    served = await serve(simulator=SimulatorConfig(scripts=(script,)))
    async with client_of(served) as client:
        reply = await client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "weather in Oslo"}],
            tools=[WEATHER],
            extra_body={"something_new": {"a": 1}},
        )
    [call] = reply.choices[0].message.tool_calls
    assert json.loads(call.function.arguments) == {"city": "Oslo"}


async def test_responses_plain_and_streamed(serve):
    served = await serve()
    async with client_of(served) as client:
        reply = await client.responses.create(model=MODEL, input="Say hello")
        assert reply.output_text
        kinds = [
            event.type
            async for event in await client.responses.create(model=MODEL, input="Say hello", stream=True)
        ]
    assert kinds[-1] == "response.completed"


async def test_embeddings(serve):
    served = await serve()
    async with client_of(served) as client:
        reply = await client.embeddings.create(model="text-embedding-3-small", input=["one", "two"])
    assert [one.index for one in reply.data] == [0, 1]
    assert len(reply.data[0].embedding) == 256


async def test_models(serve):
    served = await serve(simulator=SimulatorConfig(models=("gpt-4o-mini", "other/model")))
    async with client_of(served) as client:
        names = [model.id async for model in client.models.list()]
        assert names == ["gpt-4o-mini", "other/model"]
        assert (await client.models.retrieve("other/model")).id == "other/model"
        with pytest.raises(NotFoundError, match="no model"):
            await client.models.retrieve("nothing")


async def test_errors_of_the_provider_pass_with_status_and_body(serve):
    served = await serve(simulator=SimulatorConfig(models=("gpt-4o-mini",)))
    async with client_of(served, max_retries=0) as client:
        with pytest.raises(NotFoundError) as caught:
            await client.chat.completions.create(model="unknown", messages=HELLO)
        assert caught.value.code == "model_not_found"
        with pytest.raises(BadRequestError) as caught:
            await client.chat.completions.create(model=MODEL, messages=HELLO, temperature=9)
    assert caught.value.param == "temperature"


async def test_synchronous_client(serve):
    served = await serve()

    def call():
        with OpenAI(base_url=served.base_url, api_key="anything") as client:
            plain = client.chat.completions.create(model=MODEL, messages=HELLO)
            stream = client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
            return plain, [chunk for chunk in stream]

    plain, chunks = await asyncio.to_thread(call)
    assert plain.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == "stop"


async def test_langchain_chat_model(serve):
    langchain_openai = pytest.importorskip("langchain_openai")
    served = await serve()
    model = langchain_openai.ChatOpenAI(model=MODEL, base_url=served.base_url, api_key="anything")
    reply = await model.ainvoke("Say hello")
    assert reply.content
    assert reply.usage_metadata["total_tokens"] > 0
    assert "".join([chunk.content async for chunk in model.astream("Say hello")])
    plain = await asyncio.to_thread(model.invoke, "Say hello")
    assert plain.content
    await model.root_async_client.close()
    model.root_client.close()


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
async def test_curl(serve):
    served = await serve()
    body = json.dumps({"model": MODEL, "messages": HELLO})
    process = await asyncio.create_subprocess_exec(
        "curl", "-sS", "-H", "content-type: application/json", "-d", body,
        f"{served.base_url}/chat/completions",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert json.loads(out)["choices"][0]["message"]["content"]


async def test_urgent_calls_that_come_late_go_first_and_nobody_is_refused(serve, eventually):
    """25 calls at once against 10 in two seconds, five of them urgent and late."""
    config = SimulatorConfig(latency=Latency(0.01))
    served = await serve(
        simulator=config, rates=(RateLimit("requests", 10, 2.0),), hold_seconds=30, max_concurrent=50
    )
    order = []
    async with client_of(served, max_retries=0) as client:

        async def call(name, priority):
            await client.chat.completions.create(
                model=MODEL, messages=HELLO, extra_headers={"x-penstock-priority": priority}
            )
            order.append(name)

        ordinary = [asyncio.create_task(call(f"ordinary {n}", "MEDIUM")) for n in range(20)]
        await eventually(lambda: served.service.gateway.parked >= 15)
        before = len(order)
        urgent = [asyncio.create_task(call(f"urgent {n}", "URGENT")) for n in range(5)]
        await asyncio.gather(*ordinary, *urgent)
    assert len(order) == 25
    late = order[before:]
    last_urgent = max(place for place, name in enumerate(late) if name.startswith("urgent"))
    assert last_urgent <= 5 + 4  # those that were already admitted went before
    assert served.simulator.stats()["refused"] == 0
