"""Requests are known by their path and body, whatever stands before them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.llm.request_body import ask_for_usage, canonical_body, request_hash
from penstock.llm.wire import Family, classify, deployment_of, read_call

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("path", "family"),
    [
        ("/v1/chat/completions", Family.CHAT),
        ("/chat/completions/", Family.CHAT),
        ("https://host/openai/v1/chat/completions?api-version=preview", Family.CHAT),
        ("/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21", Family.CHAT),
        ("/v1beta/openai/chat/completions", Family.CHAT),
        ("/v1/responses", Family.RESPONSES),
        ("/v1/responses/resp_1/cancel", Family.UNKNOWN),
        ("/v1/embeddings", Family.EMBEDDINGS),
        ("/v1/messages", Family.MESSAGES),
        ("/anthropic/v1/messages", Family.MESSAGES),
        ("/v1/messages/count_tokens", Family.UNKNOWN),
        ("/v1/threads/t1/messages", Family.UNKNOWN),
        ("/v1/completions", Family.COMPLETIONS),
        ("/v1/models", Family.UNKNOWN),
        ("", Family.UNKNOWN),
    ],
)
def test_family_by_path(path, family):
    assert classify("post", path) is family
    assert classify("GET", path) is Family.UNKNOWN


def test_azure_deployment_is_the_model_when_the_body_names_none():
    path = "/openai/deployments/my%20gpt/chat/completions?api-version=1"
    assert deployment_of(path) == "my gpt"
    assert read_call("POST", path, b'{"messages":[]}').model == "my gpt"
    assert read_call("POST", path, b'{"model":"gpt-4o"}').model == "gpt-4o"
    assert deployment_of("/v1/chat/completions") is None


@pytest.mark.parametrize(
    ("path", "body", "cap", "n"),
    [
        ("/v1/chat/completions", {"max_tokens": 9}, 9, 1),
        ("/v1/chat/completions", {"max_tokens": 9, "max_completion_tokens": 7, "n": 3}, 7, 3),
        ("/v1/chat/completions", {"max_tokens": True}, None, 1),
        ("/v1/chat/completions", {"max_tokens": -1, "n": 0}, None, 1),
        ("/v1/responses", {"max_output_tokens": 5, "max_tokens": 1}, 5, 1),
        ("/v1/messages", {"max_tokens": 6, "n": 4}, 6, 1),
        ("/v1/completions", {"max_tokens": 6, "best_of": 4, "n": 2}, 6, 4),
        ("/v1/completions", {"max_tokens": 6, "prompt": ["a", "b"]}, 6, 2),
        ("/v1/completions", {"max_tokens": 6, "prompt": [1, 2, 3]}, 6, 1),
        ("/v1/embeddings", {"input": "x", "max_tokens": 5}, None, 1),
    ],
)
def test_output_cap_and_answers(path, body, cap, n):
    shape = read_call("POST", path, body)
    assert (shape.output_cap, shape.n) == (cap, n)


def test_stream_and_tier():
    shape = read_call("POST", "/v1/chat/completions", b'{"model":"m","stream":true,"service_tier":"flex"}')
    assert (shape.stream, shape.service_tier, shape.model) == (True, "flex", "m")


@given(st.binary(max_size=60))
def test_any_body_is_read(body):
    shape = read_call("POST", "/v1/chat/completions", body)
    assert shape.family is Family.CHAT
    assert len(request_hash("POST", "/v1/chat/completions", body)) == 64


@given(st.dictionaries(st.text(max_size=6), JSON, max_size=4), st.text(max_size=30))
def test_any_object_on_any_path_is_read(body, path):
    read_call("POST", path, body)
    assert request_hash("POST", path, body) == request_hash("post", path, dict(reversed(body.items())))


def test_canonical_body_ignores_order_and_spacing_and_keeps_other_bytes():
    assert canonical_body(b'{"b": 1, "a": [1, 2]}') == canonical_body({"a": [1, 2], "b": 1})
    assert canonical_body(b"\xff\x00 not json") == b"\xff\x00 not json"
    assert canonical_body(None) == b""
    assert canonical_body(b'"\\ud800"') == b'"\\ud800"'
    assert canonical_body(b"[" * 100_000) == b"[" * 100_000


def test_hash_ignores_host_and_api_version_only():
    body = {"model": "m"}
    hashed = request_hash("POST", "/v1/chat/completions", body)
    assert hashed == request_hash("POST", "https://x/v1/chat/completions?api-version=7", b'{ "model":"m"}')
    assert hashed != request_hash("POST", "/v1/chat/completions?after=3", body)
    assert hashed != request_hash("PUT", "/v1/chat/completions", body)
    assert hashed != request_hash("POST", "/v1/chat/completions", {"model": "n"})
    assert request_hash("POST", "/a", b"") != request_hash("POST", "/a", {})


def test_asking_for_usage_leaves_the_callers_body_alone():
    body = {"stream": True, "stream_options": {"include_usage": False, "x": 1}}
    changed, ours = ask_for_usage(Family.CHAT, body)
    assert ours
    assert changed["stream_options"] == {"include_usage": True, "x": 1}
    assert body["stream_options"]["include_usage"] is False


@pytest.mark.parametrize(
    ("family", "body"),
    [
        (Family.CHAT, {"stream": True, "stream_options": {"include_usage": True}}),
        (Family.CHAT, {"stream": False}),
        (Family.CHAT, {"stream": True, "stream_options": "odd"}),
        (Family.MESSAGES, {"stream": True}),
        (Family.RESPONSES, {"stream": True}),
    ],
)
def test_usage_is_not_asked_for_where_it_comes_anyway(family, body):
    assert ask_for_usage(family, body) == (body, False)
