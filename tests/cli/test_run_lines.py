"""One line of the input: what is a request, and what is wrong with what is none."""

import json

import pytest

from penstock.cli.run.lines import UNREADABLE, BadLine, LineRules, Request, parse_line

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
BATCH = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": CHAT}


def parse(value, **rules):
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return parse_line(raw, LineRules(**rules))


def test_batch_form():
    assert parse(BATCH) == Request("/v1/chat/completions", CHAT, "a", None)


def test_batch_form_takes_addresses_metadata_and_no_id():
    given = {**BATCH, "url": "https://api.example.com/v1/embeddings", "metadata": {"k": 1}}
    del given["custom_id"]
    assert parse(given) == Request("/v1/embeddings", CHAT, None, {"k": 1})


def test_batch_form_keeps_metadata_of_the_body():
    body = {**CHAT, "metadata": {"for": "provider"}}
    assert parse({**BATCH, "body": body}).body == body


@pytest.mark.parametrize(
    ("body", "rules", "url"),
    [
        (CHAT, {}, "/v1/chat/completions"),
        (CHAT, {"anthropic": True}, "/v1/messages"),
        ({"model": "text-embedding-3-small", "input": "x"}, {}, "/v1/embeddings"),
        ({"model": "m", "input": ["x"], "encoding_format": "float"}, {}, "/v1/embeddings"),
        ({"model": "gpt-5", "input": "x"}, {}, "/v1/responses"),
        ({"model": "my-embedder", "input": "x", "instructions": "be kind"}, {}, "/v1/responses"),
        ({"model": "m", "input": [{"role": "user", "content": "x"}]}, {}, "/v1/responses"),
        ({"model": "m", "prompt": "x"}, {}, "/v1/completions"),
        ({"model": "m", "input": "x"}, {"endpoint": "/v1/embeddings"}, "/v1/embeddings"),
        ({"input": "x"}, {"model": "bge-small"}, "/v1/embeddings"),
    ],
)
def test_raw_bodies_find_their_api(body, rules, url):
    found = parse(body, **rules)
    assert isinstance(found, Request)
    assert found.url == url


def test_raw_metadata_leaves_the_body():
    assert parse({**CHAT, "metadata": {"row": 7}}) == Request("/v1/chat/completions", CHAT, None, {"row": 7})


def test_model_fills_a_gap_and_overrides_nothing():
    assert parse({"messages": CHAT["messages"]}, model="other").body["model"] == "other"
    assert parse(CHAT, model="other").body["model"] == "m"


@pytest.mark.parametrize(
    ("given", "code", "says"),
    [
        (b"not json", "bad_json", "column 1"),
        (b'{"a": 1,}', "bad_json", "no JSON"),
        (b'{"a": NaN}', "bad_json", "NaN"),
        (b"[" * 100_000, "bad_json", "deep"),
        (b'{"a": ' + b"9" * 5000 + b"}", "bad_json", "no JSON"),
        (b'{"model": "\xff"}', "bad_utf8", "0xff at column 12"),
        (
            rb'{"model":"m","messages":[{"role":"user","content":"\ud800"}]}',
            "bad_text",
            "half of a character",
        ),
        ({**CHAT, "max_tokens": 10**30}, "wrong_type", "from 1 to 1,000,000,000"),
        ([1], "not_an_object", "a list"),
        ("text", "not_an_object", "'text'"),
        (None, "not_an_object", "null"),
        ({**BATCH, "bdy": 1}, "unknown_field", "'bdy'"),
        ({**BATCH, "custom_id": 7}, "wrong_type", "custom_id"),
        ({**BATCH, "custom_id": ""}, "wrong_type", "custom_id"),
        ({**BATCH, "method": "GET"}, "wrong_type", "'GET'"),
        ({**BATCH, "url": 5}, "wrong_type", "url"),
        ({**BATCH, "url": "/v1/files"}, "unknown_url", "/v1/files"),
        ({"custom_id": "a", "method": "POST", "url": "/v1/responses"}, "missing_field", "body"),
        ({**BATCH, "body": "x"}, "wrong_type", "body must be an object"),
        ({**BATCH, "body": {"messages": CHAT["messages"]}}, "missing_field", "--model"),
        ({**CHAT, "model": 5}, "wrong_type", "model"),
        ({**CHAT, "messages": []}, "wrong_type", "messages"),
        ({**CHAT, "messages": "hi"}, "wrong_type", "messages"),
        ({**CHAT, "messages": ["hi"]}, "wrong_type", "messages"),
        ({**CHAT, "max_tokens": "10"}, "wrong_type", "max_tokens"),
        ({**CHAT, "temperature": True}, "wrong_type", "temperature"),
        ({**CHAT, "stream": True}, "stream_in_file", "stream"),
        ({"model": "m", "input": 5}, "wrong_type", "input"),
        ({"model": "m"}, "missing_field", "messages, input nor prompt"),
    ],
)
def test_bad_lines_say_what_is_wrong(given, code, says):
    found = parse(given)
    assert isinstance(found, BadLine)
    assert (found.code, says in found.message) == (code, True), found
    assert code in UNREADABLE
    assert len(found.raw) <= 301


def test_a_bad_line_keeps_its_id():
    assert parse({**BATCH, "method": "GET"}).custom_id == "a"
