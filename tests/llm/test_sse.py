"""A stream reads the same however its bytes were cut."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.llm.sse import StreamReader
from penstock.llm.wire import Family
from penstock.model.usage import Usage


def frames(*payloads, end="\n", done=True):
    parts = [f"data: {json.dumps(p, ensure_ascii=False)}{end}{end}" for p in payloads]
    return ("".join(parts) + (f"data: [DONE]{end}{end}" if done else "")).encode()


def named(*payloads):
    return "".join(f"event: {p['type']}\ndata: {json.dumps(p)}\n\n" for p in payloads).encode()


def chunk(text="", finish=None, index=0):
    choice = {"index": index, "delta": {"content": text}, "finish_reason": finish}
    return {"model": "m-1", "choices": [choice], "usage": None}


USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
CHAT = [chunk("hé"), chunk("世界"), chunk(finish="stop"), {"model": "m-1", "choices": [], "usage": USAGE}]
MESSAGES = named(
    {
        "type": "message_start",
        "message": {
            "model": "claude-x",
            "usage": {
                "input_tokens": 7,
                "cache_read_input_tokens": 3,
                "output_tokens": 1,
                "service_tier": "standard",
            },
        },
    },
    {"type": "ping"},
    {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "hi"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 12}},
    {"type": "message_stop"},
)
RESPONSES = named(
    {"type": "response.created", "response": {"model": "gpt-x", "usage": None}},
    {"type": "response.output_text.delta", "delta": "hi"},
    {
        "type": "response.completed",
        "response": {
            "model": "gpt-x",
            "service_tier": "default",
            "usage": {
                "input_tokens": 4,
                "output_tokens": 6,
                "total_tokens": 10,
                "output_tokens_details": {"reasoning_tokens": 2},
            },
        },
    },
)


def read(family, pieces):
    reader = StreamReader(family)
    events = [event for piece in pieces for event in reader.feed(piece)]
    return reader, events + reader.close()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_chat_stream(end):
    stream = frames(*CHAT, end=end)
    reader, events = read(Family.CHAT, [stream])
    assert b"".join(e.raw for e in events) == stream
    assert reader.complete
    assert reader.usage == Usage(10, 5)
    assert reader.facts.model == "m-1"
    assert [e.usage_only for e in events] == [False, False, False, True, False]
    assert [e.end for e in events] == [False, False, False, False, True]
    assert json.loads(events[1].data)["choices"][0]["delta"]["content"] == "世界"


def test_messages_stream():
    reader, events = read(Family.MESSAGES, [MESSAGES])
    assert reader.complete
    assert reader.usage == Usage(10, 12, cached_tokens=3)
    assert (reader.facts.model, reader.facts.service_tier) == ("claude-x", "standard")
    assert events[-1].end
    assert events[0].name == "message_start"
    assert not any(e.usage_only for e in events)


def test_responses_stream():
    reader, events = read(Family.RESPONSES, [RESPONSES])
    assert reader.complete
    assert reader.usage == Usage(4, 6, reasoning_tokens=2)
    assert reader.facts.service_tier == "default"
    assert [e.end for e in events] == [False, False, True]


@given(st.data())
def test_any_splitting_gives_the_same_events(data):
    kinds = st.sampled_from(
        [
            b": ping\n\n",
            b"\n",
            b"\r\n",
            b"\r",
            b"data: a\ndata:b\n\n",
            b"data: a\r\ndata: b\r\n\r\n",
            b"event: x\rdata: \xe4\xb8\x96\r\r",
            b"id: 1\nretry: 3\n\n",
            b"data: [DONE]\n\n",
            frames(*CHAT, done=False),
            frames(*CHAT, end="\r\n"),
            MESSAGES,
            RESPONSES,
            b"data: {broken\n\n",
        ]
    )
    stream = b"".join(data.draw(st.lists(kinds | st.binary(max_size=6), max_size=6)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    edges = [0, *cuts, len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(edges)]
    family = data.draw(st.sampled_from(list(Family)))
    whole_reader, whole = read(family, [stream])
    reader, events = read(family, pieces)
    bytewise_reader, bytewise = read(family, [bytes([b]) for b in stream])
    assert events == whole == bytewise
    assert reader.facts == whole_reader.facts == bytewise_reader.facts
    assert reader.complete == whole_reader.complete == bytewise_reader.complete
    assert b"".join(e.raw for e in events) == stream


def test_events_pass_at_once():
    reader = StreamReader(Family.CHAT)
    assert len(reader.feed(frames(chunk("a"), done=False))) == 1
    assert reader.feed(b"data: [DO") == []
    assert len(reader.feed(b"NE]\n\n")) == 1


def test_multi_line_data_comments_and_names():
    _, events = read(Family.UNKNOWN, [b": hello\n\nevent: x\ndata: one\ndata:two\n\n"])
    assert [(e.name, e.data) for e in events] == [(None, ""), ("x", "one\ntwo")]


def test_cut_stream_is_not_complete_and_its_usage_not_final():
    reader, _ = read(Family.MESSAGES, [MESSAGES[: MESSAGES.index(b"event: message_stop")]])
    assert not reader.complete
    assert reader.facts.usage is None
    assert reader.usage == Usage(10, 12, cached_tokens=3)
    reader, _ = read(Family.CHAT, [frames(chunk("a"), done=False)])
    assert not reader.complete


def test_a_server_without_an_end_mark_is_complete_when_every_choice_finished():
    reader, _ = read(Family.CHAT, [frames(chunk("a", "stop"), done=False)])
    assert reader.complete
    reader, _ = read(Family.CHAT, [frames(chunk("a", "stop"), chunk("b", index=1), done=False)])
    assert not reader.complete


@pytest.mark.parametrize(
    ("family", "stream", "code"),
    [
        (
            Family.CHAT,
            frames(chunk("a"), {"error": {"code": "server_error", "message": "x"}}),
            "server_error",
        ),
        (
            Family.RESPONSES,
            named({"type": "error", "code": "rate_limit_exceeded", "message": "m"}),
            "rate_limit_exceeded",
        ),
        (
            Family.RESPONSES,
            named({"type": "response.failed", "response": {"error": {"code": "boom"}}}),
            "boom",
        ),
    ],
)
def test_errors_inside_a_stream(family, stream, code):
    reader, events = read(family, [stream])
    assert not reader.complete
    assert reader.error is not None
    assert reader.error["code"] == code
    assert any(e.error for e in events)


def test_anthropic_error_event():
    reader, _ = read(
        Family.MESSAGES,
        [named({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})],
    )
    assert reader.error == {"type": "overloaded_error", "message": "Overloaded"}
    assert not reader.complete


def test_a_first_chunk_without_choices_is_not_the_usage_chunk():
    _, events = read(Family.CHAT, [frames({"choices": [], "prompt_filter_results": []}, chunk("a"))])
    assert not events[0].usage_only
