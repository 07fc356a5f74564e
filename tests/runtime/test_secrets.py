"""Keys of providers are nowhere: not in logs, not in the store, not in events or errors."""

import logging

import httpx2
import openai
import pytest

from penstock import TaskOptions
from penstock.errors import TaskFailed
from penstock.llm.endpoint import Endpoint
from penstock.runtime.client import ModelClient
from penstock.simulator.faults import Fault


async def test_no_key_in_logs_store_events_or_errors(world, caplog, tmp_path):
    async def work(context):
        await world.say("hello")
        await world.stream("hello")
        await world.anthropic.messages.create(
            model="sim", max_tokens=9, messages=[{"role": "user", "content": "hello"}]
        )
        with pytest.raises(openai.APIStatusError):
            await world.openai.embeddings.create(model="sim", input=[])
        await client.post("/v1/chat/completions", {"model": "sim", "messages": []})

    # The SDKs' own debug logs are theirs; ours and those of what we stand on are looked at.
    for name in ("penstock", "httpx2", "httpcore2", "asyncio"):
        caplog.set_level(logging.DEBUG, name)
    world.handle(work, options=TaskOptions(max_retries=1, retry_delay=0.01))
    await world.start()
    client = ModelClient(
        world.manager.node.services.exchange, [Endpoint(world.simulator.base_url, world.key)]
    )
    world.fail_next(None, Fault.CUT, Fault.ERROR_500, Fault.BURST_429)
    with pytest.raises(TaskFailed) as caught:
        await world.manager.wait(await world.manager.submit("work"), timeout=20)
    await client.aclose()
    assert world.key not in str(caught.value)
    events = await world.manager.read(lambda reader: reader.events(0))
    assert events
    assert world.key not in repr(events)
    await world.stop()
    assert world.key not in caplog.text
    for file in tmp_path.iterdir():
        assert world.key.encode() not in file.read_bytes(), file.name


async def test_a_key_that_a_provider_echoes_is_taken_out_of_the_error(world):
    key = "sk-proj-0123456789abcdef"

    async def complain(request):
        message = f"wrong key {key} (you sent Bearer {key})"
        return httpx2.Response(401, json={"error": {"message": message, "code": "invalid_api_key"}})

    async def work(context):
        await client.post("/v1/chat/completions", {"model": "sim", "messages": []})

    world.handle(work)
    await world.start()
    exchange = world.manager.node.services.exchange
    endpoint = Endpoint(world.simulator.base_url, key)
    client = ModelClient(exchange, [endpoint], inner=httpx2.MockTransport(complain))
    with pytest.raises(TaskFailed, match="wrong key") as caught:
        await world.manager.wait(await world.manager.submit("work"))
    assert caught.value.reason == "auth"
    assert key not in str(caught.value)
