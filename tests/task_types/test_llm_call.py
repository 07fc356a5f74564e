"""LLM_CALL: prompts, messages and bodies of every family become one call; the reply comes back whole."""

import pytest

from penstock.errors import TaskFailed
from penstock.task_types.base import Toolbox
from penstock.task_types.llm_call import KIND, LlmCallData

USER = [{"role": "user", "content": "hello"}]


def toolbox(**fields):
    return Toolbox(client=lambda: None, functions=None, **fields)


async def test_a_prompt_becomes_a_chat(run_task):
    data = {"prompt": "hello", "system_prompt": "be brief", "temperature": 0.5, "max_tokens": 9, "seed": 7}
    result = await run_task(KIND, data)
    assert run_task.bodies == [
        {
            "model": "sim",
            "messages": [{"role": "system", "content": "be brief"}, *USER],
            "temperature": 0.5,
            "max_tokens": 9,
            "seed": 7,
        }
    ]
    assert result["text"]
    assert result["finish_reason"] == "length"
    assert result["usage"]["completion_tokens"] == 9
    assert result["body"]["object"] == "chat.completion"
    assert (result["model"], result["tool_calls"], result["refusal"]) == ("sim", [], None)


async def test_messages_take_any_chat_field(run_task):
    await run_task(KIND, {"messages": USER, "model": "other", "vendor_field": {"deep": [1, None]}})
    assert run_task.bodies == [{"model": "other", "messages": USER, "vendor_field": {"deep": [1, None]}}]


@pytest.mark.parametrize(
    ("url", "body"),
    [
        ("/v1/chat/completions", {"messages": USER}),
        ("/v1/responses", {"input": "hello"}),
        ("/v1/messages", {"messages": USER, "max_tokens": 20}),
    ],
)
async def test_a_body_goes_to_its_path(run_task, url, body):
    result = await run_task(KIND, {"url": url, "body": body})
    assert result["text"]
    assert result["finish_reason"] in ("stop", "length")
    assert run_task.bodies == [{**body, "model": "sim"}]


async def test_a_body_needs_no_url(run_task):
    result = await run_task(KIND, {"body": {"model": "other", "messages": USER, "n": 2}})
    assert result["model"] == "other"
    assert len(result["body"]["choices"]) == 2


async def test_embeddings_have_no_text(run_task):
    result = await run_task(KIND, {"endpoint": "/v1/embeddings", "body": {"input": "hello"}})
    assert result["text"] is None
    assert result["body"]["data"][0]["embedding"]


async def test_tool_calls_of_every_family_have_one_shape(run_task, replies):
    tool = replies.tool("weather", {"city": "Oslo"})
    result = await run_task(KIND, {"prompt": "?"}, replies=[tool])
    expected = {"name": "weather", "arguments": '{"city": "Oslo"}'}
    assert (result["text"], result["tool_calls"][0]["function"]) == (None, expected)
    assert result["finish_reason"] == "tool_calls"

    item = {"type": "function_call", "call_id": "c", "name": "weather", "arguments": '{"city": "Oslo"}'}
    response = {"status": "completed", "output": [item]}
    result = await run_task(KIND, {"url": "/v1/responses", "body": {"input": "?"}}, replies=[response])
    assert result["tool_calls"][0]["function"] == expected
    assert result["finish_reason"] == "tool_calls"

    use = {"type": "tool_use", "id": "t", "name": "weather", "input": {"city": "Oslo"}}
    message = {"content": [{"type": "text", "text": "so"}, use], "stop_reason": "tool_use"}
    data = {"url": "/v1/messages", "body": {"messages": USER, "max_tokens": 9}}
    result = await run_task(KIND, data, replies=[message])
    assert (result["text"], result["tool_calls"][0]["function"]) == ("so", expected)


@pytest.mark.parametrize(
    "body",
    [
        {"choices": []},
        {"choices": [None]},
        {"choices": ["text"]},
        {"choices": [{"message": None}]},
        {"choices": [{"message": {"content": 5, "tool_calls": "none"}, "finish_reason": 3}]},
    ],
)
async def test_odd_replies_are_replies(run_task, body):
    result = await run_task(KIND, {"prompt": "?"}, replies=[body])
    assert (result["text"], result["tool_calls"], result["finish_reason"]) == (None, [], None)
    assert result["body"] == body


async def test_a_refusal_and_parts_of_text_are_read(run_task, replies):
    result = await run_task(KIND, {"prompt": "?"}, replies=[replies.chat(None, refusal="no")])
    assert (result["text"], result["refusal"]) == (None, "no")
    parts = [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]
    assert (await run_task(KIND, {"prompt": "?"}, replies=[replies.chat(parts)]))["text"] == "ab"


async def test_an_error_of_the_provider_fails_the_task(run_task):
    refusal = (400, {"error": {"message": "no such thing", "type": "invalid_request_error"}})
    with pytest.raises(TaskFailed, match="no such thing"):
        await run_task(KIND, {"prompt": "?"}, replies=[refusal])


def test_estimates_count_prompt_and_cap():
    def tokens(**data):
        return KIND.estimate(KIND.read(data), toolbox())

    short, long = tokens(prompt="hello"), tokens(prompt="hello " * 1000)
    assert 0 < short.input_tokens < 30 < 800 < long.input_tokens
    assert short.output_tokens == 500
    assert tokens(prompt="x", max_tokens=70, n=3).output_tokens == 210
    assert tokens(url="/v1/embeddings", body={"input": "x"}).output_tokens == 0
    assert short.model == "gpt-4o-mini"


def test_the_model_chooses_the_lane():
    box = toolbox(model="default")
    assert KIND.model(LlmCallData(prompt="x"), box) == "default"
    assert KIND.model(LlmCallData(prompt="x", model="mine"), box) == "mine"
    assert KIND.model(LlmCallData(body={"model": "its own", "messages": USER}), box) == "its own"


async def test_reasoning_models_get_the_cap_they_understand(run_task):
    for name, field in (("gpt-5-mini", "max_completion_tokens"), ("openai/o3", "max_completion_tokens")):
        await run_task(KIND, {"prompt": "x", "model": name, "max_tokens": 5})
        assert run_task.bodies[-1][field] == 5
        assert "max_tokens" not in run_task.bodies[-1]
