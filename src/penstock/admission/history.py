"""What was counted lately, so that a limit set now knows what was used before it existed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

from penstock.admission.ask import Counts, Dimension, Scope

_WIDTH = 0.25
_MOST = 20_000


class Amounts(NamedTuple):
    """What one call has counted so far, in every way a provider may count."""

    requests: int = 0
    input: int = 0
    output: int = 0
    reserved: int = 0

    def of(self, dimension: Dimension, counts: Counts) -> int:
        if dimension == "requests":
            return self.requests
        if dimension == "tokens":
            return self.reserved if counts == "reserved" else self.input + self.output
        return self.input if dimension == "input_tokens" else self.output


class History:
    """Amounts per scope in slices of a quarter second, for `horizon` seconds and at most 20,000 slices."""

    def __init__(self, horizon: float) -> None:
        self.horizon = horizon
        self._slices: OrderedDict[tuple[int, Scope], list[float]] = OrderedDict()

    def add(self, scope: Scope, stamp: float, amounts: Amounts, now: float) -> None:
        key = (int(stamp // _WIDTH), scope)
        found = self._slices.get(key)
        if found is None:
            self._slices[key] = [stamp, *amounts]
            self._trim(now)
            return
        found[0] = max(found[0], stamp)
        for place, amount in enumerate(amounts, 1):
            if amount:
                found[place] += amount

    def _trim(self, now: float) -> None:
        while self._slices:
            oldest = next(iter(self._slices.values()))
            if len(self._slices) <= _MOST and oldest[0] + self.horizon > now:
                return
            self._slices.popitem(last=False)

    def entries(self) -> Iterator[tuple[Scope, float, Amounts]]:
        """Everything kept, each slice as of its youngest entry (the careful side)."""
        for (_, scope), (stamp, *amounts) in self._slices.items():
            yield scope, stamp, Amounts(*(int(amount) for amount in amounts))
