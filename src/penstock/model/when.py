"""When a schedule fires, as people say it: "daily at 9:00", "every 15 minutes", "0 9 * * MON-FRI"."""

from __future__ import annotations

import re
from dataclasses import dataclass

from penstock.errors import ConfigurationError

LONGEST_TEXT = 200
SHORTEST_INTERVAL_SECONDS = 1.0
LONGEST_INTERVAL_SECONDS = 3_660 * 86_400.0

EXAMPLES = (
    'give "hourly", "daily at 9:00", "weekdays at 8:30", "mondays and fridays at 17:00", '
    '"monthly on the 1st at 6:00", "every 15 minutes", or five cron fields such as "0 9 * * MON-FRI"'
)


@dataclass(frozen=True, slots=True)
class When:
    """A cron expression of five fields, or a number of seconds between firings: one of them."""

    cron: str | None = None
    every_seconds: float | None = None


_NAMES = {
    "hourly": "0 * * * *",
    "daily": "0 0 * * *",
    "midnight": "0 0 * * *",
    "weekly": "0 0 * * 0",
    "monthly": "0 0 1 * *",
    "yearly": "0 0 1 1 *",
    "annually": "0 0 1 1 *",
}
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONG_DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_DAY_NUMBERS = {name: str(day) for names in (_DAYS, _LONG_DAYS) for day, name in enumerate(names)}
_DAY_NUMBERS |= {"tues": "2", "wednes": "3", "thur": "4", "thurs": "4", "weekday": "1-5", "weekend": "0,6"}
_UNITS = {
    "s": 1, "sec": 1, "second": 1, "m": 60, "min": 60, "minute": 60, "h": 3_600, "hour": 3_600,
    "d": 86_400, "day": 86_400, "w": 604_800, "week": 604_800,
}  # fmt: skip

_CLOCK = re.compile(r"(\d{1,2})(?:[:.](\d{2}))?\s*(am|pm)?")
_INTERVAL = re.compile(r"every\s+(?:(\d+(?:\.\d+)?)\s*)?([a-z]+)")
_MINUTE = re.compile(r"hourly at (?:minute )?:?(\d{1,2})")
_DAY_OF_MONTH = re.compile(r"(?:the )?(?:(last) day|(?:day )?(\d{1,2})(?:st|nd|rd|th)?)")


def read_when(text: str) -> When:
    """What `text` says; raises `ConfigurationError` that says what is wrong and what would be right."""
    if not isinstance(text, str) or not text.strip() or len(text) > LONGEST_TEXT:
        raise ConfigurationError(
            f"a schedule's time is a text of up to {LONGEST_TEXT} characters: {EXAMPLES}"
        )
    plain = " ".join(text.lower().split())
    if plain.startswith("@"):
        return When(cron=_alias(plain))
    if named := _NAMES.get(plain):
        return When(cron=named)
    if plain[0] in "*0123456789" and " at " not in plain:
        return When(cron=_fields(text))
    if minute := _MINUTE.fullmatch(plain):
        return When(cron=f"{_number(minute[1], 59, text)} * * * *")
    if " at " not in plain and (interval := _INTERVAL.fullmatch(plain)) and interval[2] not in _DAY_NUMBERS:
        return _interval(interval, text)
    return When(cron=_calendar(plain, text))


def _alias(plain: str) -> str:
    if plain == "@reboot":
        raise ConfigurationError("@reboot is no time: submit a task where your program starts")
    named = _NAMES.get(plain[1:])
    if named is None:
        raise ConfigurationError(f"{plain} is unknown; there are {', '.join('@' + name for name in _NAMES)}")
    return named


def _fields(text: str) -> str:
    fields = text.upper().split()
    if len(fields) != 5:
        more = "; for seconds say such as 'every 30 seconds'" if len(fields) == 6 else ""
        raise ConfigurationError(
            f"{text!r} has {len(fields)} fields; a cron expression has five: "
            f"minute, hour, day of the month, month, day of the week{more}"
        )
    return " ".join(fields)


def _interval(found: re.Match[str], text: str) -> When:
    count, unit = found[1], found[2]
    seconds = _UNITS.get(unit) or _UNITS.get(unit.removesuffix("s"))
    if seconds is None:
        raise ConfigurationError(f"{text!r}: {unit!r} is no unit of time or day of the week; {EXAMPLES}")
    if count is None and seconds == 86_400:
        return When(cron=_NAMES["daily"])
    every = float(count or 1) * seconds
    if not SHORTEST_INTERVAL_SECONDS <= every <= LONGEST_INTERVAL_SECONDS:
        raise ConfigurationError(f"{text!r}: an interval is at least a second and at most ten years long")
    return When(every_seconds=every)


def _calendar(plain: str, text: str) -> str:
    """ "DAYS at TIMES", where TIMES may be left out for midnight."""
    days, _, times = plain.partition(" at ")
    minute, hours = _times(times or "midnight", text)
    days = days.removeprefix("every ")
    if days in ("day", "daily"):
        return f"{minute} {hours} * * *"
    if days.startswith("monthly on "):
        return f"{minute} {hours} {_days_of_month(days.removeprefix('monthly on '), text)} * *"
    return f"{minute} {hours} * * {_days_of_week(days.removeprefix('weekly on '), text)}"


def _listed(text: str) -> list[str]:
    return [part for part in re.split(r"\s*,\s*(?:and\s+)?|\s+and\s+", text.strip()) if part]


def _days_of_week(given: str, text: str) -> str:
    numbers = []
    for day in _listed(given):
        number = _DAY_NUMBERS.get(day) or _DAY_NUMBERS.get(day.removesuffix("s"))
        if number is None:
            raise ConfigurationError(f"{text!r}: {day!r} is no day of the week; {EXAMPLES}")
        numbers.append(number)
    if not numbers:
        raise ConfigurationError(f"{text!r} names no day; {EXAMPLES}")
    return ",".join(numbers)


def _days_of_month(given: str, text: str) -> str:
    days = []
    for part in _listed(given):
        found = _DAY_OF_MONTH.fullmatch(part)
        if found is None:
            raise ConfigurationError(f"{text!r}: {part!r} is no day of the month; {EXAMPLES}")
        days.append("L" if found[1] else str(_number(found[2], 31, text, least=1)))
    return ",".join(days)


def _times(given: str, text: str) -> tuple[int, str]:
    """The minute that all the times share, and their hours."""
    times = [_time(part, text) for part in _listed(given)]
    minutes = {minute for _, minute in times}
    if len(minutes) != 1:
        raise ConfigurationError(f"{text!r}: times with different minutes need a schedule each")
    return minutes.pop(), ",".join(str(hour) for hour in sorted({hour for hour, _ in times}))


def _time(given: str, text: str) -> tuple[int, int]:
    if given in ("noon", "midnight"):
        return (12 if given == "noon" else 0), 0
    found = _CLOCK.fullmatch(given)
    if found is None:
        raise ConfigurationError(
            f"{text!r}: {given!r} is no time of the day; give one such as 9:00 or 5:30pm"
        )
    minute = _number(found[2] or "0", 59, text)
    if found[3] is None:
        return _number(found[1], 23, text), minute
    hour = _number(found[1], 12, text, least=1)
    return hour % 12 + (12 if found[3] == "pm" else 0), minute


def _number(given: str, most: int, text: str, least: int = 0) -> int:
    if not least <= int(given) <= most:
        raise ConfigurationError(f"{text!r}: {given} is not between {least} and {most}")
    return int(given)
