"""Tickets, durations and terms, by themselves."""

import pytest

from penstock.llm.endpoint import Endpoint
from penstock.runtime.replies import WireReply
from penstock.service.gateway import order_lines
from penstock.service.gateway.limit_headers import duration
from penstock.service.gateway.order_lines import MOST_ERRORS, check_file, read_chunk
from penstock.service.gateway.problems import passed_on
from penstock.service.gateway.tickets import Tickets, digest_of

HOLDER = ("acme", "ci", "d" * 32)


def test_tickets_are_used_once_and_the_oldest_first():
    tickets = Tickets(100.0, 10)
    for entered_at in (30.0, 10.0, 20.0):
        tickets.give(HOLDER, entered_at, 40.0)
    assert [tickets.take(HOLDER, 50.0) for _ in range(4)] == [10.0, 20.0, 30.0, None]
    assert len(tickets) == 0


def test_tickets_run_out_and_are_bounded():
    tickets = Tickets(100.0, 2)
    tickets.give(HOLDER, 1.0, 1.0)
    assert tickets.take(HOLDER, 101.0) is None
    for name in ("a", "b", "c"):
        tickets.give(("acme", name, ""), 1.0, 1.0)
    assert len(tickets) == 2
    assert tickets.take(("acme", "a", ""), 2.0) is None
    assert tickets.take(("acme", "c", ""), 2.0) == 1.0


def test_tickets_survive_as_text():
    tickets = Tickets(100.0, 10)
    tickets.give(HOLDER, 5.0, 10.0)
    tickets.give(("acme", "b", ""), 6.0, 50.0)
    fresh = Tickets(100.0, 10)
    fresh.restore(tickets.as_text(), 120.0)  # the first has run out
    assert len(fresh) == 1
    assert fresh.take(("acme", "b", ""), 121.0) == 6.0
    fresh.restore(None, 0.0)


def test_a_ticket_is_of_path_and_body():
    assert len({digest_of(path, body) for path in ("/a", "/b") for body in (b"x", b"y")}) == 4


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0ms"), (0.012, "12ms"), (7.66, "7.66s"), (59.0, "59s"), (360.0, "6m0s"), (3720.4, "1h2m0s")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_a_long_bad_file_is_told_in_part(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"[]\n" * 300)
    found = check_file(path, "/v1/embeddings")
    assert (found.total, len(found.errors)) == (300, MOST_ERRORS)


def test_chunks_follow_each_other(tmp_path):
    path = tmp_path / "in.jsonl"
    row = '{"custom_id":"%d","method":"POST","url":"/v1/embeddings","body":{"model":"m","input":"x"}}\n'
    path.write_text("".join(row % n + ("\n" if n == 2 else "") for n in range(5)).rstrip("\n"))
    offset, number, seen = 0, 0, []
    while lines := read_chunk(path, offset, number, "/v1/embeddings", 2):
        seen += [(line.custom_id, line.number) for line in lines]
        offset, number = lines[-1].behind, lines[-1].number
    assert seen == [("0", 1), ("1", 2), ("2", 3), ("3", 5), ("4", 6)]


def test_a_line_as_long_as_its_file_is_refused_piece_by_piece(tmp_path, monkeypatch):
    monkeypatch.setattr(order_lines, "LONGEST_LINE", 100)
    path = tmp_path / "in.jsonl"
    path.write_bytes(b" " + b"x" * 1_000)
    found = check_file(path, "/v1/embeddings")
    assert found.errors[0]["code"] == "line_too_long"
    assert found.total == 10


def test_headers_of_a_provider_that_stay_here():
    given = [("X-Good", "1"), ("x-echo", "key-1f9c"), ("x-odd", "\u2713"), ("OpenAI-Organization", "org-1")]
    endpoint = Endpoint("http://p.test/v1", "key-1f9c")
    assert passed_on(WireReply(200, given, b""), (endpoint,)) == {"x-good": "1"}
