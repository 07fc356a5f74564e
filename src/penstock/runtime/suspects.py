"""Suspects: tasks that were under way in several crashes. They run one at a time, so that the one that is to
blame is found and the others are not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from penstock.model.states import TaskStatus
from penstock.model.task import Claimed, PutBack
from penstock.runtime.services import Services

SUSPECT_AFTER = 2
WAIT_SECONDS = 0.2


class Suspects:
    """Starts at most one suspect at a time, and not before the others are durably back in the line."""

    def __init__(
        self,
        services: Services,
        start: Callable[[Claimed], None],
        returned: Callable[[list[PutBack]], None],
    ) -> None:
        self._services = services
        self._start = start
        self._returned = returned
        self._running: int | None = None

    def among(self, tasks: Sequence[Claimed]) -> list[Claimed]:
        return [task for task in tasks if task.crashes >= SUSPECT_AFTER]

    def ended(self, seq: int) -> None:
        """An open task ended."""
        if self._running == seq:
            self._running = None

    def isolate(self, suspects: list[Claimed]) -> None:
        """Start one of these claimed tasks, or none; the rest goes back for a moment."""
        chosen = suspects[0] if self._running is None else None
        others = suspects if chosen is None else suspects[1:]
        self._services.slots.give(len(others))
        if chosen is not None:
            self._running = chosen.seq
        now = self._services.clock.wall()
        back = [
            PutBack(task, TaskStatus.QUEUED, now, task.rank, now + WAIT_SECONDS, flow=task.flow)
            for task in others
        ]

        def start(_: object = None) -> None:
            if chosen is not None:
                self._start(chosen)

        def deliver(_: list[bool]) -> None:
            self._returned(back)
            start()

        if back:
            # Where the others could not be put back they stay claimed until the next start.
            self._services.committer.send("put_back", back, deliver, start)
        else:
            start()
