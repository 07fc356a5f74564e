"""What happened, line by line: hashed always, so that two runs of a seed can be compared."""

from __future__ import annotations

import hashlib
from collections import deque

from penstock.testing.simulation.loop import SimulatedClock

LAST_LINES = 60


class Trace:
    """Lines `seconds kind text`; the last ones are kept in any case."""

    def __init__(self, clock: SimulatedClock, keep_all: bool) -> None:
        self._clock, self._begin = clock, clock.now
        self._hash = hashlib.sha256()
        self.lines: deque[str] = deque(maxlen=None if keep_all else LAST_LINES)

    def say(self, kind: str, text: str) -> None:
        line = f"{self._clock.now - self._begin:.6f} {kind} {text}"
        self._hash.update(line.encode())
        self.lines.append(line)

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()[:16]
