"""An OpenAI-compatible provider to try and measure against, and an exact witness of its limits.

It knows nothing of the rest of Penstock: what it counts is counted independently of what it measures.
"""

from penstock.simulator.app import create_app
from penstock.simulator.config import Faults, Latency, Limits, Output, Script, SimulatorConfig
from penstock.simulator.server import Simulator, SimulatorThread, SimulatorTransport, serve
from penstock.simulator.stats import request_hash

__all__ = [
    "Faults",
    "Latency",
    "Limits",
    "Output",
    "Script",
    "Simulator",
    "SimulatorConfig",
    "SimulatorThread",
    "SimulatorTransport",
    "create_app",
    "request_hash",
    "serve",
]
