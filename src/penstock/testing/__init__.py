"""The public test kit: try tasks, handlers and crashes in milliseconds; and what every store and every policy
must pass. Needs no runner. Names load on first use, for the pytest plugin is loaded in runs that use none of
them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {
    "Check": "suite",
    "HandlerRun": "handler_run",
    "Harness": "harness",
    "ProviderCall": "simulated_provider",
    "RecordedStep": "handler_run",
    "Report": "suite",
    "SimulatedProvider": "simulated_provider",
    "Stalled": "virtual_time",
    "StorePlace": "store_probe",
    "VirtualClock": "clock",
    "VirtualTimeLoop": "virtual_time",
    "ageing_checks": "policy_suite",
    "flow_checks": "policy_suite_flows",
    "policy_checks": "policy_suite",
    "run_flow_suite": "policy_suite_flows",
    "run_handler": "handler_run",
    "run_policy_suite": "policy_suite",
    "run_store_suite": "store_suite",
    "run_virtually": "virtual_time",
    "store_checks": "store_suite",
    "virtually": "virtual_time",
}

__all__ = [
    "Check",
    "HandlerRun",
    "Harness",
    "ProviderCall",
    "RecordedStep",
    "Report",
    "SimulatedProvider",
    "Stalled",
    "StorePlace",
    "VirtualClock",
    "VirtualTimeLoop",
    "ageing_checks",
    "flow_checks",
    "policy_checks",
    "run_flow_suite",
    "run_handler",
    "run_policy_suite",
    "run_store_suite",
    "run_virtually",
    "store_checks",
    "virtually",
]

if TYPE_CHECKING:
    from penstock.testing.clock import VirtualClock
    from penstock.testing.handler_run import HandlerRun, RecordedStep, run_handler
    from penstock.testing.harness import Harness
    from penstock.testing.policy_suite import ageing_checks, policy_checks, run_policy_suite
    from penstock.testing.policy_suite_flows import flow_checks, run_flow_suite
    from penstock.testing.simulated_provider import ProviderCall, SimulatedProvider
    from penstock.testing.store_probe import StorePlace
    from penstock.testing.store_suite import run_store_suite, store_checks
    from penstock.testing.suite import Check, Report
    from penstock.testing.virtual_time import Stalled, VirtualTimeLoop, run_virtually, virtually


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'penstock.testing' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"penstock.testing.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
