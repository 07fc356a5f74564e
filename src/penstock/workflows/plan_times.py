"""Times as models write them: seconds, or words like "5 minutes"."""

from __future__ import annotations

import math
import re
from typing import Any

_UNITS = {
    "s": 1.0, "sec": 1.0, "secs": 1.0, "second": 1.0, "seconds": 1.0,
    "m": 60.0, "min": 60.0, "mins": 60.0, "minute": 60.0, "minutes": 60.0,
    "h": 3600.0, "hr": 3600.0, "hrs": 3600.0, "hour": 3600.0, "hours": 3600.0,
    "d": 86400.0, "day": 86400.0, "days": 86400.0,
    "week": 604800.0, "weeks": 604800.0,
}  # fmt: skip
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)\s*(?:,|and)?\s*")
LONGEST = 366 * 86400.0


def read_seconds(value: Any) -> float:
    """The seconds that are meant; raises `ValueError` that says what is wrong."""
    if isinstance(value, str):
        value = _read_words(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"must be a number of seconds, not {value!r:.80}")
    try:
        seconds = float(value)
    except OverflowError:
        seconds = math.inf
    if not math.isfinite(seconds) or seconds < 0 or seconds > LONGEST:
        raise ValueError(f"must be seconds from 0 to {LONGEST:.0f}, not {value!r:.80}")
    return seconds


def _read_words(text: str) -> float:
    words, at, total = text.strip().casefold().lstrip("~ ").removeprefix("about ").strip(), 0, 0.0
    while at < len(words):
        found = _PART.match(words, at)
        if found is None or (found[2] and found[2] not in _UNITS) or (not found[2] and at > 0):
            raise ValueError(f"must be a number of seconds, not {text!r:.80}")
        total += float(found[1]) * _UNITS.get(found[2], 1.0)
        at = found.end()
    if not words:
        raise ValueError("must be a number of seconds, not an empty text")
    return total
