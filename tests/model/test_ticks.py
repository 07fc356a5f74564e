"""A year of ticks in zones that change their clocks, beside a reference library and the clock itself."""

from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.errors import ConfigurationError
from penstock.model.ticks import Ticks
from penstock.model.when import When, read_when

BEGIN = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
END = datetime(2027, 1, 1, tzinfo=UTC).timestamp()
# Zone: the day and the skipped span in spring, the day and the repeated span in autumn.
ZONES = {
    "Europe/Berlin": (("03-29", "02:00", "03:00"), ("10-25", "02:00", "03:00")),
    "America/New_York": (("03-08", "02:00", "03:00"), ("11-01", "01:00", "02:00")),
    "Australia/Lord_Howe": (("10-04", "02:00", "02:30"), ("04-05", "01:30", "02:00")),
}
NAMED = [
    "0 9 * * *",
    "30 2 * * *",
    "45 1 * * *",
    "15 2 * * SUN",
    "30 1,2,3 * * *",
    "0 0 L * *",
    "5 4 13 * FRI",
]
FOLLOWING = ["0 * * * *", "40 * * * *", "*/10 2 * * *", "*/20 1-3 * * SUN", "0 */6 * * *", "*/30 * 1 * *"]


def year(expression, zone, begin=BEGIN, end=END):
    ticks, at, found = Ticks(When(cron=expression), zone, 0), begin, []
    while (at := ticks.after(at)) <= end:
        found.append(at)
    return found


def reference(expression, zone):
    """The same year by croniter."""
    source, found = croniter(expression, datetime.fromtimestamp(BEGIN, ZoneInfo(zone))), []
    while (at := source.get_next(datetime).timestamp()) <= END:
        found.append(at)
    return found


def shown(at, zone):
    return datetime.fromtimestamp(at, ZoneInfo(zone)).strftime("%m-%d %H:%M")


@cache
def clock(zone):
    """What the clock shows at each minute of the days around both changes."""
    found = []
    for day, *_ in ZONES[zone]:
        change = int(datetime.fromisoformat(f"2026-{day}T00:00Z").timestamp())
        found += range(change - 3 * 86_400, change + 3 * 86_400, 60)
    return [(at, datetime.fromtimestamp(at, ZoneInfo(zone)).replace(tzinfo=None)) for at in sorted(found)]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("expression", NAMED)
def test_named_times_are_those_of_the_reference_but_for_the_second_pass(expression, zone):
    ours, theirs = year(expression, zone), reference(expression, zone)
    assert not set(ours) - set(theirs)
    day, begin, end = ZONES[zone][1]
    # The reference fires twice in a repeated hour; we do not.
    for extra in set(theirs) - set(ours):
        assert f"{day} {begin}" <= shown(extra, zone) < f"{day} {end}"
        assert datetime.fromtimestamp(extra, ZoneInfo(zone)).fold == 1


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("expression", FOLLOWING)
def test_what_follows_the_clock_is_what_the_clock_shows(expression, zone):
    fields = expression.split()
    expanded = croniter.expand(expression)[0]

    def matches(local):
        values = (local.minute, local.hour, local.day, local.month, local.isoweekday() % 7)
        return all(
            field == "*" or value in list(map(int, allowed))
            for field, value, allowed in zip(fields, values, expanded, strict=True)
        )

    minutes = {at for at, _ in clock(zone)}
    ours = [at for at in year(expression, zone) if at in minutes]
    assert ours == [at for at, local in clock(zone) if matches(local)]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("expression", FOLLOWING)
def test_what_follows_the_clock_is_what_the_reference_says_but_for_skipped_times(expression, zone):
    ours, theirs = year(expression, zone), reference(expression, zone)
    # The reference leaves out one time of the repeated half hour; the clock itself says that it is there.
    extra = [datetime.fromtimestamp(at, ZoneInfo(zone)) for at in set(ours) - set(theirs)]
    assert all(zone == "Australia/Lord_Howe" and at.fold == 1 for at in extra)
    assert len(extra) <= 1
    day, _, end = ZONES[zone][0]
    # Where no time of the expression exists that day, the reference fires once when the clock has jumped.
    assert {shown(extra, zone) for extra in set(theirs) - set(ours)} <= {f"{day} {end}"}


@pytest.mark.parametrize("zone", ZONES)
def test_a_daily_time_comes_once_a_day_all_year(zone):
    for expression in ("30 2 * * *", "15 2 * * *", "45 1 * * *", "0 0 * * *"):
        days = [shown(at, zone)[:5] for at in year(expression, zone)]
        assert len(days) in (365, 366)
        assert len(set(days)) == 365


@pytest.mark.parametrize("zone", ZONES)
def test_a_skipped_time_fires_when_the_clock_has_jumped(zone):
    day, begin, end = ZONES[zone][0]
    minute = int(begin[3:]) + 15
    fired = [shown(at, zone) for at in year(f"{minute} 2 * * *", zone)]
    assert f"{day} {end}" in fired
    # Several skipped times are one firing.
    both = [shown(at, zone) for at in year("5,10 2 * * *", zone)]
    assert [one for one in both if one.startswith(day)] == [f"{day} {end}"]


@pytest.mark.parametrize("zone", ZONES)
def test_a_repeated_time_fires_the_first_time_only(zone):
    day, begin, _ = ZONES[zone][1]
    minute = int(begin[3:]) + 10
    fired = [at for at in year(f"{minute} {int(begin[:2])} * * *", zone) if shown(at, zone).startswith(day)]
    assert len(fired) == 1
    assert datetime.fromtimestamp(fired[0], ZoneInfo(zone)).fold == 0
    # Also for those who ask in between, and in the second pass.
    ticks = Ticks(When(cron=f"{minute} {int(begin[:2])} * * *"), zone, 0)
    for later in range(0, 7200, 600):
        assert ticks.after(fired[0] + later) > fired[0] + 80_000


def test_an_interval_counts_seconds_and_does_not_drift():
    ticks = Ticks(read_when("every 90 minutes"), "Europe/Berlin", BEGIN + 7.3)
    at, found = BEGIN, []
    while (at := ticks.after(at)) <= END:
        found.append(at)
    assert found == [BEGIN + 7 + 5400 * count for count in range(1, len(found) + 1)]
    assert len(found) == 365 * 24 * 60 // 90 - 1
    assert Ticks(When(every_seconds=0.1 * 77), "UTC", 0).after(7.7) > 7.7


EXPRESSIONS = st.sampled_from([*NAMED, *FOLLOWING, "* * * * *", "0 0 29 2 *", "30 6 1 1,7 *"])


@given(EXPRESSIONS, st.sampled_from([*ZONES, "UTC", "Asia/Kathmandu"]), st.integers(int(BEGIN), int(END)))
@example("40 * * * *", "Australia/Lord_Howe", int(BEGIN) + 94 * 86_400)
def test_the_tick_after_an_instant_is_the_same_from_wherever_one_asks(expression, zone, at):
    ticks = Ticks(When(cron=expression), zone, 0)
    tick = ticks.after(at + 0.5)
    assert tick > at + 0.5
    assert ticks.after(tick - 1) == tick
    assert ticks.after((at + tick) / 2) == tick


@given(EXPRESSIONS, st.integers(0, 90 * 86_400), st.integers(1, 120))
def test_the_last_ticks_are_the_end_of_all_ticks(expression, length, most):
    ticks = Ticks(When(cron=expression), "Europe/Berlin", 0)
    first = ticks.after(BEGIN)
    until = first + length
    found, at = [first], first
    while (at := ticks.after(at)) <= until and len(found) < 3_000:
        found.append(at)
    if at > until:
        assert ticks.last(most, first, until) == found[-most:]


def test_the_last_tick_of_ten_years_is_found_at_once():
    ticks = Ticks(When(cron="* * * * *"), "Europe/Berlin", 0)
    assert ticks.last(3, BEGIN - 3650 * 86_400, BEGIN) == [BEGIN - 120, BEGIN - 60, BEGIN]
    assert Ticks(When(every_seconds=1.0), "UTC", 0).last(1, 60.0, BEGIN) == [BEGIN]


def test_zones_and_expressions_that_there_are_not():
    for zone in ("Europe/Atlantis", "", "../etc", None):
        with pytest.raises(ConfigurationError, match="there is no time zone"):
            Ticks(When(cron="0 9 * * *"), zone, 0)
    for expression, words in {
        "61 * * * *": r"the minute \(0-59\) is wrong",
        "* 24 * * *": r"the hour \(0-23\)",
        "* * 32 * *": "the day of month",
        "* * * 13 *": r"the month \(1-12",
        "* * * * 9": "the day of week",
        "*/0 * * * *": "the minute",
        "0 0 30 2 *": "the day of month",
    }.items():
        with pytest.raises(ConfigurationError, match=words):
            Ticks(When(cron=expression), "UTC", 0)


def test_a_leap_day_is_found_over_years():
    found = year("0 0 29 2 *", "Europe/Berlin", end=END + 10 * 366 * 86_400)
    assert [datetime.fromtimestamp(at, UTC).year for at in found] == [2028, 2032, 2036]
    assert all(after - before > timedelta(days=1460).total_seconds() for before, after in pairwise(found))
