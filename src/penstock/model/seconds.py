"""What may be given where seconds are asked for."""

from __future__ import annotations

import math

MOST = 95_000_000_000.0


def is_seconds(value: object) -> bool:
    """Whether this is a number that dates can tell: no text, `Decimal`, datetime or timedelta, no NaN, and
    nothing beyond the year 5000, which nobody could be shown."""
    try:
        return isinstance(value, int | float) and math.isfinite(value) and abs(value) <= MOST
    except OverflowError:
        return False
