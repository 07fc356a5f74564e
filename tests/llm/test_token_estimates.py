"""Estimates are near what the o200k vocabulary counts, and cost next to nothing."""

import json
import timeit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.llm import token_estimates as te
from penstock.llm.token_estimates import estimate_prompt, estimate_text, output_bound
from penstock.llm.wire import read_call

# texts of our own, with the count of the o200k vocabulary
COUNTED = {
    "english": (
        "The gate admits a call when its tokens, its money and its place in "
        "line all allow it; until then the call waits, and anyone who asks can see why.",
        34,
    ),
    "markdown": (
        "## Install\n\n1. Run `pip install example`.\n2. Set **API_KEY** in "
        "your shell.\n\n| flag | meaning |\n|---|---|\n| `--rpm` | requests per minute |\n",
        42,
    ),
    "python": (
        "def admit(self, call: Call) -> bool:\n    if self.used + "
        "call.estimate > self.limit:\n        return False\n    self.used += call.estimate\n  "
        "  return True\n",
        39,
    ),
    "json": (
        '{"id": 48213, "name": "sample record", "values": [0.1934, 12.5, 881, '
        '-3.75], "created_at": "2026-11-21T09:02:11Z", "active": true}',
        60,
    ),
    "chinese": ("请用一句话总结下面的评论，并说明顾客是否满意：商品很好，但是送货太慢。", 23),
    "german": (
        "Die Anfrage wartet, bis das Kontingent der laufenden Minute wieder "
        "ausreicht; größere Anfragen werden sofort abgelehnt.",
        27,
    ),
    "russian": ("Запрос ожидает своей очереди, пока не освободится место в текущей минуте.", 20),
    "japanese": ("リクエストは上限に達すると順番を待ち、空きができると送信されます。", 27),
    "emoji": ("Great 🎉🎉 would buy again 👍", 9),
}


@pytest.mark.parametrize("kind", COUNTED)
def test_near_the_true_count(kind):
    text, true = COUNTED[kind]
    assert 0.75 <= estimate_text(text) / true <= 1.4


@given(st.text())
def test_any_text_has_an_estimate(text):
    tokens = estimate_text(text)
    assert (tokens == 0) == (text == "")
    assert tokens <= 3 * len(text.encode("utf-8", "surrogatepass")) + 3


def test_a_lone_surrogate_is_text_too():
    assert estimate_text("\ud800") >= 1


def test_four_kilobytes_take_well_under_a_millisecond():
    text = (COUNTED["english"][0] + " ") * 40
    text = text[:4096]
    best = min(timeit.repeat(lambda: estimate_text(text), number=20, repeat=20)) / 20
    assert best < 300e-6  # about 50 on a quiet machine; the bound leaves room for a noisy one


def call(path, **body):
    return read_call("POST", path, body)


def chat(content, **more):
    return estimate_prompt(
        call("/v1/chat/completions", messages=[{"role": "user", "content": content}], **more)
    )


def test_messages_cost_overhead_and_roles_are_not_text():
    one = chat("hello there")
    assert one.text_bytes == len("hello there")
    assert one.other_tokens == te.TOKENS_PER_MESSAGE + te.TOKENS_PER_REPLY_START
    assert one.tokens == one.text_tokens + one.other_tokens


def test_media_count_per_item_and_not_per_byte():
    picture = "data:image/png;base64," + "A" * 100_000
    parts = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": picture}}]
    found = chat(parts)
    assert found.text_bytes == 4
    assert found.other_tokens == te.IMAGE_TOKENS + 7
    parts[1]["image_url"]["detail"] = "low"
    assert chat(parts).other_tokens == te.IMAGE_TOKENS_LOW + 7
    assert chat(parts, model="gpt-4o-mini").other_tokens > 2000
    sound = [{"type": "input_audio", "input_audio": {"data": "A" * 9999, "format": "wav"}}]
    assert chat(sound).other_tokens == te.AUDIO_TOKENS + 7


def test_tools_and_schemas_count_with_their_keys():
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"a_long_key_name": "string"}}}]
    assert chat("x", tools=tools).text_tokens > chat("x").text_tokens + 15
    form = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}
    assert chat("x", response_format=form).text_tokens > chat("x").text_tokens + 5
    called = [
        {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": '{"city": "Paris"}'}}]}
    ]
    assert estimate_prompt(call("/v1/chat/completions", messages=called)).text_tokens >= 5


def test_responses():
    plain = estimate_prompt(call("/v1/responses", instructions="Be brief.", input="Tell me more"))
    assert plain.text_bytes == len("Be brief.\nTell me more")
    items = [
        {
            "role": "user",
            "content": [{"type": "input_text", "text": "hi"}, {"type": "input_image", "image_url": "x"}],
        },
        {"type": "function_call_output", "call_id": "c", "output": "42"},
    ]
    found = estimate_prompt(call("/v1/responses", input=items))
    assert found.text_bytes == len("hi\n42")


def test_anthropic_messages():
    blocks = [
        {"type": "text", "text": "hi"},
        {"type": "image", "source": {"type": "base64", "data": "A" * 5000}},
        {"type": "document", "source": {"type": "text", "data": "plain words"}},
        {"type": "document", "source": {"type": "base64", "data": "A" * 5000}},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"key": "value"}},
    ]
    found = estimate_prompt(
        call(
            "/v1/messages",
            system="sys",
            messages=[{"role": "user", "content": blocks}],
            tools=[{"name": "f"}],
        )
    )
    overhead = te.TOKENS_PER_MESSAGE + te.TOOL_PREAMBLE_TOKENS_MESSAGES
    assert found.other_tokens == te.IMAGE_TOKENS_MESSAGES + te.DOCUMENT_TOKENS + overhead
    assert found.text_bytes < 120


def test_embeddings_inputs():
    path = "/v1/embeddings"
    assert estimate_prompt(call(path, input=["one two", "three"])).text_bytes == len("one two\nthree")
    assert estimate_prompt(call(path, input=[1, 2, 3])).tokens == 3
    assert estimate_prompt(call(path, input=[[1, 2], [3, 4, 5]])).tokens == 5


def test_an_unknown_path_counts_no_tokens():
    assert estimate_prompt(call("/v1/other", input="x" * 1000)).tokens == 0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "role",
                    "content",
                    "type",
                    "text",
                    "image_url",
                    "input",
                    "tools",
                    "source",
                    "data",
                    "name",
                    "prompt",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
PATHS = ["/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/embeddings", "/v1/completions"]


@given(st.sampled_from(PATHS), JSON, JSON, JSON)
def test_odd_bodies_are_estimated(path, messages, given_input, tools):
    body = {
        "messages": messages,
        "input": given_input,
        "prompt": given_input,
        "tools": tools,
        "system": messages,
    }
    assert estimate_prompt(read_call("POST", path, body)).tokens >= 0


def test_deep_nesting_is_survived():
    deep = []
    for _ in range(50_000):
        deep = [deep]
    estimate_prompt(call("/v1/chat/completions", messages=deep))


@pytest.mark.parametrize(
    ("path", "body", "maximum", "expected"),
    [
        ("/v1/chat/completions", {"max_tokens": 100, "n": 2}, None, (200, True)),
        ("/v1/chat/completions", {}, None, (2048, False)),
        ("/v1/chat/completions", {"n": 2}, 512, (1024, False)),
        ("/v1/chat/completions", {}, 128_000, (2048, False)),
        ("/v1/embeddings", {"input": "x"}, None, (0, True)),
        ("/v1/other", {}, None, (0, False)),
    ],
)
def test_output_bound(path, body, maximum, expected):
    assert output_bound(read_call("POST", path, json.dumps(body).encode()), maximum) == expected
