"""What an attempt holds: its handler's slot, the slots of its calls, and the time it has used."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncGenerator, Callable
from typing import Any

from penstock.errors import Parked
from penstock.model.clock import Clock
from penstock.model.stopwatch import Stopwatch
from penstock.runtime.slots import Slots
from penstock.runtime.under_way import UnderWay


class Holding:
    """Keeps the books of one attempt. A slot is given up at every wait and comes back with the permit, so a
    handler that waits never keeps others from running; time counts only while a slot is held.

    While any branch of the handler waits, the slot of a call that ended goes back too: a handler that kept it
    could keep its own calls from ever going.
    """

    __slots__ = (
        "_calls",
        "_clock",
        "_closing",
        "_handler",
        "_on_timeout",
        "_over",
        "_slots",
        "_streams",
        "_timeout",
        "_timer",
        "_waiting",
        "_watch",
        "on_first_wait",
        "under_way",
    )

    def __init__(self, slots: Slots, clock: Clock, timeout: float | None) -> None:
        self._slots = slots
        self._clock = clock
        self._timeout = timeout
        self._handler = False
        self._calls = 0
        self._waiting = 0
        self._over = False
        self._closing: list[asyncio.Task[None]] = []
        self._streams: weakref.WeakSet[Any] | None = None
        self._watch = Stopwatch() if timeout is not None else None
        self._timer: asyncio.TimerHandle | None = None
        self._on_timeout: Callable[[], None] | None = None
        self.on_first_wait: Callable[[], None] | None = None
        self.under_way = UnderWay()

    def reach_gate(self) -> None:
        """The attempt comes to the gate for the first time, or never will."""
        if self.on_first_wait is not None:
            notify, self.on_first_wait = self.on_first_wait, None
            notify()

    def begin(self, on_timeout: Callable[[], None]) -> None:
        """The dispatcher took a slot for the handler."""
        self._handler = True
        if self._timeout is not None:
            self._on_timeout = on_timeout
            self._changed()

    def wait(self) -> None:
        """A branch of the handler is about to wait: its slot goes to somebody else."""
        self.reach_gate()
        self._waiting += 1
        if self._handler:
            self._handler = False
            self._slots.give()
            self._changed()

    def returned(self) -> None:
        """A wait is over and brought a slot."""
        self._waiting -= 1
        self._keep_or_give()

    def gave_up(self, why: BaseException, scope: str) -> None:
        """A wait of code in this scope ended without a slot."""
        self._waiting -= 1
        if isinstance(why, Parked):
            self.under_way.turn_away(scope)

    def call_begins(self) -> None:
        """A permit came with a slot."""
        self._waiting -= 1
        self._calls += 1
        self.under_way.call_begins()
        self._changed()

    def call_ended(self) -> None:
        """The call is over: its slot becomes the handler's, or goes back."""
        self._calls -= 1
        self._keep_or_give()
        self.under_way.call_ended()

    def stream_begins(self, stream: AsyncGenerator[bytes, None]) -> None:
        """The reply of a call comes in parts; one that nobody reads to its end must not outlive the
        attempt."""
        if self._streams is None:
            self._streams = weakref.WeakSet()
        self._streams.add(stream)

    def end(self) -> None:
        """The attempt is over; calls that outlive it give their slots back by themselves."""
        self._over = True
        for stream in self._streams or ():
            if stream.ag_frame is not None and not stream.ag_running:  # its reader has forgotten it
                self._closing.append(asyncio.get_running_loop().create_task(stream.aclose()))
        if self._handler:
            self._handler = False
            self._slots.give()
        self._changed()
        self._on_timeout = None  # it leads back to the attempt: a cycle that only the collector would end

    def _keep_or_give(self) -> None:
        if self._handler or self._waiting or self._over:
            self._slots.give()
        else:
            self._handler = True
        self._changed()

    @property
    def only_waits(self) -> bool:
        """Whether one branch of the handler waits and nothing else of it runs."""
        return self._waiting == 1 and self._calls == 0 and not self._handler

    def only_rests(self, count: int) -> bool:
        """Whether nothing of the handler is left but so many branches that wait."""
        return self._waiting == count and self._calls == 0 and not self._handler

    def used(self) -> float:
        """Seconds of handler and call time so far (0 when nobody limits them)."""
        return 0.0 if self._watch is None else self._watch.used(self._clock.monotonic())

    def _changed(self) -> None:
        if self._watch is None or self._timeout is None:
            return
        now = self._clock.monotonic()
        if (self._handler or self._calls) and not self._over:
            self._watch.go(now)
            if self._timer is None and self._on_timeout is not None:
                left = max(0.0, self._timeout - self._watch.used(now))
                self._timer = asyncio.get_running_loop().call_later(left, self._on_timeout)
            return
        self._watch.halt(now)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
