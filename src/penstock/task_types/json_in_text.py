"""JSON in what a model said: bare, in a code fence, or amid prose."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from penstock.model.json_text import no_constant

_FENCE = re.compile(r"```[\w-]*[ \t]*\n(.*?)```", re.DOTALL)
# Where an object may begin amid prose: enough for any honest answer, and a bound for a dishonest one.
_MOST_TRIES = 20


def find_object(text: str) -> dict[str, Any] | None:
    """The JSON object in this text; `None` when there is none. Strict JSON: no NaN, no infinity."""
    for piece in _pieces(text):
        value = _parsed(piece)
        if isinstance(value, dict):
            return value
    decoder = json.JSONDecoder(parse_constant=no_constant)
    start = text.find("{")
    for _ in range(_MOST_TRIES):
        if start < 0:
            break
        try:
            value, _end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            start = text.find("{", start + 1)
            continue
        return value if isinstance(value, dict) else None
    return None


def parse_strictly(text: str | bytes) -> Any:
    """The value of a JSON text; raises `ValueError` for anything else."""
    try:
        return json.loads(text, parse_constant=no_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _pieces(text: str) -> Iterator[str]:
    yield text
    for fence in _FENCE.finditer(text):
        yield fence[1]


def _parsed(text: str) -> Any:
    try:
        return parse_strictly(text)
    except ValueError:
        return None
