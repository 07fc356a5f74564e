"""The durable waits of one attempt: who of its handler waits, and when nothing of it is left but waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from penstock.errors import Parked
from penstock.model.clock import Clock
from penstock.runtime.branches import Branch, Branches
from penstock.runtime.holding import Holding

# What waits for an instant looks at the clock this often, for it may be set.
_SOON, _LATE = 0.001, 3600.0
_BUSY_SECONDS = 1.0


class OpenWait:
    """One wait in memory; `until` is when it looks again, `patience` how long it may stay there."""

    __slots__ = ("branch", "future", "patience", "poked", "scope", "until", "what")

    def __init__(
        self, what: str, until: float | None, patience: float, scope: str, branch: Branch | None
    ) -> None:
        self.what = what
        self.until = until
        self.patience = patience
        self.scope = scope
        self.branch = branch
        self.poked = False
        self.future: asyncio.Future[None] | None = None


class TaskWaits:
    """Knows the branches of a handler and their waits. When all of them rest in durable waits and nothing is
    under way, the attempt is suspended: `suspended` is true then, and `due_at` the earliest instant at which
    one of them has to look.
    """

    def __init__(
        self,
        root: asyncio.Task[object] | None,
        holding: Holding,
        clock: Clock,
        patience: Callable[[], float],
        full: Callable[[], bool],
        park: Callable[[], None],
    ) -> None:
        self.branches = Branches(root, self._branch_ended)
        self._holding = holding
        self._clock = clock
        self._patience = patience
        self._full = full
        self._park = park
        self._open: dict[OpenWait, None] = {}  # in the order in which they began: the first is served first
        self._by_what: dict[str, dict[OpenWait, None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._calm_since: float | None = None
        self._left = False
        self.suspended = False
        self.due_at: float | None = None

    # Waits

    def open(self, what: str, until: float | None, patience: float, scope: str) -> OpenWait:
        """A wait begins; it has not looked yet."""
        one = OpenWait(what, until, patience, scope, self.branches.known())
        self._open[one] = None
        self._by_what.setdefault(what, {})[one] = None
        self._calm_since = None
        return one

    def close(self, one: OpenWait) -> bool:
        """It is over; true when no other waits for the same."""
        self._open.pop(one, None)
        self._calm_since = None
        others = self._by_what[one.what]
        others.pop(one, None)
        if not others:
            del self._by_what[one.what]
        return not others

    def shares(self, one: OpenWait) -> bool:
        """Whether another branch waits for the same."""
        return len(self._by_what[one.what]) > 1

    async def rest(self, one: OpenWait) -> None:
        """Until it is poked or its time may have come. Raises `Parked` when the attempt is suspended
        meanwhile."""
        if self._left:
            raise Parked
        if one.poked:
            one.poked = False
            return
        loop = asyncio.get_running_loop()
        one.future = loop.create_future()
        timer = None
        if one.until is not None:
            delay = min(_LATE, max(_SOON, one.until - self._clock.wall()))
            timer = loop.call_later(delay, _resolve, one)
        if one.branch is not None:
            self.branches.rests(one.branch, 1)
        self._settle()
        try:
            await one.future
        finally:
            if one.branch is not None:
                self.branches.rests(one.branch, -1)
            one.future, one.poked = None, False
            if timer is not None:
                timer.cancel()
            self._settle()

    def poke(self, what: str | None = None) -> None:
        """Something came: those who wait for it (or for anything) look again."""
        for one in self._open if what is None else self._by_what.get(what, ()):
            one.poked = True
            _resolve(one)

    def _branch_ended(self) -> None:
        self._calm_since = None
        self._settle()

    # Leaving

    def leave(self) -> None:
        """The node stops: what only waits is suspended; other waits end and the attempt is put back."""
        if self._idle:
            self._suspend()
        else:
            self._let_go()

    def over(self) -> None:
        """The attempt has ended; threads of it that still wait do so no longer."""
        self._halt()
        self._let_go()

    def _settle(self) -> None:
        """See whether the attempt may leave by and by."""
        self._halt()
        if self._left or not self._open:
            return
        if self.branches.busy:
            self._see_again()
            return
        bearable = self._patience()
        due = self._due()
        if due is not None and due - self._clock.wall() <= bearable:
            return
        patience = min(bearable, max(one.patience for one in self._open))
        loop = asyncio.get_running_loop()
        if self._calm_since is None:  # looking in vain does not begin it anew
            self._calm_since = loop.time()
        self._timer = loop.call_at(self._calm_since + patience, self._suspend_if_idle)

    def _suspend_if_idle(self) -> None:
        self._timer = None
        if self._idle or (self._full() and self._rests):
            self._suspend()
        elif not self._left and self._open:
            self._see_again()

    def _see_again(self) -> None:
        """There is a call or a step of somebody unknown; or the handler's own code waits for tasks of its own
        making. Where no more tasks may be open that gives way too: it might wait for one that never could."""
        if not self.branches.busy or self._full():
            self._timer = asyncio.get_running_loop().call_later(_BUSY_SECONDS, self._suspend_if_idle)

    @property
    def _idle(self) -> bool:
        """Whether nothing of the handler is left but durable waits."""
        return not self.branches.busy and self._rests

    @property
    def _rests(self) -> bool:
        """The same as far as it can be seen."""
        if self._left:
            return False
        resting = [one for one in self._open if one.future is not None]
        return (
            bool(resting)
            and self._holding.only_rests(len(resting))
            and self._holding.under_way.only_around([one.scope for one in resting])
        )

    def _due(self) -> float | None:
        return min((one.until for one in self._open if one.until is not None), default=None)

    def _suspend(self) -> None:
        self.suspended, self.due_at = True, self._due()
        self._let_go()

    def _let_go(self) -> None:
        self._left = True
        self._park()
        for one in self._open:
            if one.future is not None and not one.future.done():
                one.future.set_exception(Parked())

    def _halt(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _resolve(one: OpenWait) -> None:
    if one.future is not None and not one.future.done():
        one.future.set_result(None)
