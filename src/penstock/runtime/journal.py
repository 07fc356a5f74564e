"""The journal of one task in memory: recorded steps answer, new ones are numbered.

The occurrence of a step advances only when a result is recorded, so a call that an SDK retries by itself
keeps its place, and equal calls under way at once are numbered in the order in which they are recorded.
"""

from __future__ import annotations

from collections.abc import Iterable

from penstock.errors import StepShown
from penstock.model.step import NOTES, UNFINISHED, StepKey, StepRecord


class ScopeRecords:
    """The recorded steps of one scope in order, and how this run has used them.

    `diverged`: a step was made anew though records wait, as is right after a failure, say; what follows may
    rightly differ from what was recorded.
    """

    __slots__ = ("asked", "diverged", "last_used", "records", "unused", "warned")

    def __init__(self) -> None:
        self.records: list[StepRecord] = []
        self.unused: dict[tuple[StepKey, int], int] = {}
        self.last_used = -1
        self.asked: list[tuple[StepKey, int, bool]] = []
        self.diverged = self.warned = False

    def add(self, record: StepRecord) -> None:
        self.unused[record.key, record.occurrence] = len(self.records)
        self.records.append(record)

    def use(self, key: StepKey, occurrence: int) -> None:
        """This record answers, and is used up by that."""
        self.last_used = max(self.last_used, self.unused.pop((key, occurrence), -1))

    def ask(self, key: StepKey, occurrence: int, found: bool) -> None:
        """The code asks for a step; remembered while it is of use."""
        if self.unused or found:
            self.asked.append((key, occurrence, found))

    def contradicts(self) -> bool:
        """Whether a step that is not recorded does not fit what is.

        Only values count: what a library calls may depend on what it called for other tasks. A repetition
        that lies behind is a second try that was not needed this time.
        """
        return any(
            self.records[place].kind == "value" and (occurrence == 0 or place > self.last_used)
            for (_, occurrence), place in self.unused.items()
        )

    def both_sides(self) -> tuple[list[StepShown], list[StepShown]]:
        """What was recorded, and what the code asked for."""
        return (
            [
                StepShown(
                    one.key.name, one.key.digest, one.occurrence, (one.key, one.occurrence) not in self.unused
                )
                for one in self.records
            ],
            [StepShown(key.name, key.digest, occurrence, found) for key, occurrence, found in self.asked],
        )


class Journal:
    """What was recorded for a task, and how far this run has used it. `version` is that of the handler that
    made the records, where one was noted; `unfinished` are steps that ended without a result."""

    def __init__(self, records: Iterable[StepRecord] = ()) -> None:
        self._records: dict[tuple[StepKey, int], StepRecord] = {}
        self._next: dict[StepKey, int] = {}
        self.scopes: dict[str, ScopeRecords] = {}
        self.unfinished: set[StepKey] = set()
        self.unheard: set[StepKey] = set()
        self.version: str | None = None
        self.replayed = 0
        for record in records:
            if record.kind not in NOTES:
                self._records[record.key, record.occurrence] = record
                self.scopes.setdefault(record.key.scope, ScopeRecords()).add(record)
            elif record.kind == UNFINISHED:
                self.unfinished.add(record.key)
            else:
                self.version = record.key.digest

    @property
    def empty(self) -> bool:
        """Whether nothing was recorded before this run."""
        return not self._records

    def find(self, key: StepKey) -> StepRecord | None:
        """The record that answers the next step of this key; it is used up by this."""
        occurrence = self._next.get(key, 0)
        record = self._records.get((key, occurrence))
        scope = self.scopes.get(key.scope)
        if scope is not None:
            scope.ask(key, occurrence, record is not None)
        if record is None or scope is None:
            return None
        self._next[key] = occurrence + 1
        scope.use(key, occurrence)
        self.replayed += 1
        self.unheard.discard(key)
        return record

    def occurrence(self, key: StepKey) -> int:
        """The occurrence that the next step of this key has."""
        return self._next.get(key, 0)

    def left(self, record: StepRecord) -> None:
        """This was recorded, and its maker was cancelled before it heard of it: it answers whoever asks next,
        and nobody has to ask."""
        self.unheard.add(record.key)
        self._records[record.key, record.occurrence] = record
        self.scopes.setdefault(record.key.scope, ScopeRecords())

    def number(self, key: StepKey) -> int:
        """The occurrence under which a result about to be recorded goes in."""
        occurrence = self._next.get(key, 0)
        self._next[key] = occurrence + 1
        return occurrence
