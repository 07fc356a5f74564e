"""Replies that are no answers, and results that are hard to keep."""

import json

import httpx2
import pytest

from penstock import Manager, Settings, TaskOptions
from penstock.errors import TaskFailed
from penstock.llm.endpoint import Endpoint
from penstock.runtime import replies
from penstock.runtime.client import ModelClient

BODY = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


async def outcome(content, status=200, headers=None):
    """What a task sees whose provider answers with this body; and the manager's exchange."""
    transport = httpx2.MockTransport(
        lambda request: httpx2.Response(status, content=content, headers=headers)
    )
    manager = Manager(Settings(store="memory"))

    async def work(context):
        return (await client.post("/v1/chat/completions", BODY)).body

    manager.register("work", work, options=TaskOptions(max_retries=1, retry_delay=0.01))
    async with manager:
        endpoint = Endpoint("http://127.0.0.1:1/v1", "k")
        client = ModelClient(manager.node.services.exchange, [endpoint], inner=transport)
        return await manager.wait(await manager.submit("work"), timeout=10)


ANSWER = {"choices": [{"message": {"content": "hi"}}], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}


async def test_half_a_character_is_kept_as_it_came():
    text = json.dumps(ANSWER).replace("hi", "\\ud800")
    assert (await outcome(text))["choices"][0]["message"]["content"] == "\ud800"


@pytest.mark.parametrize("content", ["{}", '{"choices": null}', "<html>", '{"choices": '])
async def test_what_is_no_answer_fails_as_malformed(content):
    with pytest.raises(TaskFailed) as caught:
        await outcome(content)
    assert caught.value.reason == "malformed_reply"


async def test_an_error_in_the_clothes_of_a_reply_is_an_error():
    with pytest.raises(TaskFailed, match="no such thing") as caught:
        await outcome('{"error": {"message": "no such thing", "code": "invalid_request_error"}}')
    assert caught.value.reason == "bad_request"


async def test_a_redirect_fails_at_once_and_names_where_it_leads():
    with pytest.raises(TaskFailed, match="https://elsewhere/v1") as caught:
        await outcome("", 307, {"location": "https://elsewhere/v1"})
    assert caught.value.reason == "bad_request"


async def test_a_reply_without_end_is_cut_off(monkeypatch):
    monkeypatch.setattr(replies, "LARGEST_BODY", 1_000)
    with pytest.raises(TaskFailed, match="larger than 1,000 bytes") as caught:
        await outcome("x" * 2_000)
    assert caught.value.reason == "malformed_reply"
