"""State of a graph as JSON."""

from __future__ import annotations

from typing import Any

from pydantic_core import to_jsonable_python

LONGEST_TEXT = 1_000
MOST_NUMBERS = 10_000


def plain(value: Any) -> Any:
    """The value as plain data: messages and other models as they serialise themselves, data classes as
    objects, arrays of up to 10,000 numbers as lists, what has no form in JSON as the beginning of its
    `repr`."""
    return to_jsonable_python(value, fallback=_shown, inf_nan_mode="strings", bytes_mode="base64")


def _shown(value: Any) -> Any:
    listed, size = getattr(value, "tolist", None), getattr(value, "size", None)  # of numpy's arrays
    if callable(listed) and isinstance(size, int) and size <= MOST_NUMBERS:
        return listed()
    return repr(value)[:LONGEST_TEXT]
