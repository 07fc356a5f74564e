"""What a reply says it used, in the words of every family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from penstock.llm.wire import Family, read_object
from penstock.model.usage import Usage

_LARGEST = 10**12  # no reply uses a million million tokens; beyond this a number is garbage


@dataclass(frozen=True, slots=True)
class ReplyFacts:
    """What a reply tells about itself; each is None when the reply does not say it, or says it malformed."""

    usage: Usage | None = None
    model: str | None = None
    service_tier: str | None = None


def read_reply(family: Family, body: bytes | Mapping[str, Any] | None) -> ReplyFacts:
    """The facts in a whole, successful reply body. Never raises."""
    reply = read_object(body) if body is None or isinstance(body, bytes) else body
    if reply is None:
        return ReplyFacts()
    usage = reply.get("usage")
    tier = reply.get("service_tier")
    if tier is None and isinstance(usage, Mapping):
        tier = usage.get("service_tier")  # Anthropic says it there
    return ReplyFacts(read_usage(family, usage), _text(reply.get("model")), _text(tier))


def read_usage(family: Family, usage: object) -> Usage | None:
    """The `usage` object of a reply as `Usage`, or None when absent or malformed.

    Parts larger than their whole are cut to it. Where `total_tokens` exceeds input plus output, the rest is
    output: several providers leave reasoning tokens, which they bill, out of the completion count.
    """
    if not isinstance(usage, Mapping):
        return None
    if family is Family.UNKNOWN:
        family = _guess(usage)
    if family is Family.MESSAGES:
        return _anthropic(usage)
    if family is Family.RESPONSES:
        return _openai(
            usage, "input_tokens", "output_tokens", "input_tokens_details", "output_tokens_details"
        )
    if family is Family.EMBEDDINGS:
        tokens = _first(_count(usage, "prompt_tokens"), _count(usage, "total_tokens"))
        return None if tokens is None else Usage(input_tokens=tokens)
    return _openai(
        usage, "prompt_tokens", "completion_tokens", "prompt_tokens_details", "completion_tokens_details"
    )


def _openai(
    usage: Mapping[str, Any], input_key: str, output_key: str, input_details: str, output_details: str
) -> Usage | None:
    given, made, total = _count(usage, input_key), _count(usage, output_key), _count(usage, "total_tokens")
    if given is None or (made is None and total is None):
        return None
    made = max(made or 0, (total or 0) - given)
    into, out = _part(usage, input_details), _part(usage, output_details)
    cached = _first(
        _count(into, "cached_tokens"),
        _count(usage, "prompt_cache_hit_tokens"),  # DeepSeek
        _count(usage, "cached_tokens"),  # Moonshot
    )
    cached = min(cached or 0, given)
    written = min(_count(into, "cache_write_tokens") or 0, given - cached)
    return Usage(given, made, cached, written, min(_count(out, "reasoning_tokens") or 0, made))


def _anthropic(usage: Mapping[str, Any]) -> Usage | None:
    fresh, made = _count(usage, "input_tokens"), _count(usage, "output_tokens")
    if fresh is None or made is None:
        return None
    cached = _count(usage, "cache_read_input_tokens") or 0
    written = _count(usage, "cache_creation_input_tokens") or 0
    hourly = _count(_part(usage, "cache_creation"), "ephemeral_1h_input_tokens") or 0
    thought = _count(_part(usage, "output_tokens_details"), "thinking_tokens") or 0
    return Usage(fresh + cached + written, made, cached, written, min(thought, made), min(hourly, written))


def _guess(usage: Mapping[str, Any]) -> Family:
    if "prompt_tokens" in usage:
        return Family.CHAT if "completion_tokens" in usage else Family.EMBEDDINGS
    return Family.RESPONSES if "total_tokens" in usage else Family.MESSAGES


def _count(source: Mapping[str, Any], key: str) -> int | None:
    value = source.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not 0 <= value <= _LARGEST or value != int(value):
        return None
    return int(value)


def _part(source: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = source.get(key)
    return value if isinstance(value, Mapping) else {}


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
