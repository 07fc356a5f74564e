"""Standing: everything about a task that a scheduling strategy may look at."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields, make_dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Program:
    """A workflow as its tasks share it: `size` and `attained` in the scarce unit, over all its tasks."""

    id: str
    entered_at: float
    size: float = 0.0
    attained: float = 0.0

    @property
    def remaining(self) -> float:
        """Never below 0: a program longer than its estimate is nearly done, as far as anybody knows."""
        return max(0.0, self.size - self.attained)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a task stands. Instants are seconds since the epoch.

    `size` and `attained` are service, whole and received, in the scarce unit (tokens when tokens per minute
    bind, seconds when slots bind); `seconds_left` is the estimated time it still needs, for deadlines.
    `turn_at` is when it last went to the back of a line (0: it has not yet) and `slice_used` what it used
    since: seconds of a time slice, service at a level. `level` is that of a feedback queue; under round robin
    it is 1 in a turn.
    """

    entered_at: float
    priority: int = 20
    deadline: float | None = None
    tenant: str = ""
    size: float = 0.0
    attained: float = 0.0
    seconds_left: float = 0.0
    turn_at: float = 0.0
    slice_used: float = 0.0
    level: int = 0
    started: bool = False
    program: Program | None = None

    @property
    def remaining(self) -> float:
        return max(0.0, self.size - self.attained)


# A standing while it is filled: one that is frozen from the start is filled four times as slowly.
_Draft: Any = make_dataclass(
    "_Draft", [(one.name, one.type, field(default=one.default)) for one in fields(Standing)], slots=True
)

_KEPT = ("size", "attained", "seconds_left", "turn_at", "slice_used", "level", "started")
_NAMES = frozenset(_KEPT)

# Everything that waits is read when the strategy is switched: without the detours of `json.loads`.
_read = json.JSONDecoder().raw_decode


def standing_text(standing: Standing) -> str | None:
    """JSON of what the store's own columns do not tell; `None` when all of it is as at the start."""
    kept = {name: value for name in _KEPT if (value := getattr(standing, name))}
    return json.dumps(kept, separators=(",", ":")) if kept else None


def read_standing(
    text: str | None,
    *,
    entered_at: float,
    priority: int,
    deadline: float | None,
    tenant: str,
    program: Program | None = None,
) -> Standing:
    """The standing that `standing_text` wrote; names of a newer version are ignored."""
    kept: dict[str, Any] = _read(text)[0] if text else {}
    if not _NAMES.issuperset(kept):
        kept = {name: value for name, value in kept.items() if name in _NAMES}
    draft = _Draft(entered_at, priority, deadline, tenant, program=program, **kept)
    draft.__class__ = Standing
    standing: Standing = draft
    return standing
