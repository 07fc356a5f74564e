"""JSON text that any store can keep."""

from __future__ import annotations

import json
from typing import Any, Never

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def no_constant(name: str) -> Never:
    """For `parse_constant` of a JSON reader: NaN and Infinity are Python's own."""
    raise ValueError(f"{name} is no JSON number")


def json_text(value: Any) -> str:
    """Compact JSON; where it holds half a character, as some models send it, all is escaped.

    Raises `TypeError` or `ValueError` for what is no JSON.
    """
    text = _encode(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"))
    return text
