"""Calendar hours and days of a zone, as instants."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class Periods:
    """The hour and the day an instant lies in: seconds since the epoch, start included, end not."""

    hour_start: float
    hour_end: float
    day_start: float
    day_end: float


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def period_ends(wall: float, zone: str) -> Periods:
    """Find the calendar hour and day around `wall`; days last 23 or 25 hours where clocks change."""
    info = _zone(zone)
    local = datetime.fromtimestamp(wall, info)
    # Counting back from the instant itself keeps the two hours of one name apart when clocks go back.
    hour_start = wall - local.minute * 60 - local.second - local.microsecond / 1e6
    hour_start = float(round(hour_start))
    midnight = datetime.combine(local.date(), time(), info).timestamp()
    next_midnight = datetime.combine(local.date() + timedelta(days=1), time(), info).timestamp()
    return Periods(hour_start, hour_start + 3600.0, min(midnight, wall), max(next_midnight, wall + 1.0))
