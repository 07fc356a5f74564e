"""The limits in virtual time, held against a count that is as plain as can be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.simulator.config import Counting, Limits, WindowKind
from penstock.simulator.ledger import WindowLedger
from penstock.simulator.limits import Admission, OverLimit, RateLimiter

ORIGIN = 1000.0
WINDOW = 10.0

gaps = st.one_of(st.just(0.0), st.floats(0.0, 4.0), st.sampled_from([WINDOW, WINDOW / 2, 25.0]))
calls = st.lists(st.tuples(gaps, st.integers(0, 40), st.integers(0, 40), st.integers(0, 8)), max_size=60)


def sliding_peak(log: list[tuple[float, int]]) -> int:
    """The largest total of any sliding window, by trying one that ends at each entry."""
    return max(
        (sum(n for t, n in log[: i + 1] if t + WINDOW > log[i][0]) for i in range(len(log))), default=0
    )


def fixed_totals(log: list[tuple[float, int]]) -> dict[int, int]:
    totals: dict[int, int] = {}
    for time, amount in log:
        index = int((time - ORIGIN) // WINDOW)
        totals[index] = totals.get(index, 0) + amount
    return totals


def bucket_peak(log: list[tuple[float, int]], limit: int) -> float:
    """The most a bucket that drains at limit/window has held."""
    level, at, peak = 0.0, ORIGIN, 0.0
    for time, amount in log:
        level = max(0.0, level - (time - at) * limit / WINDOW) + amount
        at, peak = time, max(peak, level)
    return peak


@pytest.mark.parametrize("kind", ["bucket", "fixed", "sliding"])
@given(calls=calls, limit=st.integers(1, 100), requests=st.integers(1, 20))
def test_never_more_than_the_limit_is_admitted(
    kind: WindowKind, calls: list[tuple[float, int, int, int]], limit: int, requests: int
) -> None:
    limiter = RateLimiter(Limits(requests, limit, WINDOW, kind, "reserved"), ORIGIN)
    tokens: list[tuple[float, int]] = []
    arrivals: list[tuple[float, int]] = []
    now = ORIGIN
    for gap, given_input, cap, _ in calls:
        now += gap
        if isinstance(limiter.admit(given_input, cap, now), Admission):
            tokens.append((now, given_input + cap))
            arrivals.append((now, 1))
    for log, most, book in ((tokens, limit, limiter.tokens), (arrivals, requests, limiter.requests)):
        if kind == "sliding":
            assert sliding_peak(log) <= most
        elif kind == "fixed":
            assert max(fixed_totals(log).values(), default=0) <= most
        else:
            assert bucket_peak(log, most) <= most + 1e-4
        assert book.report(kind)["violations"] == 0


@pytest.mark.parametrize("kind", ["bucket", "fixed", "sliding"])
@pytest.mark.parametrize("counting", ["actual", "reserved", "reserved_refund"])
@given(calls=calls, limit=st.integers(1, 100))
def test_a_refused_call_fits_when_it_was_told_to_come_back_and_not_before(
    kind: WindowKind, counting: Counting, calls: list[tuple[float, int, int, int]], limit: int
) -> None:
    limiter = RateLimiter(Limits(None, limit, WINDOW, kind, counting), ORIGIN)
    now = ORIGIN
    for gap, given_input, cap, _ in calls:
        now += gap
        outcome = limiter.admit(given_input, cap, now)
        if isinstance(outcome, Admission):
            limiter.complete(outcome, cap // 2, now)
        elif outcome.retry_after is None:
            assert outcome.requested > limit
        else:
            assert isinstance(limiter.admit(given_input, cap, now + outcome.retry_after * 0.9), OverLimit)
            now += outcome.retry_after + 1e-5
            admitted = limiter.admit(given_input, cap, now)
            assert isinstance(admitted, Admission)
            limiter.complete(admitted, 0, now)


@pytest.mark.parametrize("kind", ["bucket", "fixed", "sliding"])
@pytest.mark.parametrize("counting", ["actual", "reserved", "reserved_refund"])
@given(calls=calls, limit=st.integers(1, 100))
def test_a_gauge_is_full_again_after_its_reset(
    kind: WindowKind, counting: Counting, calls: list[tuple[float, int, int, int]], limit: int
) -> None:
    limiter = RateLimiter(Limits(None, limit, WINDOW, kind, counting), ORIGIN)
    now = ORIGIN
    for gap, given_input, cap, _ in calls:
        now += gap
        outcome = limiter.admit(given_input, cap, now)
        if isinstance(outcome, Admission):
            limiter.complete(outcome, cap // 3, now)
    gauge = limiter.gauge("tokens", now)
    assert gauge is not None
    assert (gauge.reset_after == 0) == (gauge.remaining == limit) or kind == "bucket"
    later = limiter.gauge("tokens", now + gauge.reset_after + 1e-6)
    assert later is not None
    assert later.remaining == limit


@given(calls=calls, limit=st.integers(1, 60))
def test_the_books_find_every_violation_and_no_other(
    calls: list[tuple[float, int, int, int]], limit: int
) -> None:
    ledger = WindowLedger(WINDOW, ORIGIN, limit)
    log: list[tuple[float, int]] = []
    now = ORIGIN
    for gap, amount, _, _ in calls:
        now += gap
        ledger.add(amount, now)
        log.append((now, amount))
    report = ledger.report("sliding")
    totals = fixed_totals(log)
    assert report["peak_sliding"] == sliding_peak(log)
    assert report["windows"] == [totals.get(index, 0) for index in range(len(report["windows"]))]
    assert report["violations_fixed"] == sum(total > limit for total in totals.values())
    assert (report["violations_sliding"] > 0) == (sliding_peak(log) > limit)
    overdrawn = bucket_peak(log, limit)
    if abs(overdrawn - limit) > 1e-4:
        assert (report["violations_bucket"] > 0) == (overdrawn > limit)


@given(calls=calls, counting=st.sampled_from(["actual", "reserved_refund"]))
def test_windows_end_up_with_what_was_truly_used(
    calls: list[tuple[float, int, int, int]], counting: Counting
) -> None:
    limiter = RateLimiter(Limits(None, 10**6, WINDOW, "sliding", counting), ORIGIN)
    now = ORIGIN
    pending: list[tuple[Admission, int]] = []
    used = 0
    for gap, given_input, cap, order in calls:
        now += gap
        admission = limiter.admit(given_input, cap, now)
        assert isinstance(admission, Admission)
        pending.append((admission, cap // 2))
        used += given_input + cap // 2
        if order < len(pending):
            limiter.complete(*pending.pop(order), now)
    for admission, output in pending:
        limiter.complete(admission, output, now)
    assert sum(limiter.tokens.report("sliding")["windows"]) == used


def test_output_counted_late_can_pass_the_limit_and_is_seen() -> None:
    limiter = RateLimiter(Limits(None, 100, WINDOW, "sliding"), ORIGIN)
    admission = limiter.admit(60, None, ORIGIN)
    assert isinstance(admission, Admission)
    limiter.complete(admission, 50, ORIGIN + 1)
    report = limiter.tokens.report("sliding")
    assert (report["windows"], report["violations"], report["peak_sliding"]) == ([110], 1, 110)
    assert report["utilisation"] == [1.1]


def test_a_window_edge_belongs_to_the_next_window() -> None:
    for kind in ("fixed", "sliding"):
        limiter = RateLimiter(Limits(1, None, WINDOW, kind), ORIGIN)
        assert isinstance(limiter.admit(1, 1, ORIGIN), Admission)
        assert isinstance(limiter.admit(1, 1, ORIGIN + WINDOW - 1e-6), OverLimit)
        assert isinstance(limiter.admit(1, 1, ORIGIN + WINDOW), Admission)


def test_a_phase_makes_the_first_window_shorter() -> None:
    limiter = RateLimiter(Limits(1, None, WINDOW, "fixed", phase_seconds=7.0), ORIGIN)
    assert isinstance(limiter.admit(1, 1, ORIGIN), Admission)
    refused = limiter.admit(1, 1, ORIGIN + 1)
    assert isinstance(refused, OverLimit)
    assert refused.retry_after == pytest.approx(2.0)


def test_a_refund_gives_room_and_a_kept_reservation_does_not() -> None:
    for counting, fits in (("reserved_refund", True), ("reserved", False)):
        for kind in ("bucket", "fixed", "sliding"):
            limiter = RateLimiter(Limits(None, 100, WINDOW, kind, counting), ORIGIN)
            admission = limiter.admit(10, 90, ORIGIN)
            assert isinstance(admission, Admission)
            limiter.complete(admission, 10, ORIGIN + 0.1)
            assert isinstance(limiter.admit(10, 60, ORIGIN + 0.1), Admission) is fits


@pytest.mark.parametrize(
    "wrong", [{"kind": "leaky"}, {"counting": "none"}, {"window_seconds": 0}, {"tokens_per_window": 0}]
)
def test_impossible_limits_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="limits:"):
        Limits(**wrong)  # type: ignore[arg-type]
