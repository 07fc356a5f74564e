"""Scheduling strategies, one pure file each; a new one is one file and one line of the registry."""

from penstock.policies.base import Strategy
from penstock.policies.flows import Flows, FlowView
from penstock.policies.guarded import Guarded
from penstock.policies.registry import (
    ALIASES,
    POLICIES,
    defaults_of,
    policy_named,
    policy_names,
    register_policy,
    rule_of,
    settings_of,
)

__all__ = [
    "ALIASES",
    "POLICIES",
    "FlowView",
    "Flows",
    "Guarded",
    "Strategy",
    "defaults_of",
    "policy_named",
    "policy_names",
    "register_policy",
    "rule_of",
    "settings_of",
]
