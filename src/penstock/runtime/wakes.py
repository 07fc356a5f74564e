"""Brings what a transaction set off to those in memory whom it concerns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from penstock.model.waits import Effects
from penstock.runtime.task_waits import TaskWaits
from penstock.stores.contract import Transaction


class Wakes:
    """The open tasks of a node that wait, and a rider that hears in every transaction what it set off."""

    def __init__(
        self,
        on_effects: Callable[[Effects], None],
        patience: Callable[[], float],
        full: Callable[[], bool] = lambda: False,
    ) -> None:
        self.patience = patience
        """how many seconds a durable wait may be spent in memory"""
        self.full = full
        """whether no more tasks may be open"""
        self._on_effects = on_effects
        self._waiting: dict[int, TaskWaits] = {}
        self._written = Effects()
        self._kept: deque[Effects] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, seq: int, waits: TaskWaits) -> None:
        self._waiting[seq] = waits

    def leave(self, seq: int, waits: TaskWaits) -> None:
        if self._waiting.get(seq) is waits:  # not those of a later claim
            del self._waiting[seq]

    def poke(self, seq: int, what: str | None = None) -> None:
        """Something came for an open task: its handler looks."""
        waits = self._waiting.get(seq)
        if waits is not None:
            waits.poke(what)

    def look_all(self) -> None:
        """The clock was set: all who wait in memory see whether their time has come."""
        for waits in list(self._waiting.values()):
            waits.poke()

    def leave_all(self) -> None:
        """The node stops: nobody waits in memory any more."""
        for waits in list(self._waiting.values()):
            waits.leave()

    # The rider; on the thread of the store

    def write(self, store: Transaction) -> None:
        self._written = store.effects()

    def kept(self) -> None:
        if self._written:
            self._kept.append(self._written)

    # On the loop

    def committed(self) -> None:
        """A transaction is durable."""
        while self._kept:
            effects = self._kept.popleft()
            for seq, what in effects.woken:
                self.poke(seq, what)
            self._on_effects(effects)
