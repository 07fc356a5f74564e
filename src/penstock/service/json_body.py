"""JSON at the face: read strictly, written so that every reader can take it."""

from __future__ import annotations

import json
import math
from typing import Any

from starlette.responses import JSONResponse

from penstock.model.json_text import json_text, no_constant

DEEPEST = 100
"""How many objects and lists may lie in each other; stores and readers of JSON give up at some depth."""


def read_json(body: bytes) -> Any:
    """The data of a body; raises `json.JSONDecodeError` for what is no JSON, and for numbers and depths that
    not every reader of JSON can take."""
    try:
        data = json.loads(body, parse_constant=no_constant, parse_float=_finite)
    except json.JSONDecodeError:
        raise
    except RecursionError:
        raise json.JSONDecodeError("nested too deeply", "", 0) from None
    except ValueError as error:
        raise json.JSONDecodeError(str(error)[:200], "", 0) from None
    if body.count(b"[") + body.count(b"{") > DEEPEST and _depth(data) > DEEPEST:
        raise json.JSONDecodeError(f"nested more than {DEEPEST} levels deep", "", 0)
    return data


def reply_text(content: Any) -> str:
    """Compact JSON; a number that JSON does not know becomes null."""
    try:
        text = _encode(content)
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(content, allow_nan=False, separators=(",", ":"))
    except ValueError:
        return json_text(_without_odd_numbers(content))
    return text


class Reply(JSONResponse):
    """A JSON reply that no task's data can break."""

    def render(self, content: Any) -> bytes:
        return reply_text(content).encode()


_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _depth(data: Any) -> int:
    """How deep lists and objects are nested, found without recursion."""
    deepest, level = 0, [data]
    while level and deepest <= DEEPEST:
        inner: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                inner += one.values()
            elif isinstance(one, list):
                inner += one
        level = [one for one in inner if isinstance(one, dict | list)]
        deepest += 1
    return deepest


def _without_odd_numbers(data: Any) -> Any:
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, dict):
        return {name: _without_odd_numbers(one) for name, one in data.items()}
    if isinstance(data, list | tuple):
        return [_without_odd_numbers(one) for one in data]
    return data
