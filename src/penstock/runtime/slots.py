"""Slots: the right to run handler code or a call."""

from __future__ import annotations

from collections.abc import Callable


class Slots:
    """Counts slots; `on_free` is called whenever one comes back. The limit may be changed while slots are
    out."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0
        self.claiming = 0
        """of those taken, how many are set aside for tasks that are just being claimed"""
        self.on_free: list[Callable[[], None]] = []

    @property
    def free(self) -> int:
        return self.limit - self.taken

    @property
    def busy(self) -> int:
        """Handlers that run and calls in flight."""
        return self.taken - self.claiming

    def take(self, count: int = 1) -> None:
        self.taken += count

    def give(self, count: int = 1) -> None:
        self.taken -= count
        for notify in self.on_free:
            notify()
