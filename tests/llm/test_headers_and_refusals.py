"""Limits from headers and reasons from failed replies; garbage is survived."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.llm.ratelimit_headers import read_duration, read_limits
from penstock.llm.refusals import Refusal, read_refusal

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("6m0s", 360.0),
        ("12ms", 0.012),
        ("7.66s", 7.66),
        ("1h2m", 3720.0),
        ("1d2h", 93_600.0),
        ("500µs", 0.0005),
        ("30", 30.0),
        ("0", 0.0),
        ("0s", 0.0),
        ("", None),
        ("soon", None),
        ("-5s", None),
        ("5s later", None),
        ("9" * 12 + "d", None),
        ("٣s", None),
    ],
)
def test_durations(text, seconds):
    found = read_duration(text)
    assert found == (pytest.approx(seconds) if seconds is not None else None)


def test_openai_headers():
    report = read_limits(
        {
            "X-RateLimit-Limit-Requests": "5000",
            "x-ratelimit-remaining-requests": "4999",
            "x-ratelimit-reset-requests": "12ms",
            "x-ratelimit-limit-tokens": "160000",
            "x-ratelimit-remaining-tokens": "159976",
            "x-ratelimit-reset-tokens": "6m0s",
        },
        NOW,
    )
    assert report
    assert (report.of("requests").limit, report.of("requests").remaining) == (5000, 4999)
    assert report.of("tokens").reset_at == pytest.approx(NOW + 360)
    assert report.of("input_tokens") is None


def test_anthropic_headers():
    reset = datetime.fromtimestamp(NOW + 30, UTC).isoformat().replace("+00:00", "Z")
    headers = {
        f"anthropic-ratelimit-{name}-{what}": value
        for name in ("requests", "tokens", "input-tokens", "output-tokens")
        for what, value in (("limit", "1000"), ("remaining", "900"), ("reset", reset))
    }
    report = read_limits(headers, NOW)
    for found in map(report.of, ("requests", "tokens", "input_tokens", "output_tokens")):
        assert (found.limit, found.remaining, found.reset_at) == (1000, 900, NOW + 30)


def test_windows_in_names_and_by_profile():
    report = read_limits(
        {"x-ratelimit-limit-requests-day": "100", "x-ratelimit-limit-requests-minute": "5"}, NOW
    )
    assert {(x.window_seconds, x.limit) for x in report.limits} == {(86_400.0, 100), (60.0, 5)}
    assert report.of("requests").limit == 5
    groq = read_limits(
        {"x-ratelimit-limit-requests": "14400", "x-ratelimit-limit-tokens": "6000"}, NOW, 86_400.0
    )
    assert (groq.of("requests").window_seconds, groq.of("tokens").window_seconds) == (86_400.0, 60.0)


@pytest.mark.parametrize("limit", ["-1", "0", "many", "", "1e99"])
def test_a_limit_that_is_not_above_zero_is_unknown(limit):
    headers = {
        "x-ratelimit-limit-tokens": limit,
        "x-ratelimit-remaining-tokens": "-1",
        "x-ratelimit-reset-tokens": "0",
    }
    assert not read_limits(headers, NOW)


HEADER_NAMES = st.sampled_from(
    [
        f"x-ratelimit-{w}-{d}"
        for w in ("limit", "remaining", "reset")
        for d in ("requests", "tokens", "tokens-day")
    ]
    + [f"anthropic-ratelimit-tokens-{w}" for w in ("limit", "remaining", "reset")]
    + ["retry-after", "retry-after-ms", "x-should-retry"]
)
DATES = st.sampled_from(
    ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "2026-13-01T00:00:00Z", "Mon, 99 Foo 1"]
)
HEADER_VALUES = st.text(max_size=12) | st.integers().map(str) | st.floats().map(str) | DATES


@given(st.dictionaries(HEADER_NAMES, HEADER_VALUES), st.integers(0, 999), st.binary(max_size=60))
def test_garbage_in_headers_and_bodies_is_survived(headers, status, body):
    for limit in read_limits(headers, NOW).limits:
        assert limit.limit is None or limit.limit > 0
        assert limit.remaining is None or limit.remaining >= 0
    report = read_refusal(status, headers, body, NOW)
    assert report.retry_after is None or 0 <= report.retry_after < 4e7


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "code", "type", "message", "details", "retryDelay"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)


@given(JSON, st.sampled_from([200, 400, 429, 500]))
def test_any_json_body_is_survived(body, status):
    read_refusal(status, {}, json.dumps(body).encode(), NOW)


def openai(code, kind="x", message="m"):
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def anthropic(kind, message="m", **details):
    return {"type": "error", "error": {"type": kind, "message": message, "details": details}}


TOO_LARGE = "Request too large for gpt-4o on tokens per min (TPM): Limit 30,000, Requested 342389. Visit x"
REACHED = (
    "Rate limit reached for gpt-4o: Limit 30000, Used 20000, Requested 15000. Please try again in 1.2s. See x"
)
CONTEXT = (
    "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens."
)


@pytest.mark.parametrize(
    ("status", "body", "kind", "retryable"),
    [
        (429, openai("rate_limit_exceeded", "requests"), Refusal.RATE_LIMITED, True),
        (429, openai("rate_limit_exceeded", "tokens", TOO_LARGE), Refusal.TOO_LARGE, False),
        (429, openai("rate_limit_exceeded", "tokens", REACHED), Refusal.RATE_LIMITED, True),
        (413, openai("rate_limit_exceeded", "tokens", TOO_LARGE), Refusal.TOO_LARGE, False),
        (429, openai("slow_down", "rate_limit_error"), Refusal.SLOW_DOWN, True),
        (503, openai("slow_down", "rate_limit_error"), Refusal.SLOW_DOWN, True),
        (429, openai("insufficient_quota", "insufficient_quota"), Refusal.QUOTA_EXHAUSTED, False),
        (429, openai("project_spend_limit_exceeded", "insufficient_quota"), Refusal.QUOTA_EXHAUSTED, False),
        (429, openai(None, "insufficient_quota"), Refusal.QUOTA_EXHAUSTED, False),
        (429, openai("resource_unavailable"), Refusal.CAPACITY, True),
        (503, openai("server_is_overloaded"), Refusal.OVERLOADED, True),
        (400, openai("context_length_exceeded", "invalid_request_error", CONTEXT), Refusal.TOO_LARGE, False),
        (400, openai(None, "invalid_request_error"), Refusal.BAD_REQUEST, False),
        (401, openai("invalid_api_key"), Refusal.AUTH, False),
        (404, openai("model_not_found"), Refusal.NOT_FOUND, False),
        (422, {"detail": "no"}, Refusal.BAD_REQUEST, False),
        (498, openai("capacity_exceeded"), Refusal.CAPACITY, True),
        (408, None, Refusal.TIMEOUT, True),
        (409, None, Refusal.TIMEOUT, True),
        (500, b"<html>", Refusal.SERVER_ERROR, True),
        (502, openai(None, "invalid_request_error"), Refusal.SERVER_ERROR, True),
        (529, anthropic("overloaded_error"), Refusal.OVERLOADED, True),
        (429, anthropic("rate_limit_error"), Refusal.RATE_LIMITED, True),
        (
            429,
            anthropic("rate_limit_error", error_code="enforced_spend_limit_reached"),
            Refusal.QUOTA_EXHAUSTED,
            False,
        ),
        (402, anthropic("billing_error"), Refusal.QUOTA_EXHAUSTED, False),
        (
            400,
            anthropic("invalid_request_error", "Your credit balance is too low"),
            Refusal.QUOTA_EXHAUSTED,
            False,
        ),
        (
            400,
            anthropic("invalid_request_error", "You have reached your specified API usage limits."),
            Refusal.QUOTA_EXHAUSTED,
            False,
        ),
        (
            400,
            anthropic("invalid_request_error", "prompt is too long: 208310 tokens > 200000 maximum"),
            Refusal.TOO_LARGE,
            False,
        ),
        (200, anthropic("overloaded_error"), Refusal.OVERLOADED, True),
        (200, anthropic("api_error"), Refusal.SERVER_ERROR, True),
        (200, anthropic("invalid_request_error"), Refusal.BAD_REQUEST, False),
    ],
)
def test_kinds(status, body, kind, retryable):
    raw = json.dumps(body).encode() if isinstance(body, dict) else body
    report = read_refusal(status, {}, raw, NOW)
    assert (report.kind, report.retryable) == (kind, retryable)


def test_sizes_are_read():
    report = read_refusal(429, {}, openai("rate_limit_exceeded", "tokens", TOO_LARGE), NOW)
    assert (report.limit, report.requested) == (30_000, 342_389)
    report = read_refusal(400, {}, openai("context_length_exceeded", "x", CONTEXT), NOW)
    assert (report.limit, report.requested) == (8192, 9001)
    report = read_refusal(400, {}, anthropic("x", "prompt is too long: 208310 tokens > 200000 maximum"), NOW)
    assert (report.limit, report.requested) == (200_000, 208_310)


@pytest.mark.parametrize(
    ("headers", "body", "wait"),
    [
        ({"Retry-After": "7"}, None, 7.0),
        ({"retry-after": "0.5", "retry-after-ms": "250"}, None, 0.25),
        ({"retry-after": "Fri, 15 Jan 2027 08:00:20 GMT"}, None, 20.0),
        ({"retry-after": "Fri, 15 Jan 2027 07:00:00 GMT"}, None, None),
        ({"retry-after": "-3"}, None, None),
        ({"retry-after": "soon"}, None, None),
        ({}, {"error": {"code": 429, "details": [{"@type": "RetryInfo", "retryDelay": "34.07s"}]}}, 34.07),
        (
            {},
            [{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": [{"retryDelay": "3s"}]}}],
            3.0,
        ),
        ({}, openai("rate_limit_exceeded", "tokens", REACHED), 1.2),
        ({}, openai("rate_limit_exceeded", "tokens", "Please try again in 7m12s."), 432.0),
    ],
)
def test_retry_after(headers, body, wait):
    report = read_refusal(429, headers, json.dumps(body).encode() if body else None, NOW)
    assert report.kind is Refusal.RATE_LIMITED
    assert report.retry_after == (pytest.approx(wait) if wait is not None else None)


def test_should_retry_decides_but_never_for_money_or_size():
    assert not read_refusal(500, {"x-should-retry": "false"}, None, NOW).retryable
    assert read_refusal(400, {"x-should-retry": "true"}, None, NOW).retryable
    assert not read_refusal(429, {"x-should-retry": "true"}, openai("insufficient_quota"), NOW).retryable
