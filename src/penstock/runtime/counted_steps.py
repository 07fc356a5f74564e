"""Steps that are no calls: begun, counted and recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from penstock.errors import Parked
from penstock.model.clock import Clock
from penstock.model.step import StepKey
from penstock.runtime.footing import Footing
from penstock.runtime.recorder import Recorder
from penstock.runtime.under_way import UnderWay


class CountedSteps:
    """The steps of one attempt. Each that made no calls, and none that was counted itself, is charged when it
    ends; what it was goes into the store with its record."""

    __slots__ = ("_clock", "_footing", "_recorder", "_under_way")

    def __init__(self, recorder: Recorder, footing: Footing, under_way: UnderWay, clock: Clock) -> None:
        self._recorder = recorder
        self._footing = footing
        self._under_way = under_way
        self._clock = clock

    async def begin(self, step: StepKey) -> str:
        """The scope of what runs inside the step, which has begun."""
        scope = await self._recorder.scope_of(step)
        self._under_way.begin(scope, self._clock.monotonic())
        return scope

    async def end(self, step: StepKey, scope: str, result: Any, validate: Callable[[Any], Any] | None) -> Any:
        """The result as a replay of this step would give it; its record is durable then."""
        try:
            if self._under_way.turned_away(scope):
                raise Parked  # what it did caught this already
            self._count(scope)
            return await self._recorder.keep(step, result, validate)
        finally:
            self._under_way.end(scope)

    def failed(self, scope: str, error: BaseException) -> None:
        """The step raised. Its work counts all the same, unless it was told to leave."""
        if isinstance(error, Exception):
            self._count(scope)
        self._under_way.end(scope)

    def _count(self, scope: str) -> None:
        seconds = self._under_way.took(scope, self._clock.monotonic())
        if seconds is not None:
            self._under_way.counted(scope)
            self._footing.worked(seconds)
