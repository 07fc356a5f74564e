"""The official SDKs, unchanged, on the gated transport: limited, metered and journaled."""

import httpx
import httpx2
import pytest
from anthropic import Anthropic
from openai import AsyncAzureOpenAI, AsyncOpenAI, OpenAI

TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"at": {"type": "string"}}},
    },
}


async def test_chat_completions(world):
    async def work(context):
        reply = await world.chat("hello", max_tokens=20)
        return [reply.choices[0].message.content, reply.usage.completion_tokens]

    text, tokens = await world.run(work)
    assert text
    assert tokens == 20
    (step,) = await world.steps()
    assert (step.kind, step.key.name, step.output_tokens) == ("http", "POST /v1/chat/completions", 20)
    assert await world.reservations() == ["settled"]
    assert world.idle_again()


async def test_a_stream_comes_in_chunks_and_is_recorded(world):
    async def work(context):
        chunks = await world.stream("hello", max_tokens=40)
        return ["".join(one.choices[0].delta.content or "" for one in chunks), len(chunks)]

    text, chunks = await world.run(work)
    assert text
    assert chunks > 3
    (step,) = await world.steps()
    assert step.output_tokens == 40
    assert world.idle_again()


@pytest.mark.parametrize("stream", [False, True])
async def test_responses(world, stream):
    async def work(context):
        reply = await world.openai.responses.create(model="sim", input="hello", stream=stream)
        if not stream:
            return reply.output_text
        events = [event async for event in reply]
        assert events[-1].type == "response.completed"
        return events[-1].response.output_text

    assert await world.run(work)
    (step,) = await world.steps()
    assert step.key.name == "POST /v1/responses"
    assert step.output_tokens > 0


async def test_embeddings(world):
    async def work(context):
        reply = await world.openai.embeddings.create(model="sim", input=["a", "b"])
        return [len(one.embedding) for one in reply.data]

    assert await world.run(work) == [256, 256]
    (step,) = await world.steps()
    assert step.input_tokens > 0
    assert step.output_tokens == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_anthropic_messages(world, stream):
    messages = [{"role": "user", "content": "hello"}]

    async def work(context):
        if not stream:
            reply = await world.anthropic.messages.create(model="sim", max_tokens=20, messages=messages)
            return [reply.content[0].text, reply.usage.output_tokens]
        async with world.anthropic.messages.stream(model="sim", max_tokens=20, messages=messages) as reply:
            text = "".join([part async for part in reply.text_stream])
            final = await reply.get_final_message()
            return [text, final.usage.output_tokens]

    text, tokens = await world.run(work)
    assert text
    assert tokens == 20
    (step,) = await world.steps()
    assert (step.key.name, step.output_tokens) == ("POST /v1/messages", 20)
    assert world.idle_again()


@pytest.mark.parametrize("stream", [False, True])
async def test_synchronous_sdks_in_a_synchronous_handler(world, stream):
    def work(context):
        http = httpx2.Client(transport=world.manager.sync_transport())
        with OpenAI(base_url=world.simulator.base_url, api_key="k", http_client=http) as client:
            messages = [{"role": "user", "content": "hello"}]
            reply = client.chat.completions.create(model="sim", messages=messages, stream=stream)
            text = (
                "".join(one.choices[0].delta.content or "" for one in reply)
                if stream
                else reply.choices[0].message.content
            )
        http = httpx2.Client(transport=world.manager.sync_transport())
        with Anthropic(base_url=world.simulator.root_url, api_key="k", http_client=http) as client:
            reply = client.messages.create(model="sim", max_tokens=20, messages=messages, stream=stream)
            if stream:
                assert [event.type for event in reply][-1] == "message_stop"
        return text

    assert await world.run(work)
    assert [step.key.name for step in await world.steps()] == [
        "POST /v1/chat/completions",
        "POST /v1/messages",
    ]
    assert world.idle_again()


async def test_a_client_of_the_older_http_library(world):
    async def work(context):
        async with httpx.AsyncClient(transport=world.manager.transport("httpx")) as client:
            body = {"model": "sim", "messages": [{"role": "user", "content": "hello"}]}
            reply = await client.post(f"{world.simulator.base_url}/chat/completions", json=body)
            assert isinstance(reply, httpx.Response)
            return reply.json()["usage"]["completion_tokens"]

    assert await world.run(work) > 0
    assert len(await world.steps()) == 1


async def test_azure_addresses_and_headers(make_world):
    async with make_world(api_key="azure-key") as world:

        async def work(context):
            client = AsyncAzureOpenAI(
                azure_endpoint=world.simulator.root_url,
                api_key="azure-key",
                api_version="2024-10-21",
                http_client=world.http,
            )
            reply = await client.chat.completions.create(
                model="my-deployment", messages=[{"role": "user", "content": "hello"}]
            )
            return reply.choices[0].message.content

        assert await world.run(work)
        (step,) = await world.steps()
        assert step.key.name == "POST /openai/deployments/my-deployment/chat/completions"
        (held,) = await world.manager.read(lambda reader: reader.reservations(("settled",)))
        assert held.model == "my-deployment"


async def test_tools_and_raw_responses(world):
    async def work(context):
        raw = await world.openai.chat.completions.with_raw_response.create(
            model="sim",
            messages=[{"role": "user", "content": "what is the weather?"}],
            tools=[TOOL],
            tool_choice={"type": "function", "function": {"name": "weather"}},
        )
        call = raw.parse().choices[0].message.tool_calls[0]
        seen.append(raw.headers["x-request-id"])
        await world.crash()
        return [call.function.name, raw.headers["x-request-id"]]

    seen = []
    name, request_id = await world.run_twice(work)
    assert name == "weather"
    assert seen == [request_id, request_id]  # the replay has the headers that SDKs read
    assert world.calls == 1


async def test_a_path_that_is_no_model_call_counts_as_a_request_and_warns_once(world, caplog):
    async def work(context):
        models = [[one.id for one in (await world.openai.models.list()).data] for _ in range(2)]
        return models[0]

    assert await world.run(work)
    assert len(await world.steps()) == 2
    assert sum("is no known model call" in record.message for record in caplog.records) == 1


async def test_calls_outside_any_task_are_gated_and_metered_and_warned_of_once(world, caplog):
    await world.start()
    assert await world.say("one")
    assert await world.stream("two")
    assert await world.reservations() == ["settled", "settled"]
    assert sum("outside any task" in record.message for record in caplog.records) == 1
    assert world.idle_again()


async def test_equal_keys_have_equal_limits_by_whatever_way_they_come(world):
    from penstock.llm.endpoint import Endpoint
    from penstock.runtime.client import ModelClient

    await world.start()
    client = ModelClient(
        world.manager.node.services.exchange, [Endpoint(world.simulator.base_url, "one-key")]
    )
    await client.post(
        "/v1/chat/completions", {"model": "sim", "messages": [{"role": "user", "content": "a"}]}
    )
    await client.aclose()
    sdk = AsyncOpenAI(base_url=world.simulator.base_url, api_key="one-key", http_client=world.http)
    await sdk.chat.completions.create(model="sim", messages=[{"role": "user", "content": "b"}])
    rows = await world.manager.read(lambda reader: reader.reservations(("settled",)))
    assert len({row.endpoint for row in rows}) == 1


async def test_whoever_reads_a_stream_may_make_another_call_though_no_limit_is_known(world):
    async def work(context):
        said = {"model": "sim", "max_tokens": 20}
        message = [{"role": "user", "content": "one"}]
        stream = await world.openai.chat.completions.create(**said, messages=message, stream=True)
        async for _ in stream:
            inner = await world.openai.chat.completions.create(**said, messages=message, stream=True)
            async for _ in inner:
                return await world.say("three")

    assert await world.run(work)
