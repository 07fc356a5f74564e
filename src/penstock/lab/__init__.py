"""The lab: traces replayed in virtual time through the production policies and the production gate."""

from penstock.lab.engine import Replay, replay
from penstock.lab.export import history
from penstock.lab.generate import Recipe, generate
from penstock.lab.limits import LimitedReplay, RateSetup, limited_replay, saturated
from penstock.lab.metrics import Metrics, measure
from penstock.lab.service import ServiceModel, at_load
from penstock.lab.setup import Setup
from penstock.lab.study import Study, run_study
from penstock.lab.traces import Request, Trace, read_trace, write_trace

__all__ = [
    "LimitedReplay",
    "Metrics",
    "RateSetup",
    "Recipe",
    "Replay",
    "Request",
    "ServiceModel",
    "Setup",
    "Study",
    "Trace",
    "at_load",
    "generate",
    "history",
    "limited_replay",
    "measure",
    "read_trace",
    "replay",
    "run_study",
    "saturated",
    "write_trace",
]
