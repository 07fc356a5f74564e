"""Scripted replies, on the wires that SDKs speak, without a port."""

import asyncio
import contextlib

import httpx2
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from penstock import ConfigurationError, TaskConfig, TaskFailed, TaskType
from penstock.errors import CallFailed
from penstock.simulator import Latency, Script, SimulatorConfig
from penstock.simulator.faults import Fault
from penstock.testing import SimulatedProvider, virtually

ASK = {"model": "any", "messages": [{"role": "user", "content": "hello?"}]}


@pytest.fixture
def provider():
    with SimulatedProvider() as running:
        yield running


async def ask(manager, prompt="hello?", **config):
    id = await manager.submit_task(TaskType.LLM_CALL, {"prompt": prompt}, config=TaskConfig(**config))
    return (await manager.wait_for_task(id))["text"]


@virtually
async def test_replies_come_in_their_order_and_then_the_simulator_speaks(provider):
    async with provider.manager() as manager:
        provider.say("one", {"two": 2}, ["drei"], lambda call: f"{call.text} it was")
        said = [await ask(manager, f"hello {n}") for n in range(5)]
    assert said[:4] == ["one", '{"two": 2}', '["drei"]', "hello 3 it was"]
    assert len(said[4]) > 10
    assert [call.status for call in provider.calls] == [200] * 5
    assert provider.unsaid == 0
    assert provider.repeated == []
    assert provider.stats()["answered"] == 5


@virtually
async def test_what_goes_wrong_is_tried_again(provider):
    async with provider.manager() as manager:
        provider.say(
            500, Fault.ERROR_503, Fault.CUT, Fault.MALFORMED, Fault.HANG, httpx2.ConnectError("down"), "well"
        )
        assert await ask(manager, max_retries=10) == "well"
        assert [call.status for call in provider.calls] == [500, 503, 200, 200, None, None, 200]
        assert len(provider.repeated) == 2
        provider.say(400)
        with pytest.raises(TaskFailed, match="status 400"):
            await ask(manager)


@virtually
async def test_patterns_tools_and_whole_bodies(provider):
    provider.when(r"capital of (\w+)", "$1 City")
    provider.when("as JSON", {"a": 1})
    async with provider.manager() as manager:
        assert await ask(manager, "The capital of Panama?") == "Panama City"
        assert await ask(manager, "as JSON") == '{"a": 1}'
        transport = manager.engine.transport()
        async with httpx2.AsyncClient(transport=transport, base_url=provider.base_url) as http:
            provider.say(Script("", tool="look", tool_arguments={"at": 3}), (418, {"short": "stout"}))
            tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
            reply = (await http.post("/chat/completions", json={**ASK, "tools": tools})).json()
            call = reply["choices"][0]["message"]["tool_calls"][0]["function"]
            assert call == {"name": "look", "arguments": '{"at": 3}'}
            reply = await http.post("/chat/completions", json=ASK)
            assert (reply.status_code, reply.json()) == (418, {"short": "stout"})
            assert (await http.get("/models")).status_code == 200


@virtually
async def test_sdks_and_streams_on_the_transport(provider):
    async with provider.manager() as manager, contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx2.AsyncClient(transport=manager.engine.transport()))
        openai = AsyncOpenAI(base_url=provider.base_url, api_key="none", http_client=http)
        anthropic = AsyncAnthropic(base_url=provider.root_url, api_key="none", http_client=http)
        provider.say("streamed words", "to Claude")
        stream = await openai.chat.completions.create(**ASK, stream=True)
        parts = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
        assert "".join(parts) == "streamed words"
        message = await anthropic.messages.create(model="any", max_tokens=20, messages=ASK["messages"])
        assert message.content[0].text == "to Claude"


@virtually
async def test_its_latency_is_virtual(provider):
    with SimulatedProvider(SimulatorConfig(latency=Latency(a=20))) as slow:
        async with slow.manager() as manager:
            begun = asyncio.get_running_loop().time()
            await ask(manager)
            assert asyncio.get_running_loop().time() - begun == pytest.approx(20, abs=0.1)
        async with slow.manager() as manager:
            with pytest.raises(TaskFailed, match="timeout"):
                await ask(manager, timeout=10, max_retries=0)


@virtually
async def test_read_timeouts_are_kept(provider):
    provider.say(Fault.HANG)
    async with provider.manager() as manager:
        with pytest.raises(TaskFailed, match="ReadTimeout"):
            await ask(manager, max_retries=0)
        assert asyncio.get_running_loop().time() == pytest.approx(1030, abs=1)


async def test_in_real_time_and_side_by_side(provider):
    with SimulatedProvider() as other:
        provider.say("here")
        other.say("there")
        async with provider.manager() as manager, other.manager() as second:
            assert await asyncio.gather(ask(manager), ask(second)) == ["here", "there"]


async def test_other_addresses_leave_as_ever(provider):
    async with provider.manager() as manager:
        transport = manager.engine.transport()
        async with httpx2.AsyncClient(transport=transport) as http:
            with pytest.raises((httpx2.ConnectError, CallFailed)):
                await http.post("http://127.0.0.1:9/v1/chat/completions", json=ASK)


async def test_reset_forgets_and_a_dollar_nought_is_refused(provider):
    async with provider.manager() as manager:
        provider.say("one", "two")
        assert await ask(manager) == "one"
        provider.reset()
        assert (provider.calls, provider.unsaid, provider.stats()["calls"]) == ([], 0, 0)
        with pytest.raises(ConfigurationError, match=r"\$0"):
            provider.say("it costs $0.50")
        provider.say("it costs $1.50")
        assert await ask(manager) == "it costs $1.50"
