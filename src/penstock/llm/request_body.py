"""Request bodies: a stable form and hash for the journal, and the few changes we may make to them."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from penstock.llm.wire import Family, path_of

_STREAM_OPTION_FAMILIES = (Family.CHAT, Family.COMPLETIONS)


def canonical_body(body: bytes | dict[str, Any] | None) -> bytes:
    """Equal bytes for equal JSON, whatever the order of keys or the spacing; other bytes come back as is."""
    if body is None:
        return b""
    try:
        value = json.loads(body) if isinstance(body, bytes) else body
        # ASCII escapes: a lone surrogate, legal in JSON, could not be encoded otherwise.
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")
    except (ValueError, RecursionError):
        if isinstance(body, bytes):
            return body
        raise


def request_hash(method: str, path: str, body: bytes | dict[str, Any] | None) -> str:
    """The name of a request in the journal: SHA-256 in hex of method, path, query and canonical body.

    The host and `api-version` do not count, so another endpoint of the same model or a new Azure version
    finds the record. Hash what the caller sent, before `ask_for_usage` changes it.
    """
    digest = hashlib.sha256()
    query = sorted((k, v) for k, v in _query(path) if k.lower() != "api-version")
    head = json.dumps([method.upper(), path_of(path), query], separators=(",", ":"))
    digest.update(head.encode("ascii") + b"\n")
    digest.update(canonical_body(body))
    return digest.hexdigest()


def _query(path: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(urlsplit(path).query, keep_blank_values=True)
    except ValueError:
        return []


def ask_for_usage(family: Family, body: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """The body asking for the usage of a stream, and whether we added the wish.

    True means that the usage chunk is ours: hide it from the caller (`SseEvent.usage_only`).
    The given body is never changed. Families that always report usage come back as they are.
    """
    if family not in _STREAM_OPTION_FAMILIES or body.get("stream") is not True:
        return body, False
    options = body.get("stream_options")
    if options is not None and not isinstance(options, dict):
        return body, False  # malformed: the provider shall say so itself
    if options and options.get("include_usage") is True:
        return body, False
    return {**body, "stream_options": {**(options or {}), "include_usage": True}}, True
