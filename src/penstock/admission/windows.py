"""A sliding log with a guard, and the bucket that paces what goes in front of it."""

from __future__ import annotations

from bisect import insort
from math import inf


class WindowLog:
    """What was counted in the last `window + guard` seconds, in slices; never less than the truth.

    A slice leaves only when its youngest entry leaves. The guard is the time a call may be under way: a
    provider that stamps it up to `guard` later than we do still sees no window above the limit.
    """

    __slots__ = ("_order", "_reach", "_slices", "_width", "next_leaves", "reserve", "total")

    def __init__(self, window: float, guard: float) -> None:
        self._reach = window + guard
        # Finer than a second buys nothing for hour windows; coarser than a 4000th would cost memory for days.
        self._width = max(min(window / 1000.0, 1.0), window / 4000.0)
        self._slices: dict[int, list[float]] = {}
        self._order: list[int] = []
        self.total: float = 0
        self.reserve = 0.0
        self.next_leaves = inf

    def _leaves(self, stamp: float) -> float:
        return stamp + self._reach

    def add(self, stamp: float, amount: int, now: float) -> None:
        """Count `amount` as of `stamp`, which may lie in the past; nothing if it has left already."""
        if amount <= 0 or (stamp < now and self._leaves(stamp) <= now):
            return
        index = int(stamp // self._width)
        found = self._slices.get(index)
        if found is None:
            self._slices[index] = [stamp, amount]
            insort(self._order, index)
        else:
            found[1] += amount
            if stamp > found[0]:
                found[0] = stamp
        self.total += amount
        if index == self._order[0]:
            self.next_leaves = self._leaves(self._slices[index][0])

    def expire(self, now: float) -> None:
        """Forget the slices whose youngest entry has left."""
        order, gone = self._order, 0
        while gone < len(order):
            youngest, amount = self._slices[order[gone]]
            leaves = self._leaves(youngest)
            if leaves > now:
                self.next_leaves = leaves
                break
            del self._slices[order[gone]]
            self.total -= int(amount)
            gone += 1
        else:
            self.next_leaves = inf
        if gone:
            del order[:gone]

    def freed_at(self, amount: float) -> float:
        """When at least `amount` of what is counted will have left; `inf` if more than all is asked."""
        if amount > self.total:
            return inf
        left = amount
        for index in self._order:
            youngest, size = self._slices[index]
            left -= size
            if left <= 0:
                return self._leaves(youngest)
        return inf

    def empty_at(self, now: float) -> float:
        """When all of it will have left."""
        return self._leaves(self._slices[self._order[-1]][0]) if self._order else now

    def entries(self) -> list[tuple[float, int]]:
        """(youngest stamp, amount) of every slice."""
        return [(youngest, int(amount)) for youngest, amount in self._slices.values()]


class FixedLog(WindowLog):
    """The same for a provider whose windows are aligned: everything leaves when its window ends.

    `end` is the end of some window, known no better than the guard: what is sent just before it may count in
    the next one, and is kept for it.
    """

    __slots__ = ("_guard", "_window", "end")

    def __init__(self, window: float, guard: float, end: float) -> None:
        super().__init__(window, guard)
        self._window, self._guard, self.end = window, guard, end

    def _leaves(self, stamp: float) -> float:
        windows = (stamp + self._guard - self.end) // self._window + 1.0
        return self.end + windows * self._window + self._guard


class BucketLevel(WindowLog):
    """The same for a provider that drains: a bucket of one limit, emptied at `limit / window`.

    Its `reserve` keeps free what the provider drains later than we think, for calls are under way.
    """

    __slots__ = ("_at", "_rate")

    def __init__(self, limit: float, window: float, guard: float, level: float, now: float) -> None:
        super().__init__(window, guard)
        self._rate = limit / window
        self._at = now
        self.total = level
        self.reserve = self._rate * guard
        self.next_leaves = -inf

    def add(self, stamp: float, amount: int, now: float) -> None:
        self.expire(now)
        self.total += amount

    def expire(self, now: float) -> None:
        self.total = max(0.0, self.total - max(0.0, now - self._at) * self._rate)
        self._at = max(now, self._at)

    def freed_at(self, amount: float) -> float:
        return self._at + amount / self._rate if amount <= self.total else inf

    def empty_at(self, now: float) -> float:
        return self._at + self.total / self._rate


class Pacer:
    """A bucket before a window, so that a full window is not spent in one burst.

    It holds `max(largest request, a tenth of the limit)` and fills at `limit / window`: a little faster than
    the log with its guard lets through, so at saturation the log decides and the bucket only smooths.
    """

    __slots__ = ("_at", "_largest", "_level", "_limit", "_rate", "_shrunk_until")

    def __init__(self, limit: float, window: float, now: float) -> None:
        self._largest = 1.0
        self._limit = limit
        self._rate = limit / window
        self._shrunk_until = -inf
        self._at = now
        self._level = max(1.0, limit / 10.0)

    def retune(self, limit: float, window: float) -> None:
        self._limit, self._rate = limit, limit / window
        self._level = max(self._level, -limit)  # a debt under the old limit is no more than a window either

    def _refill(self, now: float) -> None:
        if now <= self._at:
            return
        size = self._largest
        if now >= self._shrunk_until and self._limit / 10.0 > size:
            size = self._limit / 10.0
        level = self._level + (now - self._at) * self._rate
        self._level = level if level < size else size
        self._at = now

    def ready_at(self, amount: float, now: float) -> float:
        """When `amount` may go: `now`, or when the bucket has filled up to it."""
        if amount > self._largest:
            # As if it had always been this large: a first large call on an idle gate does not wait.
            self._level += max(0.0, amount - max(self._largest, self._limit / 10.0))
            self._largest = amount
        self._refill(now)
        lack = amount - self._level
        # Float sums leave dust; a wait for less than a billionth of the limit is no wait.
        return now if lack <= 1e-9 * self._limit else now + lack / self._rate

    def take(self, amount: float, now: float) -> None:
        self._refill(now)
        self._level -= amount

    def correct(self, difference: float) -> None:
        """The true use was so much more (a debt, delaying what follows) or less than charged."""
        # A debt of a window at most: an overrun delays, it never starves.
        self._level -= difference
        if self._level < -self._limit:
            self._level = -self._limit

    def room(self, now: float) -> float:
        self._refill(now)
        return self._level

    def shrink(self, until: float) -> None:
        """Hold no more than the largest request until then: the provider bears smaller bursts."""
        self._shrunk_until = max(until, self._shrunk_until)
