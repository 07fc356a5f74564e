"""What is remembered beside the steps of an attempt, with the first record that comes after it."""

from __future__ import annotations

from penstock.model.step import UNFINISHED, VERSION, StepKey
from penstock.runtime.journal import Journal


class Notes:
    """Steps that came to nothing before the code went on to others, and the version of the handler where it
    is another than the one that the task came with."""

    __slots__ = ("_begun", "_came_with", "version")

    def __init__(self, came_with: str) -> None:
        self._begun: dict[str, dict[StepKey, int]] = {}
        self._came_with = self.version = came_with

    def begins(self, key: StepKey) -> None:
        """A step begins that its scope waits for."""
        begun = self._begun.setdefault(key.scope, {})
        begun[key] = begun.get(key, 0) + 1

    def clear(self) -> None:
        """Forget what has begun."""
        self._begun.clear()

    def due(self, journal: Journal, key: StepKey) -> list[tuple[StepKey, str]]:
        """The keys and kinds of what goes with the record of this step."""
        # One step at a time is made by whoever owns the scope: the others came to nothing.
        notes = [(begun, UNFINISHED) for begun in self._in_vain(key) if begun not in journal.unfinished]
        if journal.empty and journal.version is None and self.version != self._came_with:
            notes.append((StepKey("", VERSION, self.version), VERSION))
        return notes

    def given(self, journal: Journal, key: StepKey) -> None:
        """What was due is on its way."""
        journal.unfinished.update(self._in_vain(key))
        self._begun.pop(key.scope, None)
        if journal.empty and self.version != self._came_with:
            journal.version = self.version

    def _in_vain(self, key: StepKey) -> list[StepKey]:
        """What was begun before the step that is recorded now; it may have been tried in vain itself."""
        tries = self._begun.get(key.scope, {})
        return [begun for begun, times in tries.items() if begun != key or times > 1]
