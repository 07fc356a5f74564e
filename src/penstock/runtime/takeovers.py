"""Takeovers: slots that started tasks left to better-ranked ones that had not started."""

from __future__ import annotations


class Takeovers:
    """`count` of them so far."""

    def __init__(self) -> None:
        self.count = 0
        self._left = 0

    def leave(self, slots: int) -> None:
        """So many free slots were refused to those who wait, for a better-ranked task is in the store."""
        self._left = slots

    def claimed(self, tasks: int) -> None:
        """So many tasks were started by a claim."""
        self.count += min(tasks, self._left)
        self._left = 0
