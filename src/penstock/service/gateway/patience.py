"""How long a call is waited for, and who stops waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from types import TracebackType
from typing import Any, Literal, Self

from penstock.runtime.visitor import Visitor

Reason = Literal["hold", "gone", "deadline", "stopping"]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

# A call that is answered sooner never needs to know whether its client is still there.
WATCH_AFTER = 0.05
LOOK_AGAIN = 1.0


class GaveUp(Exception):
    """The wait is over without an answer, and without cost."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


class Patience:
    """While inside, the running task is interrupted with `GaveUp` when its call still stands in line after
    `hold` seconds, at its deadline, when its client goes away, or at `give_up`. A call that is under way is
    left to its end: it is paid for; only a stream without a reader (`cut`) is ended then.
    """

    def __init__(
        self,
        visitor: Visitor,
        receive: Receive,
        hold: float | None,
        left: float | None,
        cut: bool,
        others: set[Patience],
    ) -> None:
        self._others = others
        self._visitor = visitor
        self._receive = receive
        self._terms: list[tuple[float, Reason]] = []
        if hold is not None:
            self._terms.append((hold, "hold"))
        if left is not None:
            self._terms.append((left, "deadline"))
        self._cut = cut
        self._timers: list[asyncio.TimerHandle] = []
        self._watch: asyncio.Task[None] | None = None
        self._task: asyncio.Task[Any] | None = None
        self._reason: Reason | None = None

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._others.add(self)
        self._task = asyncio.current_task()
        for seconds, reason in self._terms:
            self._timers.append(loop.call_later(max(0.0, seconds), self.give_up, reason))
        self._timers.append(loop.call_later(WATCH_AFTER, self._begin_to_watch))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._others.discard(self)
        for timer in self._timers:
            timer.cancel()
        if self._watch is not None:
            self._watch.cancel()
        task, self._task = self._task, None
        if self._reason is None or task is None:
            return
        if task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise GaveUp(self._reason) from None

    def give_up(self, reason: Reason) -> None:
        """Stop waiting, unless the call is under way: then look again later, for a provider may send it back
        to the line."""
        if self._task is None or self._reason is not None:
            return
        if self._visitor.under_way and not (self._cut and reason == "gone"):
            self._timers.append(asyncio.get_running_loop().call_later(LOOK_AGAIN, self.give_up, reason))
            return
        self._reason = reason
        self._task.cancel()

    def _begin_to_watch(self) -> None:
        self._watch = asyncio.get_running_loop().create_task(self._until_gone())

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.give_up("gone")
