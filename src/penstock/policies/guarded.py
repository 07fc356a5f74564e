"""A policy that cannot do harm: where its rule fails for a task, the task stands in arrival order."""

from __future__ import annotations

import logging
import math
from typing import Any

from penstock.model.rank import Policy, Rank
from penstock.model.standing import Program, Standing
from penstock.policies.base import advanced

log = logging.getLogger("penstock.policies")

# What a store can hold.
LARGEST_BAND = 2**63 - 1


class Guarded:
    """`policy`, with arrival order for every task for which it raises or gives what is no rank.

    Each kind of failure is logged once as an error; `failures` counts them all.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.name = policy.name
        self.preemptive = policy.preemptive
        self.failures = 0
        self._told: set[tuple[str, str, str | int]] = set()

    def rank(self, task: Any, now: float) -> Rank:
        try:
            return _usable_rank(self.policy.rank(task, now))
        except Exception as error:
            self._failed("rank", error, "arrival order", task)
            return Rank(0, task.entered_at)

    def stepped(self, task: Standing, service: float, seconds: float, now: float) -> Standing:
        try:
            return _usable_standing(self.policy.stepped(task, service, seconds, now))
        except Exception as error:
            self._failed("stepped", error, "only the service counted", task)
            return advanced(task, service, seconds)

    def flow(self, task: Standing) -> str | None:
        try:
            return _usable_flow(self.policy.flow(task))
        except Exception as error:
            self._failed("flow", error, "no flow", task)
            return None

    def weight(self, flow: str) -> float:
        """The share of a flow, relative to others; 1 where the policy gives none of use."""
        given = getattr(self.policy, "weight", None)
        if given is None:
            return 1.0
        try:
            return _usable_weight(given(flow))
        except Exception as error:
            self._failed("weight", error, "weight 1", flow)
            return 1.0

    def _failed(self, what: str, error: Exception, instead: str, of: object) -> None:
        self.failures += 1
        unusable = isinstance(error, _Unusable)
        place = error.kind if isinstance(error, _Unusable) else _line_of(error)
        reason = what, type(error).__name__, place
        if reason in self._told:
            return
        self._told.add(reason)
        log.error(
            "strategy %s failed in %s: %s; such tasks get %s instead. First seen at %r",
            self.name,
            what,
            error if unusable else f"{type(error).__name__}: {error}",
            instead,
            of,
            exc_info=None if unusable else error,
        )


class _Unusable(Exception):
    """A strategy returned something of the wrong `kind`."""

    def __init__(self, kind: str, got: object) -> None:
        super().__init__(f"{kind}, got {got!r}")
        self.kind = kind


def _line_of(error: Exception) -> int:
    """The line where an error came up; one that comes up elsewhere is another reason."""
    trace = error.__traceback__
    line = 0
    while trace is not None:
        line, trace = trace.tb_lineno, trace.tb_next
    return line


_NUMBERS = (float, int)  # no bool, and no subclass that a store would not keep
_STEPPED = ("entered_at", "size", "attained", "seconds_left", "turn_at", "slice_used")


def _usable_rank(rank: Rank) -> Rank:
    if not isinstance(rank, Rank):
        raise _Unusable("not a Rank", rank)
    if type(rank.band) is not int or abs(rank.band) > LARGEST_BAND:
        raise _Unusable("the band is no whole number of 64 bits", rank)
    if type(rank.key) not in _NUMBERS or not math.isfinite(rank.key):
        raise _Unusable("the key is no finite number", rank)
    # A whole number may be larger than a store's.
    return rank if type(rank.key) is float else Rank(rank.band, float(rank.key))


def _usable_standing(standing: Standing) -> Standing:
    if not isinstance(standing, Standing):
        raise _Unusable("not a Standing", standing)
    numbers = [getattr(standing, name) for name in _STEPPED]
    if not all(type(number) in _NUMBERS and math.isfinite(number) for number in numbers):
        raise _Unusable("a Standing with something that is no finite number", standing)
    if type(standing.level) is not int or abs(standing.level) > LARGEST_BAND:
        raise _Unusable("a Standing with a level that is no whole number", standing)
    if not isinstance(standing.program, Program | None) or type(standing.started) is not bool:
        raise _Unusable("a Standing with a program or a start of the wrong kind", standing)
    return standing


def _usable_flow(flow: str | None) -> str | None:
    if flow is not None and not isinstance(flow, str):
        raise _Unusable("not the name of a flow", flow)
    if flow is not None:
        flow.encode()  # what is no text (half a surrogate pair) no store can keep
    return flow


def _usable_weight(weight: float) -> float:
    if not (math.isfinite(weight) and weight > 0):
        raise _Unusable("not a weight above 0", weight)
    return float(weight)
