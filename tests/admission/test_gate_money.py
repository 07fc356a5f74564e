"""Budgets at the gate: who waits, who is refused, and what stays booked."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from penstock.admission import Admit, Ask, Budget, Gate, GateLimits, PastMoney, Reject, Wait, period_ends

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC).timestamp()
DOLLAR = 10**12


def gate(*budgets: Budget, zone: str = "UTC", wall: float = NOON) -> Gate:
    return Gate(GateLimits(budgets=budgets, zone=zone, learn=False), 100.0, wall)


def spend(at: Gate, cost: int, true: int, now: float = 100.0, tenant: str = "") -> None:
    grant = at.admit(Ask("m", tenant, cost=cost), now)
    at.sent(grant, now)
    at.settle(grant, None, true, now)


def test_a_call_waits_while_other_holds_could_still_make_room() -> None:
    tight = gate(Budget(DOLLAR))
    held = tight.admit(Ask("m", cost=DOLLAR * 8 // 10), 100.0)
    ask = Ask("m", cost=DOLLAR * 4 // 10)
    assert tight.consider(ask, 100.0) == Wait("money", "total budget", None)
    tight.settle(held, None, DOLLAR // 10, 101.0)
    assert isinstance(tight.consider(ask, 101.0), Admit)


def test_a_spent_total_budget_refuses_and_names_the_way_out() -> None:
    tight = gate(Budget(DOLLAR))
    spend(tight, DOLLAR, DOLLAR)
    decision = tight.consider(Ask("m", cost=1), 100.0)
    assert isinstance(decision, Reject)
    assert decision.code == "budget_exhausted"
    assert "total budget of 1 USD" in decision.message
    assert "raise budget" in decision.message


def test_a_daily_budget_waits_for_midnight_of_its_zone() -> None:
    berlin = gate(Budget(DOLLAR, "day"), zone="Europe/Berlin")
    spend(berlin, DOLLAR, DOLLAR)
    ask = Ask("m", cost=DOLLAR // 2)
    midnight = datetime(2026, 3, 11, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
    assert berlin.consider(ask, 100.0) == Wait("period", "daily budget", 100.0 + midnight - NOON)
    assert isinstance(berlin.consider(ask, 100.0 + midnight - NOON), Admit)


def test_a_call_dearer_than_the_whole_budget_is_refused() -> None:
    decision = gate(Budget(DOLLAR, "hour")).never_fits(Ask("m", cost=2 * DOLLAR))
    assert isinstance(decision, Reject)
    assert "more than the whole hourly budget" in decision.message


def test_an_unknown_price_matters_only_with_a_budget() -> None:
    ask = Ask("m", "a", cost_known=False)
    assert isinstance(gate().consider(ask, 100.0), Admit)
    assert isinstance(gate(Budget(DOLLAR, tenant="b")).consider(ask, 100.0), Admit)
    decision = gate(Budget(DOLLAR, tenant="a")).consider(ask, 100.0)
    assert isinstance(decision, Reject)
    assert decision.code == "price_unknown"
    assert "set a price for m" in decision.message


def test_uncertain_money_stays_booked() -> None:
    tight = gate(Budget(DOLLAR), Budget(DOLLAR, "day"))
    grant = tight.admit(Ask("m", cost=DOLLAR), 100.0)
    tight.sent(grant, 100.0)
    tight.uncertain(grant, 101.0)
    assert [(use.spent, use.held, use.uncertain) for use in tight.money(101.0)] == [(0, 0, DOLLAR)] * 2
    assert isinstance(tight.consider(Ask("m", cost=1), 101.0), Reject)


def test_what_is_billed_beyond_the_estimate_is_booked() -> None:
    tight = gate(Budget(DOLLAR))
    spend(tight, DOLLAR // 2, 2 * DOLLAR)
    assert tight.money(100.0)[0].spent == 2 * DOLLAR


def test_a_budget_set_later_knows_what_was_spent_before() -> None:
    late = gate()
    spend(late, DOLLAR, DOLLAR, tenant="a")
    late.reconfigure(GateLimits(budgets=(Budget(DOLLAR, "day", tenant="a"),), learn=False), 101.0)
    assert isinstance(late.consider(Ask("m", "a", cost=1), 101.0), Wait)
    late.reconfigure(
        GateLimits(budgets=(Budget(DOLLAR, "day", tenant="a"),), zone="Asia/Tokyo", learn=False), 101.0
    )
    assert isinstance(late.consider(Ask("m", "a", cost=1), 101.0), Wait)


def test_a_wall_clock_set_back_finds_the_old_books() -> None:
    jumpy = gate(Budget(DOLLAR, "day"))
    spend(jumpy, DOLLAR, DOLLAR)
    jumpy.anchor(NOON + 86_400, 100.0)
    assert jumpy.money(100.0)[0].spent == 0
    jumpy.anchor(NOON, 100.0)
    assert jumpy.money(100.0)[0].spent == DOLLAR


def test_restored_money_counts_in_its_own_period() -> None:
    new = gate(Budget(DOLLAR), Budget(DOLLAR, "day"), Budget(DOLLAR, tenant="a"))
    today = period_ends(NOON, "UTC").day_start
    new.restore_money(
        [
            PastMoney("a", "total", 0.0, 300, 20),
            PastMoney("b", "total", 0.0, 5),
            PastMoney("a", "day", today, 30),
            PastMoney("a", "day", today - 86_400, 7),
        ]
    )
    assert [(use.spent, use.uncertain) for use in new.money(100.0)] == [(305, 20), (30, 0), (300, 20)]


def test_days_are_23_or_25_hours_where_clocks_change() -> None:
    zone = ZoneInfo("Europe/Berlin")
    for day, hours in (
        (datetime(2026, 3, 29, 12, tzinfo=zone), 23),
        (datetime(2026, 10, 25, 12, tzinfo=zone), 25),
    ):
        periods = period_ends(day.timestamp(), "Europe/Berlin")
        assert periods.day_end - periods.day_start == hours * 3600
    seen = set()
    start = period_ends(datetime(2026, 10, 25, 12, tzinfo=zone).timestamp(), "Europe/Berlin").day_start
    for quarter in range(25 * 4):
        wall = start + quarter * 900
        periods = period_ends(wall, "Europe/Berlin")
        assert periods.hour_start <= wall < periods.hour_end
        seen.add(periods.hour_start)
    assert len(seen) == 25
