"""Agent pools: so many members of something, each in one pair of hands at a time."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from penstock.errors import ConfigurationError, WaitTimeout
from penstock.model.rank import Rank
from penstock.model.seconds import is_seconds

if TYPE_CHECKING:
    from penstock.runtime.context import TaskContext

M = TypeVar("M")


@dataclass(slots=True)
class PoolFigures:
    """What happened in a pool. Seconds throughout; `waits` counts those that did not get a member at once."""

    acquired: int = 0
    waits: int = 0
    timeouts: int = 0
    total_wait: float = 0.0
    longest_wait: float = 0.0
    total_use: float = 0.0


class _Loan:
    """One time that a member is lent."""

    __slots__ = ("holder", "loop", "place", "since")

    def __init__(self, place: int, holder: asyncio.Task[Any] | None) -> None:
        self.place = place
        self.loop = asyncio.get_running_loop()
        self.since = self.loop.time()
        self.holder = holder


class Lease(Generic[M]):
    """A member on its way to somebody: `async with` it, or `await` it and give it back with `release`."""

    __slots__ = ("_context", "_loan", "_pool", "_timeout")

    def __init__(self, pool: AgentPool[M], context: TaskContext | None, timeout: float | None) -> None:
        self._pool = pool
        self._context = context
        self._timeout = timeout
        self._loan: _Loan | None = None

    def __await__(self) -> Generator[Any, None, M]:
        return self.__aenter__().__await__()

    async def __aenter__(self) -> M:
        self._loan = await self._pool._acquire(self._context, self._timeout)
        return self._pool.members[self._loan.place]

    async def __aexit__(self, *exc: object) -> None:
        if self._loan is not None:
            self._pool._give(self._loan)


class _Waiter:
    __slots__ = ("future", "order", "rank")

    def __init__(self, rank: Callable[[], Rank], order: int, future: asyncio.Future[int]) -> None:
        self.rank = rank
        self.order = order
        self.future = future


class AgentPool(Generic[M]):
    """Members (agents, browsers, sessions, or just numbers) that are lent one by one, in this process.

    async with pool.acquire(ctx) as member:
        ...

    Tasks get them in the order of their ranks; a caller outside of any task stands among them by the instant
    at which it came. Who waits inside a task waits without a slot. What is not released goes back when the
    asyncio task that acquired it ends: for a handler, when its attempt does, however it does.
    """

    def __init__(
        self,
        name: str,
        members: Sequence[M] | None = None,
        size: int | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if (members is None) == (size is None):
            raise ConfigurationError(f"pool {name!r}: give members or a size")
        self.name = name
        found: Any = range(size or 0) if members is None else members
        self.members: tuple[M, ...] = tuple(found)
        if not self.members:
            raise ConfigurationError(f"pool {name!r} has no members")
        self._free = list(reversed(range(len(self.members))))
        self._lent: dict[int, _Loan] = {}
        self._loans_of: dict[asyncio.Task[Any], set[_Loan]] = {}
        self._waiters: list[_Waiter] = []
        self._orders = itertools.count()
        self._clock = clock
        self._figures = PoolFigures()

    @property
    def size(self) -> int:
        return len(self.members)

    @property
    def free(self) -> int:
        return len(self._free)

    def acquire(self, context: TaskContext | None = None, timeout: float | None = None) -> Lease[M]:
        """A member, as soon as one is free. Raises `WaitTimeout` after `timeout` seconds."""
        if timeout is not None and not (is_seconds(timeout) and timeout >= 0):
            raise ValueError(f"timeout is a number of seconds from 0 up, not {timeout!r:.80}")
        return Lease(self, context, timeout)

    def release(self, member: M) -> None:
        """Give a member back. Raises `ConfigurationError` for one that is not lent."""
        for place, loan in self._lent.items():
            if self.members[place] is member or self.members[place] == member:
                self._give(loan)
                return
        raise ConfigurationError(f"pool {self.name!r}: {member!r} is not lent to anybody")

    def statistics(self) -> dict[str, Any]:
        """Size, what is lent, who waits, and how long it took; seconds."""
        figures = self._figures
        waits = figures.waits or 1
        return {
            "name": self.name,
            "size": self.size,
            "in_use": len(self._lent),
            "free": self.free,
            "waiting": len(self._waiters),
            "acquired": figures.acquired,
            "waits": figures.waits,
            "timeouts": figures.timeouts,
            "average_wait": figures.total_wait / waits,
            "longest_wait": figures.longest_wait,
            "total_use": figures.total_use,
        }

    # How it is done

    async def _acquire(self, context: TaskContext | None, timeout: float | None) -> _Loan:
        if context is not None:
            context.check_parked()
        place = self._free.pop() if self._free else await self._wait(context, timeout)
        self._figures.acquired += 1
        return self._lend(place)

    async def _wait(self, context: TaskContext | None, timeout: float | None) -> int:
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._figures.waits += 1
        waiter = _Waiter(self._rank_of(context), next(self._orders), loop.create_future())
        self._waiters.append(waiter)
        try:
            # Out of time, too, the handler comes back with a slot: it may well go on.
            async with contextlib.nullcontext() if context is None else context.off_slot():
                await self._come_to_turn(waiter, timeout)
            if context is not None:
                context.check_parked()
        except BaseException:
            self._leave(waiter)
            raise
        finally:
            waited = loop.time() - began
            self._figures.total_wait += waited
            self._figures.longest_wait = max(self._figures.longest_wait, waited)
        if not waiter.future.done():
            self._figures.timeouts += 1
            raise WaitTimeout(f"no member of pool {self.name!r} was free in {timeout:g} seconds")
        return waiter.future.result()

    async def _come_to_turn(self, waiter: _Waiter, timeout: float | None) -> None:
        await asyncio.wait([waiter.future], timeout=timeout)
        if not waiter.future.done():
            self._waiters.remove(waiter)

    def _leave(self, waiter: _Waiter) -> None:
        """It does not want any more; what it was given meanwhile goes to the next."""
        if waiter.future.done():
            self._hand_on(waiter.future.result())
        elif waiter in self._waiters:
            self._waiters.remove(waiter)

    def _rank_of(self, context: TaskContext | None) -> Callable[[], Rank]:
        if context is not None:
            footing = context.footing
            return lambda: footing.rank
        came = Rank(0, self._clock())
        return lambda: came

    def _lend(self, place: int) -> _Loan:
        holder = asyncio.current_task()
        loan = self._lent[place] = _Loan(place, holder)
        if holder is not None:
            if holder not in self._loans_of:
                self._loans_of[holder] = set()
                holder.add_done_callback(self._ended)
            self._loans_of[holder].add(loan)
        return loan

    def _ended(self, holder: asyncio.Task[Any]) -> None:
        for loan in tuple(self._loans_of.get(holder, ())):
            self._give(loan)

    def _give(self, loan: _Loan) -> None:
        """Once is enough."""
        if self._lent.get(loan.place) is not loan:
            return
        del self._lent[loan.place]
        if loan.holder is not None:
            loans = self._loans_of[loan.holder]
            loans.discard(loan)
            if not loans:
                del self._loans_of[loan.holder]
                loan.holder.remove_done_callback(self._ended)
        self._figures.total_use += loan.loop.time() - loan.since
        self._hand_on(loan.place)

    def _hand_on(self, place: int) -> None:
        """A member is free: to the best-ranked of those that wait."""
        if not self._waiters:
            self._free.append(place)
            return
        best = min(self._waiters, key=lambda waiter: (waiter.rank(), waiter.order))
        self._waiters.remove(best)
        best.future.set_result(place)
