"""What the provider itself says remains: limits nobody gave us, and others who use the same key.

A reply tells the state at its own admission, a call's duration ago. So a report is always compared with
what we knew when its call was sent, never with now: `seen` counts everything the provider has had to count
from us, and the difference of two values of it is what it has counted since.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from penstock.admission.ask import Counts, Dimension, Load, Observed
from penstock.admission.inference import Sample, SampleBook, Shape
from penstock.admission.inference import snap as snap_window
from penstock.admission.meter import Meter
from penstock.admission.windows import WindowLog
from penstock.model.moments import Moments

_TOLERANCE = 0.02
_REPORTS = 30
_UNKNOWN_RESET = 60.0


@dataclass(slots=True)
class _Report:
    sent: float
    remaining: int
    seen: float
    others: float
    """used by somebody else: what we cannot explain ourselves"""
    full_at: float
    expires: float


class ProviderMeter(Meter):
    """One limit as headers report it. With `explicit_window` it only guards against others on the same key.

    Learned, it goes through two phases. While the window is not known: never more than the last report left
    (which for a fixed window is exact), and no more than the limit in the longest reset seen. Once replies
    agree on a window: the sliding log and the bucket of any other limit.
    """

    def __init__(
        self,
        key: str,
        dimension: Dimension,
        limit: int,
        counts: Counts,
        explicit_window: float | None,
        guard: float,
    ) -> None:
        super().__init__(key, dimension, limit, explicit_window or 0.001, guard, counts)
        self.explicit = explicit_window is not None
        self.trusted = self.explicit
        self.seen = 0.0
        self._sent_held = 0
        self._samples = SampleBook()
        self._rest_at_start, self._rest_at_end = Moments(_REPORTS), Moments(_REPORTS)
        self._report: _Report | None = None
        self.shape: Shape | None = None
        """of an explicit limit: what the replies of late show it to be"""

    def mark(self) -> tuple[float, float]:
        """What the provider has seen of us in all, and what of it counts in the window now."""
        return self.seen, self.log.total + self._sent_held

    def sent(self, load: Load) -> None:
        self.seen += load.sent
        self._sent_held += load.sent

    def settle(self, load: Load, true: Load, sent_at: float, now: float) -> None:
        super().settle(load, true, sent_at, now)
        self._sent_held -= load.sent
        self.seen += true.sent + true.cap - load.sent

    def release(self, load: Load, was_sent: bool) -> None:
        super().release(load, was_sent)
        if was_sent:
            self._sent_held -= load.sent
            self.seen -= load.sent

    def observe(
        self, observed: Observed, sent_at: float, mark: tuple[float, float] | None, own: float, now: float
    ) -> bool:
        """Take in a report of the call sent at `sent_at`; true when the window has to be built anew."""
        if observed.limit is not None and observed.limit > 0:
            self.limit = observed.limit
        if observed.remaining is None or observed.remaining < 0 or observed.remaining > self.limit:
            return False
        used = self.limit - observed.remaining
        changed = False
        if observed.reset_in is not None and observed.reset_in >= 0:
            sample = Sample(sent_at, used, observed.reset_in, now)
            if not self.explicit:
                self._samples.add(sample)
                changed = self._infer()
            elif self._samples.due(sent_at, self.window / 30.0):
                self._samples.add(sample)
                self.shape = self._samples.shape(self.limit, self.window, self.guard)
        seen = own if mark is None else mark[0]
        others = 0.0 if mark is None else self._unexplained(used, mark[1])
        self._take(observed, sent_at, seen, others)
        return changed

    def _unexplained(self, used: float, at_start: float) -> float:
        """What of the reported use is somebody else's.

        Nobody says whether a report is as of the call's start or of its end: the instant is right at which
        our own use, taken from the reported, leaves the steadier rest.
        """
        start, end = used - at_start, used - self.mark()[1]
        self._rest_at_start.add(start)
        self._rest_at_end.add(end)
        steadier = start if self._rest_at_start.variance <= self._rest_at_end.variance else end
        return max(0.0, steadier)

    def _take(self, observed: Observed, sent_at: float, seen: float, others: float) -> None:
        remaining = observed.remaining or 0
        last = self._report
        if last is not None and abs(sent_at - last.sent) <= self.guard:
            # Two calls sent together arrive in any order: the one that saw more of us tells more.
            if last.remaining + last.seen <= remaining + seen:
                return
        elif last is not None and sent_at < last.sent:
            return
        reset = observed.reset_in
        if reset is None or reset < 0:
            reset = self.window if self.trusted else _UNKNOWN_RESET
        full_at = sent_at + reset + self.guard
        self._report = _Report(
            sent_at, remaining, seen, others, full_at, full_at + max(self.window, reset, 1.0)
        )

    def _infer(self) -> bool:
        known = self._samples.window(self.limit)
        if known is not None and not self.trusted:
            self.trusted = True
            return self._set_window(known)
        if self.trusted:
            return False
        longest = snap_window(self._samples.longest)
        return longest > 1.1 * self.window and self._set_window(longest)

    def _set_window(self, window: float) -> bool:
        if abs(window - self.window) < 1e-9:
            return False
        self.window = window
        self.guard = min(1.0, window / 120.0)
        return True

    def rebuild(self, now: float, paced: bool) -> None:
        """Start an empty log of the window found; the caller fills it from history."""
        self.log = WindowLog(self.window, self.guard)
        if paced and self.trusted:
            self.pace(now)

    def distrust(self) -> None:
        """A refusal contradicted the window found: rely on what remains until replies agree again."""
        self._samples.clear()
        self.shape = None
        if not self.explicit and self.trusted:
            self.trusted = False
            self.pacer = None

    def ready_at(self, load: Load, now: float) -> float:
        at = now if self.explicit else super().ready_at(load, now)
        report = self._report
        if report is None:
            return at
        if now >= report.expires or (self.trusted and now >= report.full_at):
            self._report = None
            return at
        clamped = self._shared(report, load, now) if self.trusted else self._remaining(report, load, now)
        return max(at, clamped)

    def _shared(self, report: _Report, load: Load, now: float) -> float:
        slack = _TOLERANCE * self.limit + 1.0
        if report.others <= slack:
            return now
        if self.log.next_leaves <= now:
            self.log.expire(now)
        over = self.log.total + self.pool.total_with(load, self.limit) + report.others + slack - self.limit
        return now if over <= 0 else min(report.full_at, self.log.freed_at(over))

    def _remaining(self, report: _Report, load: Load, now: float) -> float:
        left = report.remaining if now < report.full_at else self.limit
        unseen = self.pool.total_with(load, self.limit) - self._sent_held
        if left - (self.seen - report.seen) - unseen >= 0:
            return now
        if now < report.full_at:
            return report.full_at
        return inf if self.pool.count else report.expires

    def headroom(self, load: Load, now: float) -> float:
        if self.explicit:
            return inf
        room = super().headroom(load, now)
        report = self._report
        if report is None or self.trusted:
            return room
        left = report.remaining if now < report.full_at else self.limit
        left -= self.seen - report.seen + self.pool.total(self.limit) - self._sent_held
        return min(room, left / max(load.expected, 1.0))
