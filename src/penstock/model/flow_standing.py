"""How a flow stands, as a store keeps it for the next life of a dispatcher."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FlowStanding:
    """`counter` is service per weight, with all lifts; `turn` the number of its last charge among those of
    all flows; `waiting_since` the instant since which it has had tasks waiting, `None` where it had none."""

    flow: str
    counter: float
    turn: int
    waiting_since: float | None
