"""Holds a dispatcher back: it claims as many tasks as it is told to, and none by itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from penstock.model.task import Claimed
from penstock.runtime.dispatcher import Dispatcher
from penstock.runtime.heads import Rival


class Hold:
    """Stands before a dispatcher and its claims. `claimed` are the tasks it took since it was let."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._dispatch, self._claim, self._rival = (
            dispatcher._dispatch,
            dispatcher.claims.make,
            dispatcher.rival,
        )
        self._allowed: float = 0
        self.claimed: list[Claimed] = []
        for owner, name, own in (
            (dispatcher, "_dispatch", self._dispatch_if_allowed),
            (dispatcher, "rival", self._rival_if_allowed),
            (dispatcher.claims, "make", self._claim_what_is_allowed),
        ):
            setattr(owner, name, own)

    def let(self, tasks: float = math.inf) -> None:
        """So many tasks may start, at once."""
        self.claimed = []
        self._allowed = tasks
        self._dispatcher.dispatch_soon()

    def close(self) -> None:
        """No more tasks start."""
        self._allowed = 0

    @property
    def busy(self) -> bool:
        """Whether a task is open, or about to be."""
        return bool(self._dispatcher.open) or self._dispatcher._claiming

    def _dispatch_if_allowed(self) -> None:
        if self._allowed > 0:
            self._dispatch()
        else:
            self._dispatcher._scheduled = False

    def _rival_if_allowed(self) -> Rival | None:
        # What may not start must not keep steps of what has started from going.
        return self._rival() if self._allowed > 0 else None

    def _claim_what_is_allowed(
        self,
        wanted: dict[int, int],
        most: int,
        deliver: Callable[[list[Claimed], set[int]], None],
        fail: Callable[[BaseException], None],
        needs: Any,
    ) -> None:
        def claimed(tasks: list[Claimed], empty: set[int]) -> None:
            self._allowed -= len(tasks)
            self.claimed += tasks
            deliver(tasks, empty)

        self._claim(wanted, int(min(most, self._allowed)), claimed, fail, needs)
