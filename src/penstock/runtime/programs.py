"""The programs that tasks here belong to: the latest in memory, all of them in the store."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable

from penstock.model.standing import Program
from penstock.stores.contract import Reader

MOST = 20_000


class Programs:
    """Forgets those that nobody asked about for longest; they are read again with their next claim.
    Thread-safe, for claims read them on the thread of the store."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._known: OrderedDict[str, Program] = OrderedDict()
        self._guessed: set[str] = set()
        """joined here while others may be known to the store alone"""
        self._all_known = True
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, id: str) -> Program | None:
        """The program as it is known here."""
        with self._lock:
            if (known := self._known.get(id)) is not None:
                self._known.move_to_end(id)
            return known

    def put(self, program: Program) -> None:
        """How the program stands now."""
        with self._lock:
            self._put(program)

    def join(self, id: str, entered_at: float, size: float) -> Program:
        """The program after a task of this size joined it."""
        with self._lock:
            known = self._known.get(id)
            if known is None:
                joined = Program(id, entered_at, size)
                if not self._all_known:
                    self._guessed.add(id)
            else:
                joined = Program(id, known.entered_at, known.size + size, known.attained)
            self._put(joined)
            return joined

    def learn(self, reader: Reader, ids: Iterable[str]) -> None:
        """Get to know these programs, as the store has them."""
        for id in set(ids):
            if id not in self._known or id in self._guessed:
                found = reader.program(id)
                if found is not None:
                    with self._lock:
                        self._guessed.discard(id)
                        self._put(Program(id, *found))

    def recall(self, reader: Reader) -> None:
        """Go on from what programs had attained in an earlier life of this node."""
        latest = reader.latest_programs(self._most)
        with self._lock:
            for one in reversed(latest):
                self._put(one)
            self._all_known = self._all_known and len(latest) < self._most

    def _put(self, program: Program) -> None:
        self._known[program.id] = program
        self._known.move_to_end(program.id)
        if len(self._known) > self._most:
            gone, _ = self._known.popitem(last=False)
            self._guessed.discard(gone)
            self._all_known = False
