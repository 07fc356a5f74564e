"""The journal of one task in memory: recorded steps answer, new ones are numbered.

The occurrence of a step advances only when a result is recorded, so a call that an SDK retries by itself
keeps its place, and equal calls under way at once are numbered in the order in which they are recorded.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from penstock.errors import JournalMismatch
from penstock.model.step import StepKey, StepRecord

log = logging.getLogger("penstock.journal")


class Journal:
    """What was recorded for a task, and how far this run has used it."""

    def __init__(self, task_id: str, records: Iterable[StepRecord] = (), strict: bool = False) -> None:
        self._task_id = task_id
        self._strict = strict
        self._records = {(record.key, record.occurrence): record for record in records}
        self._unused: dict[str, set[tuple[StepKey, int]]] = {}
        for key, occurrence in self._records:
            self._unused.setdefault(key.scope, set()).add((key, occurrence))
        self._next: dict[StepKey, int] = {}
        self._explained: set[str] = set()
        self.replayed = 0

    def find(self, key: StepKey) -> StepRecord | None:
        """The record that answers the next step of this key; it is used up by this."""
        occurrence = self._next.get(key, 0)
        record = self._records.get((key, occurrence))
        if record is None:
            self._explain_miss(key)
            return None
        self._next[key] = occurrence + 1
        self._unused[key.scope].discard((key, occurrence))
        self.replayed += 1
        return record

    def occurrence(self, key: StepKey) -> int:
        """The occurrence that the next step of this key has."""
        return self._next.get(key, 0)

    def number(self, key: StepKey) -> int:
        """The occurrence under which a result about to be recorded goes in."""
        occurrence = self._next.get(key, 0)
        self._next[key] = occurrence + 1
        return occurrence

    def _explain_miss(self, key: StepKey) -> None:
        unused = self._unused.get(key.scope)
        if not unused or (key.scope in self._explained and not self._strict):
            return
        self._explained.add(key.scope)
        recorded = ", ".join(sorted(f"{other.name} ({other.digest[:8]})" for other, _ in unused)[:5])
        message = (
            f"task {self._task_id}: step {key.name} ({key.digest[:8]}) in scope {key.scope or 'top'!r} was "
            f"not recorded, but {recorded} were and are not used yet; did the code or a prompt change? "
            "Use ctx.now, ctx.random and ctx.uuid for what varies, or retry with --fresh."
        )
        if self._strict:
            raise JournalMismatch(message)
        log.warning(message)
