"""One rate limit at work: its log, its holds and its pace."""

from __future__ import annotations

from math import ceil, inf

from penstock.admission.ask import Ask, Counts, Dimension, LimitUse, Load, load_of
from penstock.admission.holds import HoldPool
from penstock.admission.inference import Shape
from penstock.admission.windows import BucketLevel, FixedLog, Pacer, WindowLog

_DUST = 1e-6
"""tokens: float sums of estimates never agree exactly"""


class Meter:
    """Counts one dimension of the calls of one scope against `limit` per `window` seconds."""

    def __init__(
        self, key: str, dimension: Dimension, limit: float, window: float, guard: float, counts: Counts
    ) -> None:
        self.key = key
        self.dimension: Dimension = dimension
        self.limit = limit
        self.window = window
        self.guard = guard
        self.counts: Counts = counts
        self.kind = (dimension, counts)
        """meters of one kind weigh a call alike"""
        self.log = WindowLog(window, guard)
        self.pool = HoldPool()
        self.pacer: Pacer | None = None
        self.shaped_by: tuple[str, str] | None = None
        """(endpoint, model) whose replies showed what kind of window this is; None: taken for sliding"""

    def pace(self, now: float) -> None:
        """Put a bucket before the window, or follow a changed limit."""
        if self.pacer is None:
            self.pacer = Pacer(self.limit, self.window, now)
        else:
            self.pacer.retune(self.limit, self.window)

    def load(self, ask: Ask) -> Load:
        return load_of(ask, self.dimension, self.counts)

    def ready_at(self, load: Load, now: float) -> float:
        """When the load fits: not after `now` if it does, `inf` when only a settlement can tell."""
        log = self.log
        if log.next_leaves <= now:
            log.expire(now)
        at = now
        over = log.total + self.pool.total_with(load, self.limit) + log.reserve - self.limit
        if over > _DUST:
            at = self._fits_at(over, now)
        if self.pacer is not None:
            paced = self.pacer.ready_at(load.sent + load.mean, now)
            if paced > at:
                at = paced
        return at

    def _fits_at(self, over: float, now: float) -> float:
        if over <= self.log.total:
            return self.log.freed_at(over)
        # Even an empty log has no room. An estimate may be larger than the limit (a prompt with its cap may
        # not, `never_fits` sees to it): such a call goes alone.
        return inf if self.pool.count else self.log.empty_at(now)

    def reshape(self, shape: Shape | None, source: tuple[str, str] | None, now: float) -> None:
        """Count as the provider was seen to count; None: as a sliding window, still empty."""
        self.shaped_by = source
        old = self.log
        old.expire(now)
        if shape is None:
            self.log = WindowLog(self.window, self.guard)
        elif shape.kind == "bucket":
            self.log = BucketLevel(self.limit, self.window, self.guard, old.total, now)
        else:
            self.log = FixedLog(self.window, self.guard, shape.end)
            for stamp, amount in old.entries():
                self.log.add(stamp, amount, now)

    def place(self, load: Load, now: float) -> None:
        """Hold the load of an admitted call."""
        self.pool.add(load)
        if self.pacer is not None:
            self.pacer.take(load.sent + load.mean, now)

    def sent(self, load: Load) -> None:
        """The call is on its way."""

    def settle(self, load: Load, true: Load, sent_at: float, now: float) -> None:
        """Book the true load: its sent part at its send, its reply (`true.cap`) at its completion."""
        self.pool.remove(load)
        self.log.add(sent_at, true.sent, now)
        if true.cap:
            self.log.add(now, true.cap, now)
        if self.pacer is not None:
            difference = true.sent + true.cap - load.sent - load.mean
            if difference:
                self.pacer.correct(difference)

    def release(self, load: Load, was_sent: bool) -> None:
        """Give everything back."""
        self.pool.remove(load)
        if self.pacer is not None:
            self.pacer.correct(-load.expected)

    def restore(self, load: Load, sent_at: float, done_at: float, now: float) -> None:
        """Book something that happened earlier."""
        self.log.add(sent_at, load.sent, now)
        self.log.add(done_at, load.cap, now)

    def filled(self, now: float) -> float:
        """Which part of the limit is used and held."""
        self.log.expire(now)
        return (self.log.total + self.pool.total(self.limit)) / self.limit

    def headroom(self, load: Load, now: float) -> float:
        """About how many such loads fit now."""
        each = max(load.sent + load.mean, 1.0)
        room = self.limit - self.log.reserve - self.log.total - self.pool.total(self.limit)
        if self.pacer is not None:
            room = min(room, self.pacer.room(now))
        return room / each

    def use(self, now: float) -> LimitUse:
        self.log.expire(now)
        held = ceil(self.pool.total(self.limit))
        empty_in = max(0.0, self.log.empty_at(now) - now)
        return LimitUse(
            self.key, ceil(self.log.total), held, int(self.limit), self.window, self.dimension, empty_in
        )
