"""The conformance suite of stores: what `penstock.stores.contract` promises, check by check.

    report = run_store_suite(make_place)
    report.demand()

`make_place` gives a fresh, empty place for each check. Any test runner may run the checks one by one instead.
"""

from __future__ import annotations

from collections.abc import Callable

from penstock.testing import (
    store_suite_adding,
    store_suite_budgets,
    store_suite_checkpoints,
    store_suite_claiming,
    store_suite_dependencies,
    store_suite_ending,
    store_suite_flows,
    store_suite_groups,
    store_suite_keeping,
    store_suite_keys,
    store_suite_lines,
    store_suite_money,
    store_suite_nodes,
    store_suite_orders,
    store_suite_parts,
    store_suite_schedules,
    store_suite_sharing,
    store_suite_terms,
    store_suite_waits,
)
from penstock.testing.store_probe import Probe, StorePlace, same
from penstock.testing.suite import Check, Report, named_checks, run_checks

THEMES = (
    store_suite_adding,
    store_suite_claiming,
    store_suite_flows,
    store_suite_lines,
    store_suite_ending,
    store_suite_dependencies,
    store_suite_groups,
    store_suite_terms,
    store_suite_waits,
    store_suite_money,
    store_suite_budgets,
    store_suite_nodes,
    store_suite_keeping,
    store_suite_parts,
    store_suite_keys,
    store_suite_schedules,
    store_suite_orders,
    store_suite_checkpoints,
)


def store_checks() -> list[Check[StorePlace]]:
    """Every check; `run` takes the fresh place of the check."""
    single = [on_one_handle(check) for theme in THEMES for check in named_checks(theme.CHECKS)]
    alone = named_checks(store_suite_sharing.ALONE)
    shared = store_suite_sharing.SHARED + store_suite_schedules.SHARED
    return single + alone + named_checks(shared, shared=True)


def on_one_handle(check: Check[Probe]) -> Check[StorePlace]:
    """The same check on a place: opened before, and found in order and closed after it."""

    def run(place: StorePlace) -> None:
        store = place.open()
        try:
            check.run(Probe(store))
            same(store.verify(), [], "verify after the check")
        finally:
            store.close()

    return Check(check.name, check.promise, run, check.shared)


def run_store_suite(make_place: Callable[[], StorePlace]) -> Report:
    """Run every check; those that open a store twice are skipped where places are not shared."""
    shared = make_place().shared

    def reason(check: Check[StorePlace]) -> str:
        return "" if shared or not check.shared else "this store cannot be opened twice"

    return run_checks(store_checks(), make_place, reason)
