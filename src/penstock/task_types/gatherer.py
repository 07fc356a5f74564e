"""Small embedding tasks that run at the same time share a call.

The first one waits a moment for others and makes the call for all of them, in its own place: limits, tokens
and money of the call are booked on that task. Each records its own vectors.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple

Vectors = list[list[float]]


class Kin(NamedTuple):
    """Tasks that may share a call: nobody's texts meet those of another tenant, no urgent call waits in the
    place of another, and no flow is charged for another."""

    tenant: str
    flow: Any
    priority: int
    model: str
    dimensions: int | None


class Way(NamedTuple):
    """How a task makes a call, waits without a slot, how long, and the most inputs and tokens of a call."""

    call: Callable[[list[str]], Awaitable[Vectors]]
    off_slot: Callable[[], AbstractAsyncContextManager[None]]
    seconds: float
    most_inputs: int
    most_tokens: int


class Round:
    """Texts that go out together, and what came of it: vectors, a failure, or (neither) a leader that
    left."""

    def __init__(self, most_inputs: int, most_tokens: int) -> None:
        self._most_inputs = most_inputs
        self._most_tokens = most_tokens
        self._tokens = 0
        self.texts: list[str] = []
        self.full = asyncio.Event()
        self.over = asyncio.Event()
        self.vectors: Vectors | None = None
        self.failed = False

    def takes(self, texts: list[str], tokens: int) -> bool:
        inputs = len(self.texts) + len(texts)
        return inputs <= self._most_inputs and self._tokens + tokens <= self._most_tokens

    def join(self, texts: list[str], tokens: int) -> slice:
        """Where the vectors of these texts will stand."""
        start = len(self.texts)
        self.texts += texts
        self._tokens += tokens
        if len(self.texts) >= self._most_inputs:
            self.full.set()
        return slice(start, len(self.texts))


class Gatherer:
    """The rounds that still take texts; one gatherer for each manager."""

    def __init__(self) -> None:
        self._open: dict[Kin, Round] = {}
        self.shared = 0

    async def vectors(self, kin: Kin, texts: list[str], tokens: int, way: Way) -> Vectors:
        """The vectors of `texts`, by a call that is shared when others come meanwhile.

        When the shared call fails, each of them makes its own; when its leader goes away, they gather anew.
        """
        while True:
            round = self._open.get(kin)
            if round is None or not round.takes(texts, tokens):
                return await self._lead(kin, texts, tokens, way)
            mine = round.join(texts, tokens)
            async with way.off_slot():
                await round.over.wait()
            if round.vectors is not None:
                self.shared += 1
                return round.vectors[mine]
            if round.failed:
                return await way.call(texts)

    async def _lead(self, kin: Kin, texts: list[str], tokens: int, way: Way) -> Vectors:
        round = self._open[kin] = Round(way.most_inputs, way.most_tokens)
        mine = round.join(texts, tokens)
        try:
            async with way.off_slot():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(way.seconds):
                        await round.full.wait()
            self._close(kin, round)
            round.vectors = await way.call(round.texts)
            return round.vectors[mine]
        except Exception:
            round.failed = True
            if len(round.texts) == len(texts):
                raise
        finally:
            self._close(kin, round)
            round.over.set()
        return await way.call(texts)

    def _close(self, kin: Kin, round: Round) -> None:
        if self._open.get(kin) is round:
            del self._open[kin]
