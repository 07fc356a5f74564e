"""Limits, what remains of them and when they renew, as providers say it in reply headers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

Dimension = Literal["requests", "tokens", "input_tokens", "output_tokens"]

_LARGEST = 10**15
_LONGEST_SECONDS = 400 * 86_400.0
_NUMBER = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?")
_PART = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)(ns|us|µs|μs|ms|s|m|h|d)")
_UNIT_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0}
_UNIT_SECONDS |= {"m": 60.0, "h": 3600.0, "d": 86_400.0}

_WINDOWS = {"": 60.0, "-second": 1.0, "-minute": 60.0, "-hour": 3600.0, "-day": 86_400.0}
_OPENAI_NAMES: tuple[tuple[Dimension, str], ...] = (
    ("requests", "requests"),
    ("tokens", "tokens"),
    ("tokens", "tokens_usage_based"),
    ("input_tokens", "input-tokens"),
    ("output_tokens", "output-tokens"),
)
_ANTHROPIC_NAMES: tuple[tuple[Dimension, str], ...] = (
    ("requests", "requests"),
    ("tokens", "tokens"),
    ("input_tokens", "input-tokens"),
    ("output_tokens", "output-tokens"),
)


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit as the provider states it; None for what it does not say.

    `window_seconds` is the window it speaks of, `reset_at` (epoch seconds) when it is whole again.
    """

    dimension: Dimension
    window_seconds: float
    limit: int | None = None
    remaining: int | None = None
    reset_at: float | None = None


@dataclass(frozen=True, slots=True)
class LimitReport:
    """All limits one reply told of, in no order that matters; empty and false when it told nothing."""

    limits: tuple[Limit, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.limits)

    def of(self, dimension: Dimension) -> Limit | None:
        """The limit of this dimension with the shortest window."""
        found = [limit for limit in self.limits if limit.dimension == dimension]
        return min(found, key=lambda limit: limit.window_seconds, default=None)


def read_limits(headers: Mapping[str, str], now: float, requests_header_seconds: float = 60.0) -> LimitReport:
    """What these headers say, OpenAI or Anthropic style, with or without a window in the name. Never raises.

    Malformed values are ignored, and so is a limit of zero or less: it means unknown. Anthropic rounds what
    remains to thousands. `requests_header_seconds` is the window of requests headers that name none.
    """
    known = {
        key.lower(): value.strip()
        for key, value in headers.items()
        if isinstance(key, str) and isinstance(value, str) and "ratelimit" in key.lower()
    }
    if not known:
        return LimitReport()
    limits: dict[tuple[Dimension, float], Limit] = {}
    for dimension, name in _OPENAI_NAMES:
        for suffix, window in _WINDOWS.items():
            seconds = requests_header_seconds if dimension == "requests" and not suffix else window
            keys = [f"x-ratelimit-{what}-{name}{suffix}" for what in ("limit", "remaining", "reset")]
            _note(limits, Limit(dimension, seconds), [known.get(key) for key in keys], now)
    for dimension, name in _ANTHROPIC_NAMES:
        keys = [f"anthropic-ratelimit-{name}-{what}" for what in ("limit", "remaining", "reset")]
        _note(limits, Limit(dimension, 60.0), [known.get(key) for key in keys], now)
    return LimitReport(tuple(limits.values()))


def _note(
    limits: dict[tuple[Dimension, float], Limit], blank: Limit, values: list[str | None], now: float
) -> None:
    key = (blank.dimension, blank.window_seconds)
    if key in limits or all(value is None for value in values):
        return
    stated, left, reset = values
    limit, remaining = _whole(stated), _whole(left)
    if stated is not None and (limit is None or limit <= 0):
        return  # Azure says -1 or 0 for what it does not tell
    if remaining is not None and remaining < 0:
        remaining = None
    if limit is None and remaining is None:
        return
    limits[key] = Limit(blank.dimension, blank.window_seconds, limit, remaining, _instant(reset, now))


def _whole(text: str | None) -> int | None:
    if text is None or not re.fullmatch(r"-?\d{1,16}(\.0+)?", text, re.ASCII):
        return None
    value = int(text.split(".")[0])
    return value if abs(value) <= _LARGEST else None


def _instant(text: str | None, now: float) -> float | None:
    """A duration from now or an RFC 3339 instant, as epoch seconds."""
    if not text:
        return None
    seconds = read_duration(text)
    if seconds is not None:
        return now + seconds
    if not re.match(r"\d{4}-\d\d-\d\d[Tt ]", text):
        return None
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def read_duration(text: str) -> float | None:
    """Seconds of a duration such as `6m0s`, `12ms`, `7.66s`, `1h2m` or plain `30`; None for anything else."""
    text = text.strip()
    if len(text) > 64:
        return None
    if _NUMBER.fullmatch(text):
        seconds = float(text)
    else:
        parts = _PART.findall(text)
        if not parts or "".join(number + unit for number, unit in parts) != text:
            return None
        seconds = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts)
    return seconds if seconds <= _LONGEST_SECONDS else None
