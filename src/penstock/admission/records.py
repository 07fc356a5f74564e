"""What is in flight and what was counted lately: enough to build any limit anew."""

from __future__ import annotations

from collections.abc import Callable

from penstock.admission.ask import Ask, Grant, Load, Scope
from penstock.admission.history import Amounts, History
from penstock.admission.meter import Meter

Matcher = Callable[[Scope], bool]


class Records:
    """The grants in flight, by number, and the history of what ended."""

    def __init__(self, horizon: float) -> None:
        self.live: dict[int, Grant] = {}
        self.history = History(horizon)

    def remember(self, scope: Scope, amounts: Amounts, sent_at: float, done_at: float, now: float) -> None:
        self.history.add(scope, sent_at, Amounts(amounts.requests, amounts.input, 0, amounts.reserved), now)
        if amounts.output:
            self.history.add(scope, done_at, Amounts(output=amounts.output), now)

    def refill(self, meter: Meter, matches: Matcher, now: float) -> None:
        """Count in an empty meter what was used before it existed."""
        for scope, stamp, amounts in self.history.entries():
            if matches(scope):
                meter.restore(true_load(meter, amounts), stamp, stamp, now)

    def adopt(self, meter: Meter, matches: Matcher, now: float) -> None:
        """Hold in a new meter what is in flight."""
        for grant in self.live.values():
            if matches(scope_of(grant.ask)):
                load = meter.load(grant.ask)
                meter.place(load, now)
                grant.placed = [*grant.placed, (meter, load)]
                if grant.sent_at is not None:
                    meter.sent(load)

    def drop(self, dropped: Callable[[Meter], bool]) -> None:
        """Take meters away from what is in flight."""
        for grant in self.live.values():
            grant.placed = [placed for placed in grant.placed if not dropped(placed[0])]


def scope_of(ask: Ask) -> Scope:
    return ask.endpoint, ask.model, ask.tenant


def true_load(meter: Meter, amounts: Amounts) -> Load:
    """What was counted: at the send as `sent`, at completion as `cap`."""
    if meter.dimension == "tokens" and meter.counts == "actual":
        return Load(amounts.input, 0.0, 0.0, 0.0, amounts.output)
    total = amounts.of(meter.dimension, meter.counts)
    return (
        Load(0, 0.0, 0.0, 0.0, total) if meter.dimension == "output_tokens" else Load(total, 0.0, 0.0, 0.0, 0)
    )
