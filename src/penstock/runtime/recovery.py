"""What a gate must know of the time before it: windows, budgets and estimates, read back from the store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from penstock.admission import Gate, Past, PastMoney, period_ends
from penstock.model.flow_standing import FlowStanding
from penstock.model.reservation import ReservationState, ReservationView
from penstock.stores.contract import Reader, Spend, Transaction

SLICE_SECONDS = 900
LONGEST_WINDOW_SECONDS = 2 * 3600.0
COUNTED_IN = "flows_counted_in"
"""setting: the unit of the flows' counters"""
FORGOTTEN = "forgotten_spending"
"""setting: pico-dollars spent and uncertain before somebody reset the total"""


def restore_gate(
    gate: Gate, store: Reader, zone: str, wall: float, monotonic: float
) -> list[ReservationView]:
    """Fill a new gate from the store; the settled calls of the last hours, oldest first, for the
    estimators."""
    recent = store.recent_reservations(wall - LONGEST_WINDOW_SECONDS)
    gate.restore([_past(call, wall) for call in recent], monotonic)
    gate.restore_money(past_money(store.spend(), zone, wall))
    gate.ledger.forget_total(*_forgotten(store))
    return [call for call in recent if call.state is ReservationState.SETTLED]


def flows_as_left(store: Transaction, unit: str) -> list[FlowStanding]:
    """How flows stood when the store was left; all alike where they were counted in another unit."""
    flows = store.flow_standings()
    if (store.setting(COUNTED_IN) or unit) != unit:
        flows = [replace(one, counter=0.0) for one in flows]
        store.keep_flows(flows)
    store.set_setting(COUNTED_IN, unit)
    return flows


def forget_spending(store: Transaction) -> None:
    """Let the total begin anew, over restarts too, with what is spent from now on."""
    spending = store.spend()
    forgotten = sum(row.cost for row in spending), sum(row.uncertain for row in spending)
    store.set_setting(FORGOTTEN, json.dumps(forgotten))


def _forgotten(store: Reader) -> tuple[int, int]:
    text = store.setting(FORGOTTEN)
    spent, uncertain = json.loads(text) if text else (0, 0)
    return spent, uncertain


def _past(call: ReservationView, wall: float) -> Past:
    certain = call.state is ReservationState.SETTLED
    return Past(
        model=call.model,
        tenant=call.tenant,
        endpoint=call.endpoint,
        age_sent=wall - (call.sent_at if call.sent_at is not None else call.at),
        age_done=None if call.done_at is None else wall - call.done_at,
        requests=0 if call.state is ReservationState.RELEASED else 1,
        input=call.input_tokens if certain else call.input_held,
        output=call.output_tokens if certain else call.output_held,
        held=call.output_held,
        reserved=call.input_held + call.output_held,
    )


def past_money(spending: Sequence[Spend], zone: str, wall: float) -> list[PastMoney]:
    """What each tenant spent in all, today and in this hour, from quarters of an hour."""
    periods = period_ends(wall, zone)
    past: list[PastMoney] = []
    for tenant in sorted({row.tenant for row in spending}):
        rows = [row for row in spending if row.tenant == tenant]
        for period, start in (("total", 0.0), ("day", periods.day_start), ("hour", periods.hour_start)):
            within = [row for row in rows if row.slice * SLICE_SECONDS >= start]
            past.append(
                PastMoney(
                    tenant,
                    period,  # type: ignore[arg-type]
                    start,
                    sum(row.cost for row in within),
                    sum(row.uncertain for row in within),
                )
            )
    return past
