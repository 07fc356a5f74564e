"""Usage means the same for every provider once it is read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.llm.usage_reading import ReplyFacts, read_reply, read_usage
from penstock.llm.wire import Family
from penstock.model.usage import Usage


@pytest.mark.parametrize(
    ("family", "usage", "expected"),
    [
        (Family.CHAT, {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}, Usage(9, 3)),
        (
            Family.CHAT,
            {
                "prompt_tokens": 9,
                "completion_tokens": 3,
                "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
                "completion_tokens_details": {"reasoning_tokens": 1},
            },
            Usage(9, 3, 4, 2, 1),
        ),
        # reasoning left out of the completion count
        (Family.CHAT, {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 32}, Usage(9, 23)),
        (
            Family.CHAT,
            {"prompt_tokens": 9, "completion_tokens": 1, "prompt_cache_hit_tokens": 5},
            Usage(9, 1, 5),
        ),
        (Family.CHAT, {"prompt_tokens": 9}, None),
        (Family.CHAT, {"prompt_tokens": -1, "completion_tokens": 3}, None),
        (Family.CHAT, {"prompt_tokens": "9", "completion_tokens": 3}, None),
        (Family.CHAT, {"prompt_tokens": 9.0, "completion_tokens": 3}, Usage(9, 3)),
        (
            Family.CHAT,
            {"prompt_tokens": 2, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 8}},
            Usage(2, 3, 2),
        ),
        (
            Family.RESPONSES,
            {"input_tokens": 4, "output_tokens": 5, "input_tokens_details": {"cached_tokens": 1}},
            Usage(4, 5, 1),
        ),
        (Family.EMBEDDINGS, {"prompt_tokens": 8, "total_tokens": 8}, Usage(8)),
        (Family.EMBEDDINGS, {"total_tokens": 8}, Usage(8)),
        (
            Family.MESSAGES,
            {
                "input_tokens": 5,
                "output_tokens": 2,
                "cache_read_input_tokens": 100,
                "cache_creation_input_tokens": 30,
                "cache_creation": {"ephemeral_1h_input_tokens": 10},
            },
            Usage(135, 2, 100, 30, 0, 10),
        ),
        (
            Family.MESSAGES,
            {"input_tokens": 5, "output_tokens": 2, "cache_read_input_tokens": None},
            Usage(5, 2),
        ),
        (Family.UNKNOWN, {"prompt_tokens": 1, "completion_tokens": 2}, Usage(1, 2)),
        (
            Family.UNKNOWN,
            {"input_tokens": 1, "output_tokens": 2, "cache_read_input_tokens": 3},
            Usage(4, 2, 3),
        ),
        (Family.CHAT, None, None),
        (Family.CHAT, [], None),
    ],
)
def test_usage(family, usage, expected):
    assert read_usage(family, usage) == expected


def test_whole_reply():
    body = b'{"model":"gpt-4o-2024","service_tier":"flex","usage":{"prompt_tokens":1,"completion_tokens":2}}'
    assert read_reply(Family.CHAT, body) == ReplyFacts(Usage(1, 2), "gpt-4o-2024", "flex")
    said = {"model": "c", "usage": {"input_tokens": 1, "output_tokens": 2, "service_tier": "priority"}}
    assert read_reply(Family.MESSAGES, said).service_tier == "priority"


@given(
    st.sampled_from(list(Family)),
    st.dictionaries(
        st.sampled_from(
            [
                "prompt_tokens",
                "completion_tokens",
                "total_tokens",
                "input_tokens",
                "output_tokens",
                "cached_tokens",
                "prompt_tokens_details",
                "cache_read_input_tokens",
                "cache_creation",
            ]
        ),
        st.integers() | st.floats() | st.none() | st.text(max_size=3) | st.just({"cached_tokens": 3}),
    ),
)
def test_garbage_never_raises_and_parts_stay_within_their_whole(family, usage):
    found = read_usage(family, usage)
    if found is not None:
        assert 0 <= found.cached_tokens + found.cache_write_tokens <= found.input_tokens
        assert 0 <= found.reasoning_tokens <= found.output_tokens
        assert 0 <= found.cache_write_1h_tokens <= found.cache_write_tokens


@given(st.binary(max_size=80))
def test_any_bytes_are_read(body):
    read_reply(Family.CHAT, body)
