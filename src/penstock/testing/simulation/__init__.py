"""The whole runtime in virtual time: real store, gate, dispatcher, runner and journal against a fake
provider, with faults drawn from a seed. A seed that fails replays exactly.

    python -m penstock.testing.simulation --seeds 2000
    python -m penstock.testing.simulation --seed 17 --trace
"""

from penstock.testing.simulation.loop import Life, SimulatedClock, Stuck, VirtualLoop
from penstock.testing.simulation.scenario import Scenario, draw
from penstock.testing.simulation.world import Outcome, World, simulate

__all__ = [
    "Life",
    "Outcome",
    "Scenario",
    "SimulatedClock",
    "Stuck",
    "VirtualLoop",
    "World",
    "draw",
    "simulate",
]
