"""Suspects: tasks that were under way in several crashes. They run one at a time, so that the one that is to
blame is found and the others are not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from penstock.model.states import TaskStatus
from penstock.model.task import Claimed, PutBack
from penstock.runtime.services import Services
from penstock.stores.contract import Rescued, Transaction

log = logging.getLogger("penstock.dispatch")

SUSPECT_AFTER = 2
# The next one is called as soon as the one before has ended; later only where nobody is left to call it.
ASIDE_SECONDS = 60.0


class Suspects:
    """Starts at most one suspect at a time, and not before the others are durably out of the line, where they
    stay until their turn comes."""

    def __init__(
        self,
        services: Services,
        start: Callable[[Claimed], None],
        returned: Callable[[list[PutBack]], None],
        notice: Callable[[Sequence[int]], None],
    ) -> None:
        self._services = services
        self._start = start
        self._returned = returned
        self._notice = notice
        self._running: int | None = None
        self._aside: dict[int, None] = {}

    def among(self, tasks: Sequence[Claimed]) -> list[Claimed]:
        return [task for task in tasks if task.crashes >= SUSPECT_AFTER]

    def ended(self, seq: int) -> None:
        """An open task ended."""
        if self._running == seq:
            self._running = None
            self._call_next()

    def isolate(self, suspects: list[Claimed]) -> None:
        """Start one of these claimed tasks, or none; the rest leaves the line until it is called."""
        chosen = suspects[0] if self._running is None else None
        others = suspects if chosen is None else suspects[1:]
        self._services.slots.give(len(others))
        for task in suspects:
            self._aside.pop(task.seq, None)
        for task in others:
            self._services.pools.give(task)
        if chosen is not None:
            self._running = chosen.seq
        now = self._services.clock.wall()
        back = [
            PutBack(task, TaskStatus.QUEUED, now, task.rank, now + ASIDE_SECONDS, flow=task.flow)
            for task in others
        ]

        def start(_: object = None) -> None:
            if chosen is not None:
                self._start(chosen)

        def deliver(_: list[bool]) -> None:
            self._returned(back)
            self._aside.update(dict.fromkeys(item.task.seq for item in back))
            start()
            if self._running is None:
                self._call_next()  # the one they waited for has ended meanwhile

        if back:
            # Where the others could not be put back they stay claimed until the next start.
            self._services.committer.send("put_back", back, deliver, start)
        else:
            start()

    def _call_next(self) -> None:
        """Bring the next of those aside back into the line."""
        if not self._aside:
            return
        seq = next(iter(self._aside))
        del self._aside[seq]
        now = self._services.clock.wall()

        def call(store: Transaction) -> Rescued:
            return store.promote(now, early=(seq,))

        def called(outcome: Rescued) -> None:
            if outcome.lanes:
                self._notice(sorted(outcome.lanes))
            elif self._running is None:
                self._call_next()  # it was cancelled, or came back by itself

        def failed(error: BaseException) -> None:
            log.warning("a suspect could not be called yet: %s", error)

        self._services.committer.send_run(call, called, failed)
