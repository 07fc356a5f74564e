"""What work is charged to its flow, in the scarce unit: an estimate before, the truth after."""

from __future__ import annotations

from typing import Literal

from penstock.admission import Ask
from penstock.model.moments import Moments

Unit = Literal["tokens", "seconds"]

_MEMORY = 50
_MOST_KINDS = 5_000
# What a call takes before anything is known of any.
GUESS_SECONDS = 1.0


class Charges:
    """Where tokens are scarce, a call costs its tokens and everything else nothing; where slots are, all
    costs the seconds that it holds one."""

    def __init__(self, unit: Unit = "tokens") -> None:
        self.unit: Unit = unit
        self._seconds: dict[tuple[str, str], Moments] = {}
        self._all = Moments(_MEMORY)

    def true(self, tokens: int, seconds: float) -> float:
        """The charge for what was really used."""
        return float(tokens) if self.unit == "tokens" else seconds

    def expected(self, ask: Ask) -> float:
        """What a call is expected to cost."""
        if self.unit == "tokens":
            return ask.input_tokens + ask.output_mean
        learned = self._seconds.get((ask.type, ask.model)) or self._seconds.get(("", ask.model)) or self._all
        return learned.mean if learned.seen else GUESS_SECONDS

    def uncertain(self, held: float, seconds: float) -> float:
        """What a call cost of which only that is known: what was held for it, and how long it took."""
        return held if self.unit == "tokens" else seconds

    def learn(self, ask: Ask, seconds: float) -> None:
        """Learn from a call that was answered after so many seconds."""
        if self.unit == "tokens":
            return
        for kind in ((ask.type, ask.model), ("", ask.model)):
            if len(self._seconds) >= _MOST_KINDS and kind not in self._seconds:
                self._seconds.clear()
            self._seconds.setdefault(kind, Moments(_MEMORY)).add(seconds)
        self._all.add(seconds)
