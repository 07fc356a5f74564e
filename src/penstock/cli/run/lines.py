"""One line of the input: a request in OpenAI batch form, a raw request body, or what is wrong with it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from penstock.llm.wire import Family, classify, path_of
from penstock.model.json_text import no_constant

SHOWN_BYTES = 300
MOST_TOKENS = 10**9
BATCH_FIELDS = ("custom_id", "method", "url", "body", "metadata")
_BATCH_SIGNS = frozenset(("custom_id", "url", "method", "body"))
_RAW_SIGNS = frozenset(("messages", "input", "prompt"))

DUPLICATE = "duplicate_custom_id"
UNREADABLE = frozenset(
    (
        "bad_utf8",
        "bad_json",
        "bad_text",
        "line_too_long",
        "not_an_object",
        "unknown_field",
        "missing_field",
        "wrong_type",
        "unknown_url",
        "stream_in_file",
        DUPLICATE,
    )
)
"""Codes of lines that are no requests: trying them again cannot help."""


@dataclass(frozen=True, slots=True)
class Request:
    """A line that can be sent. `custom_id` is None when the line gives none."""

    url: str
    body: dict[str, Any]
    custom_id: str | None = None
    metadata: Any = None


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that cannot: why, and its beginning."""

    code: str
    message: str
    raw: str
    custom_id: str | None = None


@dataclass(frozen=True, slots=True)
class LineRules:
    """What fills the gaps of a line: `model` where the body names none, `endpoint` (an API path) where a raw
    body does not tell; `anthropic` sends raw messages to /v1/messages."""

    model: str | None = None
    endpoint: str | None = None
    anthropic: bool = False


class _Wrong(Exception):
    """What is wrong with a line."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def parse_line(raw: bytes, rules: LineRules) -> Request | BadLine:
    """The request in one line (without its line end), or what is wrong with it. Never raises."""
    value: Any = None
    try:
        value = _json(raw)
        if not isinstance(value, dict):
            raise _Wrong("not_an_object", f"the line is {_kind(value)}, not a JSON object")
        batch = not _BATCH_SIGNS.isdisjoint(value) and _RAW_SIGNS.isdisjoint(value)
        return _batch_form(value, rules) if batch else _raw_form(value, rules)
    except _Wrong as wrong:
        named = value.get("custom_id") if isinstance(value, dict) else None
        return BadLine(wrong.code, str(wrong), shown(raw), named if _is_id(named) else None)


def too_long(beginning: bytes, size: int, limit: int) -> BadLine:
    """What is wrong with a line of `size` bytes that was not loaded."""
    return BadLine(
        "line_too_long",
        f"the line has {size:,} bytes, more than the limit of {limit:,}; raise it with --max-line-bytes",
        shown(beginning),
    )


def shown(raw: bytes) -> str:
    """The beginning of a line, for people."""
    text = raw[:SHOWN_BYTES].decode("utf-8", "replace")
    return text + ("…" if len(raw) > SHOWN_BYTES else "")


_decode = json.JSONDecoder(parse_constant=no_constant).decode


def _json(raw: bytes) -> Any:
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise _Wrong(
            "bad_utf8", f"the line is no UTF-8: byte 0x{raw[error.start]:02x} at column {error.start + 1}"
        ) from None
    try:
        value = _decode(text)
    except json.JSONDecodeError as error:
        raise _Wrong("bad_json", f"the line is no JSON: {error.msg} at column {error.pos + 1}") from None
    except RecursionError:
        raise _Wrong("bad_json", "the line nests too deeply") from None
    except ValueError as error:
        raise _Wrong("bad_json", f"the line is no JSON: {error}") from None
    if b"\\ud" in raw or b"\\uD" in raw:
        _refuse_half_characters(value)
    return value


def _refuse_half_characters(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise _Wrong("bad_text", "a text holds half of a character (a lone \\ud… escape)") from None


def _batch_form(value: dict[str, Any], rules: LineRules) -> Request:
    for name in value:
        if name not in BATCH_FIELDS:
            raise _Wrong(
                "unknown_field",
                f"unknown field {name!r}; a line has custom_id, method, url, body and metadata",
            )
    custom_id = value.get("custom_id")
    if custom_id is not None and not _is_id(custom_id):
        raise _Wrong("wrong_type", f"custom_id must be a text of 1 to 512 characters, not {_kind(custom_id)}")
    method = value.get("method", "POST")
    if not isinstance(method, str) or method.upper() != "POST":
        raise _Wrong("wrong_type", f"method must be POST, not {method!r}")
    body = value.get("body")
    if body is None:
        raise _Wrong("missing_field", "body is missing")
    if not isinstance(body, dict):
        raise _Wrong("wrong_type", f"body must be an object, not {_kind(body)}")
    url = value.get("url")
    if url is None:
        url = rules.endpoint or _guess(body, rules)
    return _checked(_path(url), body, rules, custom_id, value.get("metadata"))


def _raw_form(value: dict[str, Any], rules: LineRules) -> Request:
    metadata = value.pop("metadata", None)
    return _checked(rules.endpoint or _guess(value, rules), value, rules, None, metadata)


def _checked(
    url: str, body: dict[str, Any], rules: LineRules, custom_id: str | None, metadata: Any
) -> Request:
    if "model" not in body and rules.model:
        body["model"] = rules.model
    model = body.get("model")
    if model is None:
        raise _Wrong("missing_field", "model is missing; name one in the line, or give --model")
    if not isinstance(model, str) or not model:
        raise _Wrong("wrong_type", f"model must be a text, not {_kind(model)}")
    if body.get("stream"):
        raise _Wrong("stream_in_file", "stream makes no sense in a file of requests; leave it out")
    for name, check, wanted in _FIELDS:
        if name in body and not check(body[name]):
            raise _Wrong("wrong_type", f"{name} must be {wanted}, not {_kind(body[name])}")
    return Request(url, body, custom_id, metadata)


def _path(url: Any) -> str:
    if not isinstance(url, str):
        raise _Wrong("wrong_type", f"url must be a path such as /v1/chat/completions, not {_kind(url)}")
    path = _known_path(url)
    if path is None:
        raise _Wrong(
            "unknown_url",
            f"url {url[:200]!r} is no model call; use /v1/chat/completions, /v1/responses, /v1/embeddings, "
            "/v1/completions or /v1/messages",
        )
    return path


@lru_cache(maxsize=256)
def _known_path(url: str) -> str | None:
    path = path_of(url)
    return None if classify("POST", path) is Family.UNKNOWN else path


def _guess(body: dict[str, Any], rules: LineRules) -> str:
    """The API path that a body of this shape is for."""
    if "messages" in body:
        return "/v1/messages" if rules.anthropic else "/v1/chat/completions"
    if "input" in body:
        return "/v1/embeddings" if _embeds(body, rules) else "/v1/responses"
    if "prompt" in body:
        return "/v1/completions"
    raise _Wrong(
        "missing_field",
        "the line has neither messages, input nor prompt; is it a request? (--endpoint names its path)",
    )


_RESPONSE_SIGNS = frozenset(
    ("instructions", "max_output_tokens", "reasoning", "tools", "text", "previous_response_id", "temperature")
)
_EMBEDDING_SIGNS = frozenset(("encoding_format", "dimensions"))
_EMBEDDING_NAMES = ("embed", "bge-", "e5-", "gte-", "minilm", "mpnet", "nomic", "voyage")


def _embeds(body: dict[str, Any], rules: LineRules) -> bool:
    if not _EMBEDDING_SIGNS.isdisjoint(body):
        return True
    given = body["input"]
    messages = isinstance(given, list) and bool(given) and isinstance(given[0], dict)
    if messages or not _RESPONSE_SIGNS.isdisjoint(body):
        return False
    model = str(body.get("model") or rules.model or "").lower()
    return any(name in model for name in _EMBEDDING_NAMES)


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 512


def _is_messages(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)


def _is_cap(value: Any) -> bool:
    return value is None or (
        isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST_TOKENS
    )


def _is_input(value: Any) -> bool:
    return isinstance(value, str | list) and bool(value)


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


_FIELDS = (
    ("messages", _is_messages, "a list of at least one message object"),
    ("input", _is_input, "a text or a list"),
    ("prompt", _is_input, "a text or a list"),
    ("max_tokens", _is_cap, f"a whole number from 1 to {MOST_TOKENS:,}"),
    ("max_completion_tokens", _is_cap, f"a whole number from 1 to {MOST_TOKENS:,}"),
    ("max_output_tokens", _is_cap, f"a whole number from 1 to {MOST_TOKENS:,}"),
    ("temperature", _is_number, "a number"),
)


def _kind(value: Any) -> str:
    """A value in words: its kind, and itself when it is short."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"{value[:40]!r}"
    if isinstance(value, int | float):
        return f"the number {str(value)[:40]}"
    if isinstance(value, list):
        return "an empty list" if not value else "a list"
    return "an object"
