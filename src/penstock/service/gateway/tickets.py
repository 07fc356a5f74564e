"""Tickets: who was told to come back keeps the place in line that its first try had."""

from __future__ import annotations

import hashlib
import heapq
import json
from collections import OrderedDict

Holder = tuple[str, str, str]
"""(tenant, name of the key, digest of path and body)"""


def digest_of(path: str, body: bytes) -> str:
    """What says that a call is the same as an earlier one."""
    return hashlib.sha256(path.encode() + b"\n" + body).hexdigest()[:32]


class Tickets:
    """When callers first came, for as long as a ticket holds. Instants are seconds since the epoch; equal
    calls of one caller have a ticket each, and the oldest is used first."""

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds = seconds
        self._most = most
        self._tickets: OrderedDict[Holder, list[tuple[float, float]]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def give(self, holder: Holder, entered_at: float, now: float) -> None:
        """This call may come back to the place of `entered_at`."""
        while self._count >= self._most:
            self._drop(next(iter(self._tickets)))
        heapq.heappush(self._tickets.setdefault(holder, []), (entered_at, now + self._seconds))
        self._tickets.move_to_end(holder)
        self._count += 1

    def take(self, holder: Holder, now: float) -> float | None:
        """When this call first came, if it has a ticket, which is used up."""
        kept = self._tickets.get(holder)
        found: float | None = None
        while kept and found is None:
            entered_at, until = heapq.heappop(kept)
            self._count -= 1
            found = entered_at if until > now else None
        if kept is not None and not kept:
            del self._tickets[holder]
        return found

    def as_text(self) -> str:
        """Everything, for the next life of the server."""
        rows = [
            [*holder, entered_at, until]
            for holder, kept in self._tickets.items()
            for entered_at, until in kept
        ]
        return json.dumps(rows, separators=(",", ":"))

    def restore(self, text: str | None, now: float) -> None:
        """Take in what `as_text` wrote."""
        for tenant, name, digest, entered_at, until in json.loads(text) if text else ():
            if until > now:
                self.give((tenant, name, digest), entered_at, until - self._seconds)

    def _drop(self, holder: Holder) -> None:
        self._count -= len(self._tickets.pop(holder))
