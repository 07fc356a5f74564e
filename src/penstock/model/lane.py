"""Lane: what a task needs from the gate, fixed at the door."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lane:
    """Tasks of one lane wait in one line. `model` is "" when the type's first step is no model call known at
    the door; `pools` are (name, units) in name order."""

    type: str
    model: str = ""
    pools: tuple[tuple[str, int], ...] = ()
