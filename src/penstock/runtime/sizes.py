"""How large tasks turn out to be, learned per type, model and tenant: service in tokens, and seconds.

A kind that is not known yet is judged by the next wider one: by its model, then by its type alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from penstock.model.moments import Moments

_MEMORY = 200
_MOST_KINDS = 5_000

Kind = tuple[str, str, str]
"""(type, model, tenant); an empty text stands for all."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a task of some kind takes in the mean; `seen` tasks taught it."""

    mean: float
    seen: int


class Sizes:
    """Learns from ended tasks; `error` tells how far the estimates were off, as a mean of
    |log(true/estimate)|."""

    def __init__(self) -> None:
        self._tokens: dict[Kind, Moments] = {}
        self._seconds: dict[Kind, Moments] = {}
        self.error = Moments(_MEMORY)

    def learn(self, kind: Kind, tokens: float | None, seconds: float | None) -> None:
        """One more task of this kind was completed after so much service in all; `None`: nobody knows."""
        for learned, service in ((self._tokens, tokens), (self._seconds, seconds)):
            if service is not None:
                _learn(learned, kind, service)

    def compare(self, estimate: float, true: float) -> None:
        """A task whose size was estimated turned out to be so large."""
        if estimate > 0 and true > 0:
            self.error.add(abs(math.log(true / estimate)))

    def tokens(self, kind: Kind) -> Expected | None:
        """The tokens such a task uses; `None` while nothing like it has ended."""
        return _known(self._tokens, kind)

    def seconds(self, kind: Kind) -> Expected | None:
        """The seconds of handler and calls such a task takes."""
        return _known(self._seconds, kind)


def _learn(learned: dict[Kind, Moments], kind: Kind, service: float) -> None:
    for wider in dict.fromkeys(_widening(kind)):
        if len(learned) >= _MOST_KINDS and wider not in learned:
            learned.clear()
        learned.setdefault(wider, Moments(_MEMORY)).add(service)


def _widening(kind: Kind) -> tuple[Kind, Kind, Kind]:
    type, model, tenant = kind
    return (type, model, tenant), (type, model, ""), (type, "", "")


def _known(learned: dict[Kind, Moments], kind: Kind) -> Expected | None:
    for wider in _widening(kind):
        found = learned.get(wider)
        if found is not None:
            return Expected(found.mean, found.seen)
    return None
