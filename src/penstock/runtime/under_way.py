"""What an attempt has under way: calls, and steps that are no calls, known by their scopes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class _Step:
    begun: float
    counted: bool = False
    parked: bool = False


class UnderWay:
    """Branches of a handler that have to leave wait here until the others have come to the end of their
    steps: what is paid for is never cut off for a put-back."""

    __slots__ = ("_calls", "_steps", "_turned_away", "_waiting")

    def __init__(self) -> None:
        self._calls = 0
        self._steps: dict[str, _Step] = {}
        self._turned_away: set[str] = set()
        self._waiting: list[asyncio.Future[None]] = []

    def call_begins(self) -> None:
        self._calls += 1

    def call_ended(self) -> None:
        self._calls -= 1
        self._look()

    def begin(self, scope: str, now: float) -> None:
        """A step begins whose inside has this scope."""
        self._steps[scope] = _Step(now)

    def counted(self, scope: str) -> None:
        """A step in this scope was counted: those around it are not, or it would count twice."""
        for step in self._around(scope):
            step.counted = True

    def took(self, scope: str, now: float) -> float | None:
        """The seconds of a step that is over; `None` when what it did was counted already."""
        step = self._steps.get(scope)
        return None if step is None or step.counted else now - step.begun

    def end(self, scope: str) -> None:
        """The step is over, and its result durable if it has one."""
        self._steps.pop(scope, None)
        self._look()

    def turn_away(self, scope: str) -> None:
        """`Parked` was raised into code in this scope: whatever is made of that is no result."""
        self._turned_away.add(scope)

    def turned_away(self, scope: str = "") -> bool:
        """Whether code in this scope or inside of it was told to leave."""
        return any(not scope or one == scope or one.startswith(f"{scope}/") for one in self._turned_away)

    async def others_end(self, scope: str) -> None:
        """Code in this scope cannot go on: wait until nothing runs but what waits here as well."""
        for step in self._around(scope):
            step.parked = True
        self._look()
        while self._busy:
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            await waiting

    def only_around(self, scopes: Sequence[str]) -> bool:
        """Whether nothing is under way but steps inside which code in one of these scopes waits."""
        if self._calls:
            return False
        around = {id(step) for scope in scopes for step in self._around(scope)}
        return all(id(step) in around for step in self._steps.values())

    def _around(self, scope: str) -> Iterator[_Step]:
        for outer, step in self._steps.items():
            if scope == outer or scope.startswith(outer + "/"):
                yield step

    @property
    def _busy(self) -> bool:
        return self._calls > 0 or any(not step.parked for step in self._steps.values())

    def _look(self) -> None:
        if self._waiting and not self._busy:
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                if not one.done():
                    one.set_result(None)
