"""The rule for missed firings, jitter, and what stays when a schedule is defined again."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import ConfigurationError
from penstock.model.schedule import (
    GRACE_SECONDS,
    MOST_MADE_UP,
    RETRY_SECONDS,
    Due,
    Schedule,
    advanced,
    begun,
    checked,
    due,
    jittered,
    redefined,
    resumed,
)

NOW = 1_790_000_000.0 // 3600 * 3600


def hourly(**fields):
    return begun(
        checked(
            Schedule("s", **{"when": "hourly", "zone": "UTC", "type": "work", "created_at": NOW} | fields)
        ),
        NOW,
    )


def hours(*counts):
    return tuple(NOW + 3600 * count for count in counts)


@pytest.mark.parametrize("missed", ["skip", "once", "all"])
def test_what_is_on_time_fires(missed):
    schedule = hourly(missed=missed)
    assert schedule.next_at == schedule.fire_at == NOW + 3600
    assert due(schedule, NOW + 3600) == Due(hours(1), NOW + 7200, False)
    assert due(schedule, NOW + 3600 + GRACE_SECONDS).ticks == hours(1)


def test_missed_firings_are_let_go_made_up_for_by_one_or_by_all():
    late = NOW + 5 * 3600 + 600
    assert due(hourly(missed="skip"), late) == Due((), NOW + 6 * 3600, True)
    assert due(hourly(missed="once"), late) == Due(hours(5), NOW + 6 * 3600, True)
    assert due(hourly(missed="all"), late) == Due(hours(1, 2, 3, 4, 5), NOW + 6 * 3600, False)


def test_the_latest_is_on_time_though_others_were_missed():
    at = NOW + 5 * 3600 + 1
    assert due(hourly(missed="skip"), at) == Due(hours(5), NOW + 6 * 3600, True)


def test_making_up_for_all_is_bounded():
    plan = due(hourly(missed="all"), NOW + 400 * 3600)
    assert plan.ticks == hours(*range(400 - MOST_MADE_UP + 1, 401))
    assert plan.passed_over
    seconds = begun(Schedule("s", "every second", "UTC", "work", NOW, missed="all"), NOW)
    plan = due(seconds, NOW + 10 * 366 * 86_400)
    assert len(plan.ticks) == MOST_MADE_UP
    assert plan.following == NOW + 10 * 366 * 86_400 + 1


@given(
    st.integers(0, 400 * 3600),
    st.sampled_from(["skip", "once", "all"]),
    st.sampled_from([0.0, 30.0, 9_999.0]),
)
def test_whoever_looks_next_goes_on_where_the_last_one_was(late, missed, jitter):
    schedule = hourly(missed=missed, jitter_seconds=jitter)
    now = schedule.fire_at + late
    plan = due(schedule, now)
    after = advanced(schedule, plan, len(plan.ticks), None, None, now)
    assert after.next_at == plan.following > max((*plan.ticks, schedule.next_at))
    assert after.fire_at > now - 3600 - jitter
    assert after.version == schedule.version + 1
    if after.fire_at > now:
        assert jittered(schedule, plan.following) > now
    assert all(jittered(schedule, tick) <= now for tick in plan.ticks)


def test_jitter_is_the_same_for_all_who_ask_and_never_reaches_the_next_tick():
    one = hourly(jitter_seconds=600)
    draws = [jittered(one, tick) - tick for tick in hours(*range(1, 200))]
    assert draws == [jittered(hourly(jitter_seconds=600), tick) - tick for tick in hours(*range(1, 200))]
    assert all(0 <= draw < 600 for draw in draws)
    assert min(draws) < 60
    assert max(draws) > 540
    other = replace(one, name="other")
    assert [jittered(other, tick) - tick for tick in hours(*range(1, 200))] != draws
    wide = hourly(jitter_seconds=86_400)
    assert all(jittered(wide, tick) < tick + 3600 for tick in hours(*range(200)))


def test_what_still_waits_for_its_jitter_is_not_due():
    schedule = hourly(jitter_seconds=1800, missed="all")
    second = jittered(schedule, NOW + 7200)
    assert due(schedule, second - 0.001) == Due(hours(1), NOW + 7200, False)
    assert due(schedule, second).ticks == hours(1, 2)


@pytest.mark.parametrize("missed", ["once", "all"])
def test_what_was_refused_is_tried_again(missed):
    schedule = hourly(missed=missed)
    now = NOW + 3600.0
    refused = advanced(schedule, due(schedule, now), 0, None, "the queue is full", now)
    assert (refused.next_at, refused.fire_at) == (NOW + 3600, now + RETRY_SECONDS)
    assert (refused.last_error, refused.fired, refused.last_at) == ("the queue is full", 0, None)
    made = advanced(refused, due(refused, refused.fire_at), 1, "id", None, refused.fire_at)
    assert (made.next_at, made.last_at, made.last_task) == (NOW + 7200, NOW + 3600, "id")
    assert (made.last_error, made.fired, made.version) == (None, 1, 3)


def test_what_was_refused_is_let_go():
    schedule = hourly(missed="skip")
    refused = advanced(schedule, due(schedule, NOW + 3600), 0, None, "the queue is full", NOW + 3600)
    assert (refused.next_at, refused.last_error) == (NOW + 7200, "the queue is full")


def test_of_many_the_rest_is_tried_again():
    schedule = hourly(missed="all")
    now = NOW + 5 * 3600.0
    after = advanced(schedule, due(schedule, now), 2, "second", "full", now)
    assert (after.last_at, after.last_task, after.next_at) == (NOW + 7200, "second", NOW + 10_800)
    assert due(after, after.fire_at).ticks == hours(3, 4, 5)


def test_defining_again_keeps_the_place_in_time():
    old = replace(hourly(), last_at=NOW - 3600, last_task="id", fired=3, enabled=False, version=7)
    later = NOW + 9 * 3600
    same = redefined(old, replace(hourly(data='{"new":1}', missed="all"), created_at=later), later)
    assert (same.next_at, same.created_at, same.data) == (old.next_at, old.created_at, '{"new":1}')
    assert (same.fired, same.last_task, same.enabled, same.version) == (3, "id", False, 8)
    # "hourly" in other words is the same time.
    assert redefined(old, hourly(when="@hourly"), later).next_at == old.next_at
    moved = redefined(old, replace(hourly(when="hourly at :30"), created_at=later), later)
    assert moved.next_at == later + 1800
    assert redefined(old, hourly(zone="Asia/Kathmandu"), later).next_at == later + 900


def test_a_pause_is_not_missed():
    paused = replace(hourly(), enabled=False)
    again = resumed(paused, NOW + 30 * 3600 + 5)
    assert (again.enabled, again.next_at, again.version) == (True, NOW + 31 * 3600, 2)
    assert resumed(again, NOW + 90 * 3600) is again


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": ""}, "name has 1 to 100"),
        ({"name": "a\nb"}, "printable"),
        ({"jitter_seconds": -1}, "jitter is a number of seconds"),
        ({"jitter_seconds": float("nan")}, "jitter is"),
        ({"missed": "never"}, "'skip', 'once' or 'all'"),
        ({"zone": "Mars/Base"}, "there is no time zone 'Mars/Base'"),
        ({"when": "now and then"}, "no day of the week"),
        ({"when": "99 * * * *"}, "the minute"),
    ],
)
def test_what_makes_no_sense_is_named(fields, words):
    with pytest.raises(ConfigurationError, match=words):
        checked(replace(hourly(), **fields))


def test_a_schedule_as_json():
    told = hourly(data='{"a":1}', details='{"tags":["x"]}').as_dict()
    assert told["cron"] == "0 * * * *"
    assert told["every_seconds"] is None
    assert told["next_at"].endswith(":00:00.000Z")
    assert (told["data"], told["tags"], told["last_at"]) == ({"a": 1}, ["x"], None)
