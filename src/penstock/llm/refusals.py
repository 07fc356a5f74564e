"""Why a provider refused a call, whether trying again can help, and when."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

from penstock.llm.ratelimit_headers import read_duration

_LONGEST_WAIT_SECONDS = 400 * 86_400.0


class Refusal(StrEnum):
    """Kinds of failed replies, by what to do about them."""

    RATE_LIMITED = "rate_limited"
    SLOW_DOWN = "slow_down"
    OVERLOADED = "overloaded"
    CAPACITY = "capacity"
    QUOTA_EXHAUSTED = "quota_exhausted"
    TOO_LARGE = "too_large"
    BAD_REQUEST = "bad_request"
    AUTH = "auth"
    NOT_FOUND = "not_found"
    TIMEOUT = "timeout"
    SERVER_ERROR = "server_error"


_RETRYABLE = frozenset(
    (
        Refusal.RATE_LIMITED,
        Refusal.SLOW_DOWN,
        Refusal.OVERLOADED,
        Refusal.CAPACITY,
        Refusal.TIMEOUT,
        Refusal.SERVER_ERROR,
    )
)
# No header talks us out of these: money and size do not change by waiting.
_NEVER_RETRY = frozenset((Refusal.QUOTA_EXHAUSTED, Refusal.TOO_LARGE))


@dataclass(frozen=True, slots=True)
class RefusalReport:
    """One failed reply, understood.

    `retry_after`: seconds from now that the provider asks to wait, None when it does not say. `limit` and
    `requested`: tokens, for a request that is too large and says so.
    """

    kind: Refusal
    status: int
    retryable: bool
    retry_after: float | None = None
    code: str | None = None
    message: str = ""
    limit: int | None = None
    requested: int | None = None


_QUOTA_WORDS = frozenset(
    (
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "enforced_spend_limit_reached",
        "billing_error",
        "billing_hard_limit_reached",
        "billing_not_active",
    )
)
# Codes and types that decide whatever the status is; searched in this order.
_BY_WORD: tuple[tuple[frozenset[str], Refusal], ...] = (
    (_QUOTA_WORDS, Refusal.QUOTA_EXHAUSTED),
    (
        frozenset(("context_length_exceeded", "request_too_large", "string_above_max_length")),
        Refusal.TOO_LARGE,
    ),
    (frozenset(("slow_down",)), Refusal.SLOW_DOWN),
    (frozenset(("server_is_overloaded", "overloaded_error", "engine_overloaded")), Refusal.OVERLOADED),
    (frozenset(("capacity_exceeded", "resource_unavailable")), Refusal.CAPACITY),
)
# Types that decide when the status does not, as inside a stream that began well.
_BY_TYPE = {
    "rate_limit_exceeded": Refusal.RATE_LIMITED,
    "rate_limit_error": Refusal.RATE_LIMITED,
    "authentication_error": Refusal.AUTH,
    "permission_error": Refusal.AUTH,
    "not_found_error": Refusal.NOT_FOUND,
    "model_not_found": Refusal.NOT_FOUND,
    "invalid_request_error": Refusal.BAD_REQUEST,
    "timeout_error": Refusal.TIMEOUT,
}
_BY_STATUS = {
    400: Refusal.BAD_REQUEST,
    401: Refusal.AUTH,
    402: Refusal.QUOTA_EXHAUSTED,
    403: Refusal.AUTH,
    404: Refusal.NOT_FOUND,
    408: Refusal.TIMEOUT,
    # A lock that was not free in time; the SDKs retry it too.
    409: Refusal.TIMEOUT,
    413: Refusal.TOO_LARGE,
    429: Refusal.RATE_LIMITED,
    498: Refusal.CAPACITY,
    503: Refusal.OVERLOADED,
    504: Refusal.TIMEOUT,
    529: Refusal.OVERLOADED,
}
_SPENT = re.compile(
    r"credit balance is too low|api usage limits|spend(?:ing)? limit|insufficient balance", re.I
)
_LIMIT_REQUESTED = re.compile(
    r"limit:?\s+(?P<limit>[\d,]{1,20}).{0,80}?requested:?\s+(?P<asked>[\d,]{1,20})", re.I | re.S
)
_CONTEXT = re.compile(
    r"maximum context length is (?P<limit>[\d,]{1,20}).{0,120}?(?P<asked>\d[\d,]{0,19}) tokens", re.I | re.S
)
_ANTHROPIC_CONTEXT = re.compile(r"(?P<asked>\d[\d,]{0,19}) tokens > (?P<limit>\d[\d,]{0,19})", re.I)
_SIZES = (_LIMIT_REQUESTED, _CONTEXT, _ANTHROPIC_CONTEXT)
_TRY_AGAIN = re.compile(
    r"(?:try again|retry) (?:in|after) (?P<wait>[0-9][0-9.hmsµu]{0,30}?)\.?(?=[\s,;)]|$)", re.I
)


def read_refusal(
    status: int, headers: Mapping[str, str], body: bytes | Mapping[str, Any] | None, now: float
) -> RefusalReport:
    """Why this reply failed. `now` is epoch seconds, for dates in headers. Never raises.

    For an error event inside a stream that began with 200, give that status and the event's error object
    wrapped as `{"error": ...}`.
    """
    error = _error_object(body)
    message = str(error.get("message") or "")[:2000]
    words = _words(error)
    limit, requested = _sizes(message)
    kind = _kind(status, words, message, limit, requested)
    lowered = {str(key).lower(): str(value).strip() for key, value in headers.items()}
    if 300 <= status < 400:
        message = f"a redirect to {lowered.get('location', 'nowhere')}, not followed: is the base URL right?"
    retryable = kind in _RETRYABLE
    should = lowered.get("x-should-retry", "").lower()
    if should in ("true", "false") and kind not in _NEVER_RETRY:
        retryable = should == "true"
    return RefusalReport(
        kind=kind,
        status=status,
        retryable=retryable,
        retry_after=_retry_after(lowered, error, message, now) if retryable else None,
        code=words[0] if words else None,
        message=message,
        limit=limit,
        requested=requested,
    )


def _kind(status: int, words: list[str], message: str, limit: int | None, requested: int | None) -> Refusal:
    if 300 <= status < 400:
        return Refusal.BAD_REQUEST
    for known, kind in _BY_WORD:
        if known.intersection(words):
            return kind
    if status in (200, 400, 403, 429) and _SPENT.search(message):
        return Refusal.QUOTA_EXHAUSTED
    if status in (200, 400, 413, 422, 429) and _too_large(message, limit, requested):
        return Refusal.TOO_LARGE
    if status in _BY_STATUS and status != 400:
        return _BY_STATUS[status]
    named = next((_BY_TYPE[word] for word in words if word in _BY_TYPE), None)
    if named is not None and status < 500:
        return named
    return Refusal.BAD_REQUEST if 400 <= status < 500 else Refusal.SERVER_ERROR


def _too_large(message: str, limit: int | None, requested: int | None) -> bool:
    if limit is not None and requested is not None:
        return requested > limit
    text = message.lower()
    return "request too large" in text or "maximum context length" in text or "prompt is too long" in text


def _sizes(message: str) -> tuple[int | None, int | None]:
    for pattern in _SIZES:
        if found := pattern.search(message):
            limit, asked = (found[name].replace(",", "") for name in ("limit", "asked"))
            if limit and asked:
                return int(limit), int(asked)
    return None, None


def _error_object(body: bytes | Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The innermost object that tells what went wrong, whatever wraps it; empty when there is none."""
    value: object = body
    if isinstance(body, bytes):
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            return {"message": body[:500].decode("utf-8", "replace").strip()}
    if isinstance(value, list) and value:
        value = value[0]  # Gemini's compatible endpoint wraps its error in a list
    if not isinstance(value, Mapping):
        return {"message": value} if isinstance(value, str) else {}
    inner = value.get("error")
    if isinstance(inner, Mapping):
        return inner
    if isinstance(inner, str):
        return {**value, "message": value.get("message") or inner}
    return {**value, "message": value.get("message") or value.get("detail") or ""}


def _words(error: Mapping[str, Any]) -> list[str]:
    """Code, nested code, type and status, most telling first; numbers, which repeat the status, left out."""
    details = error.get("details")
    nested = details.get("error_code") if isinstance(details, Mapping) else None
    found = (nested, error.get("code"), error.get("type"), error.get("status"))
    return [word for word in found if isinstance(word, str) and word and not word.isdigit()]


def _retry_after(
    headers: Mapping[str, str], error: Mapping[str, Any], message: str, now: float
) -> float | None:
    """Seconds to wait by the first source that says it well: headers, error details, the message."""
    for wait in _waits(headers, error, message, now):
        if wait is not None and 0 < wait <= _LONGEST_WAIT_SECONDS:  # none, or one in the past, says nothing
            return wait
    return None


def _waits(
    headers: Mapping[str, str], error: Mapping[str, Any], message: str, now: float
) -> Iterator[float | None]:
    millis = _plain_number(headers.get("retry-after-ms"))
    yield None if millis is None else millis / 1000.0
    after = headers.get("retry-after")
    yield _plain_number(after)
    yield _seconds_until(after, now)
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        delay = detail.get("retryDelay") if isinstance(detail, Mapping) else None
        yield read_duration(delay) if isinstance(delay, str) else None
    found = _TRY_AGAIN.search(message)
    yield read_duration(found["wait"]) if found else None


def _plain_number(text: str | None) -> float | None:
    if text is None or not re.fullmatch(r"-?\d{1,15}(\.\d{1,9})?", text, re.ASCII):
        return None
    return float(text)


def _seconds_until(text: str | None, now: float) -> float | None:
    if not text:
        return None
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
