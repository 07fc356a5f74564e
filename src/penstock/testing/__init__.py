"""The public test kit: a virtual clock, and what every store and every policy must pass. Needs no runner."""

from penstock.testing.clock import VirtualClock
from penstock.testing.policy_suite import ageing_checks, policy_checks, run_policy_suite
from penstock.testing.policy_suite_flows import flow_checks, run_flow_suite
from penstock.testing.store_probe import StorePlace
from penstock.testing.store_suite import run_store_suite, store_checks
from penstock.testing.suite import Check, Report

__all__ = [
    "Check",
    "Report",
    "StorePlace",
    "VirtualClock",
    "ageing_checks",
    "flow_checks",
    "policy_checks",
    "run_flow_suite",
    "run_policy_suite",
    "run_store_suite",
    "store_checks",
]
