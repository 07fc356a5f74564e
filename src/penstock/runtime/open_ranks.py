"""The ranks of open tasks, where something else than their own steps changed them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from penstock.runtime.admitter import Admitter
from penstock.runtime.permit import Caller
from penstock.runtime.services import Services

if TYPE_CHECKING:
    from penstock.runtime.runner import Running


class OpenRanks:
    """Gives open tasks their ranks, and what waits of them at the gate its place."""

    def __init__(self, services: Services, admitter: Admitter, open: Mapping[int, Running]) -> None:
        self._services = services
        self._admitter = admitter
        self._open = open

    def switched(self) -> None:
        """Another policy is in force."""
        ranker, now = self._services.ranker, self._services.clock.wall()
        for running in self._open.values():
            standing = running.context.footing.standing
            running.task.rank = ranker.policy.rank(standing, now)
            running.task.flow = ranker.policy.flow(standing)
        self._admitter.rearrange(self._caller_of)

    def served(self, programs: set[str]) -> None:
        """These programs have attained something."""
        changed = False
        for running in self._open.values():
            if running.task.program in programs:
                changed |= running.context.footing.regrade()
        if changed:
            self._admitter.rearrange(self._caller_of)

    def _caller_of(self, seq: int, step: str) -> Caller | None:
        running = self._open.get(seq)
        return None if running is None else running.context.footing.caller(step)
