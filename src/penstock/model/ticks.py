"""The instants at which a schedule is due: cron expressions on the clock of a zone, or plain intervals.

The library is asked for dates and times without a zone only. Where clocks change, the rule is our own:

- An expression that names its minutes and hours fires once for each time it names. A time that is skipped
  fires when the clock has been put forward, one that is repeated only the first time.
- An expression whose minute or hour begins with `*` follows the clock on the wall: skipped times do not
  fire, repeated ones fire twice.

This is the rule of Debian's cron, also where a clock moves by half an hour.
"""

from __future__ import annotations

import math
from collections import deque
from copy import copy
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from penstock.errors import ConfigurationError
from penstock.model.when import When

_DAY = 86_400
_EPOCH = datetime(1970, 1, 1)
_RANGES = {
    "minute": "0-59",
    "hour": "0-23",
    "day-of-month": "1-31, or L for the last",
    "month": "1-12 or JAN-DEC",
    "day-of-week": "0-7 or SUN-SAT, MON#1 for the first, FRIL for the last",
}


class Ticks:
    """The firings of a schedule without jitter, whole seconds since the epoch. `anchor` is where intervals
    count from."""

    def __init__(self, when: When, zone: str, anchor: float) -> None:
        """Raises `ConfigurationError` for an expression or a zone that there is not."""
        self._zone = _zone(zone)
        self._every = when.every_seconds
        self._anchor = float(math.floor(anchor))
        if when.cron is not None:
            self._cron = _parsed(when.cron)
            minute, hour = when.cron.split()[:2]
            self._follows_clock = minute.startswith("*") or hour.startswith("*")

    def after(self, at: float) -> float:
        """The first tick later than `at`."""
        if self._every is not None:
            return self._interval_after(at, self._every)
        return self._on_the_clock(at) if self._follows_clock else self._at_named_times(at)

    def last(self, most: int, first: float, until: float) -> list[float]:
        """The last `most` ticks of those from `first` to `until`, in order; `first` counts as one. Takes no
        longer after a year than after an hour."""
        span = 60.0
        while True:
            begin = until - span
            kept = deque([first] if begin < first <= until else (), most)
            at = max(begin, first)
            while (at := self.after(at)) <= until:
                kept.append(at)
            if len(kept) == most or begin < first:
                return list(kept)
            span *= 2

    def _interval_after(self, at: float, every: float) -> float:
        count = math.floor((at - self._anchor) / every) + 1
        while self._anchor + count * every <= at:  # a rounding below
            count += 1
        return self._anchor + max(count, 1) * every

    def _at_named_times(self, at: float) -> float:
        local = self._local(at)
        while True:
            local = self._next(local)
            tick = self._instant(local)
            # In the second pass of a repeated hour the times of the first are behind us.
            if tick > at:
                return tick

    def _instant(self, local: datetime) -> float:
        """When the clock shows `local` for the first time, or is put forward over it."""
        tick = local.replace(tzinfo=self._zone).timestamp()
        if self._local(tick) == local:
            return tick
        change = self._change(int(tick) - _DAY, int(tick))
        return tick if change is None else float(change)

    def _on_the_clock(self, at: float) -> float:
        second, local = math.floor(at), None
        shown = self._local(second)
        while True:
            offset = self._offset(second)
            if local is None or local <= shown:
                local = self._next(shown)
            tick = _seconds(local) - offset
            reach = min(tick, second + _DAY)
            change = self._change(second, reach)
            if change is not None:
                # From here on the clock shows something else: what it shows at this moment counts too.
                second, local = change, None
                shown = self._local(change) - timedelta(seconds=1)
            elif reach == tick:
                return float(tick)
            else:
                # No clock moves by a day, so nothing fires until shortly before `tick`.
                second = max(reach, tick - 2 * _DAY)
                shown = self._local(second)

    def _next(self, local: datetime) -> datetime:
        """The first time after `local` that matches, whatever the zone does."""
        cron = copy(self._cron)
        cron.dt = local.replace(microsecond=0)
        try:
            return next(cron)
        except StopIteration:
            raise ConfigurationError("this cron expression never comes true") from None

    def _change(self, begin: int, end: int) -> int | None:
        """The first moment after `begin`, up to `end`, with another offset than at `begin`; they are at most
        a day apart."""
        offset = self._offset(begin)
        if self._offset(end) == offset:
            return None
        while end - begin > 1:
            middle = (begin + end) // 2
            if self._offset(middle) == offset:
                begin = middle
            else:
                end = middle
        return end

    def _local(self, at: float) -> datetime:
        return datetime.fromtimestamp(math.floor(at), self._zone).replace(tzinfo=None, fold=0)

    def _offset(self, at: int) -> int:
        return _seconds(self._local(at)) - at


def _seconds(local: datetime) -> int:
    """Seconds from the epoch to `local` on a clock that never changes."""
    span = local - _EPOCH
    return span.days * _DAY + span.seconds


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError, TypeError):
        raise ConfigurationError(
            f"there is no time zone {name!r}; give one such as UTC, Europe/Berlin or America/New_York"
        ) from None


@lru_cache(maxsize=256)
def _parsed(expression: str) -> CronSim:
    start = datetime(2000, 1, 1, tzinfo=UTC).replace(tzinfo=None)
    try:
        return CronSim(expression, start)
    except CronSimError as error:
        field = str(error).removeprefix("Bad ")
        legal = f" ({_RANGES[field]})" if field in _RANGES else ""
        words = f"the {field.replace('-', ' ')}{legal} is wrong"
        raise ConfigurationError(f"cron expression {expression!r}: {words}") from None
