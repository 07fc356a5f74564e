"""Which call fails, and how: decided by the seed and the number of the arrival.

Never by chance at run time.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import accumulate

from penstock.simulator.chance import draw_unit
from penstock.simulator.config import FAULT_NAMES, Faults


class Fault(StrEnum):
    """A way a call goes wrong on purpose."""

    ERROR_500 = "error_500"
    ERROR_503 = "error_503"
    OVERLOADED = "overloaded"
    INSUFFICIENT_QUOTA = "insufficient_quota"
    BURST_429 = "burst_429"
    HANG = "hang"
    CUT = "cut"
    MALFORMED = "malformed"


BILLED = frozenset({Fault.HANG, Fault.CUT, Fault.MALFORMED})


def draw_fault(faults: Faults, seed: int, arrival: int) -> Fault | None:
    """The fault of the call that came as number `arrival`, or none; equal for equal arguments."""
    chances = accumulate(getattr(faults, name) for name in FAULT_NAMES)
    drawn = draw_unit(seed, b"fault:%d" % arrival)
    return next(
        (Fault(name) for name, bound in zip(FAULT_NAMES, chances, strict=True) if drawn < bound), None
    )


class FaultDealer:
    """Deals faults to arrivals and remembers the burst of refusals that is going on."""

    def __init__(self, faults: Faults, seed: int) -> None:
        self._faults = faults
        self._seed = seed
        self._burst_until = float("-inf")
        self._slow_down = False
        self._active = any(getattr(faults, name) > 0 for name in FAULT_NAMES)

    def deal(self, arrival: int, now: float) -> Fault | None:
        """The fault of this arrival; every call during a burst is part of it."""
        if not self._active:
            return None
        if now < self._burst_until:
            return Fault.BURST_429
        fault = draw_fault(self._faults, self._seed, arrival)
        if fault is Fault.BURST_429:
            self._burst_until = now + self._faults.burst_seconds
            self._slow_down = draw_unit(self._seed, b"burst:%d" % arrival) < 0.5
        return fault

    @property
    def burst_code(self) -> str:
        """The error code of the present burst."""
        return "slow_down" if self._slow_down else "rate_limit_exceeded"

    def burst_left(self, now: float) -> float:
        """Seconds until the present burst ends."""
        return max(0.0, self._burst_until - now)

    def slowness(self, since_first_call: float) -> float:
        """What latencies are multiplied by at this age of the provider."""
        starting = since_first_call < self._faults.slow_start_seconds
        return self._faults.slow_start_factor if starting else 1.0
