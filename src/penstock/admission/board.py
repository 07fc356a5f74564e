"""All rate limits together: which of them a call meets, and keeping them through changes and restarts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf

from penstock.admission.ask import Ask, Grant, LimitUse, Load, Observed, Past, Reject, Scope, Wait
from penstock.admission.history import Amounts
from penstock.admission.limits import GateLimits, RateLimit
from penstock.admission.meter import Meter
from penstock.admission.records import Records, scope_of, true_load
from penstock.admission.remaining import ProviderMeter
from penstock.admission.reported import ReportedLimits, rate_match

_MOST_SCOPES = 10_000
_HORIZON = 3660.0
_UNFILLED = 0.95
Placed = list[tuple[Meter, Load]]


class Board:
    """Every meter there is."""

    def __init__(self, limits: GateLimits, now: float) -> None:
        self._limits = limits
        self._records = Records(_horizon(limits))
        self._meters: dict[RateLimit, Meter] = {rate: self._build(rate, now) for rate in limits.rates}
        self._reported = ReportedLimits(limits, self._meters, self._records)
        self._by_scope: dict[Scope, tuple[Meter, ...]] = {}
        self._last: tuple[Ask, Placed, Reject | None] | None = None

    def _build(self, rate: RateLimit, now: float) -> Meter:
        window = rate.window_seconds
        meter = Meter(
            rate.key, rate.dimension, rate.limit, window, self._limits.guard(window), self._limits.counts
        )
        if self._limits.pacing:
            meter.pace(now)
        return meter

    def _matching(self, scope: Scope, now: float) -> tuple[Meter, ...]:
        found = self._by_scope.get(scope)
        if found is None:
            if len(self._by_scope) >= _MOST_SCOPES:
                self._by_scope.clear()
            for rate, meter in self._meters.items():
                if meter.shaped_by not in (None, scope[:2]) and rate.matches(*scope):
                    # Another model shares this limit: what one model's replies showed does not hold for both.
                    self._reported.reshape(rate, meter, None, scope[:2], now)
            rates = [meter for rate, meter in self._meters.items() if rate.matches(*scope)]
            found = self._by_scope[scope] = (*rates, *self._reported.meters(scope))
        return found

    def _loads(self, ask: Ask, now: float) -> Placed:
        last = self._last
        if last is not None and last[0] is ask:
            return last[1]
        weighed: dict[tuple[str, str], Load] = {}
        loads = []
        for meter in self._matching((ask.endpoint, ask.model, ask.tenant), now):
            load = weighed.get(meter.kind)
            if load is None:
                load = weighed[meter.kind] = meter.load(ask)
            loads.append((meter, load))
        self._last = (ask, loads, _never_fits(ask, loads))
        return loads

    def _forget_matches(self) -> None:
        self._by_scope.clear()
        self._last = None

    def never_fits(self, ask: Ask, now: float) -> Reject | None:
        """Refuse what is larger than a whole limit: requests, or prompt plus explicit cap."""
        if self._last is None or self._last[0] is not ask:
            self._loads(ask, now)
        return self._last[2] if self._last is not None else None

    def wait(self, ask: Ask, now: float) -> Wait | None:
        """The limit that lets the call in last, None when all do now."""
        latest, slowest = now, None
        for meter, load in self._loads(ask, now):
            at = meter.ready_at(load, now)
            if at > latest:
                latest, slowest = at, meter
        if slowest is None:
            return None
        until = None if latest == inf else latest
        return Wait("requests" if slowest.dimension == "requests" else "tokens", slowest.key, until)

    def place(self, grant: Grant, now: float) -> None:
        grant.placed = self._loads(grant.ask, now)
        for meter, load in grant.placed:
            meter.place(load, now)
        self._records.live[grant.number] = grant

    def sent(self, grant: Grant, now: float) -> None:
        grant.sent_at = now
        for meter, load in grant.placed:
            meter.sent(load)
            if isinstance(meter, ProviderMeter):
                grant.marks[meter.dimension] = meter.mark()

    def settle(self, grant: Grant, stamp: float, amounts: Amounts, now: float, told: bool) -> None:
        """Book what was counted: requests and input at `stamp`, the reply now. `told`: the provider said so,
        and it teaches how long replies may be.
        """
        if grant.sent_at is None:
            self.sent(grant, now)
        del self._records.live[grant.number]
        weighed: dict[tuple[str, str], Load] = {}
        for meter, load in grant.placed:
            true = weighed.get(meter.kind)
            if true is None:
                true = weighed[meter.kind] = true_load(meter, amounts)
            meter.settle(load, true, stamp, now)
            if told:
                meter.pool.learn(load, true.cap)
        self._records.remember(scope_of(grant.ask), amounts, stamp, now, now)

    def release(self, grant: Grant) -> None:
        del self._records.live[grant.number]
        for meter, load in grant.placed:
            meter.release(load, grant.sent_at is not None)

    def restore(self, entries: Iterable[Past], now: float) -> None:
        """Book calls made before a restart; unsettled ones hold their full reply as of now."""
        for past in entries:
            scope = (past.endpoint, past.model, past.tenant)
            sent_at = now - max(0.0, past.age_sent)
            done_at = now if past.age_done is None else now - max(0.0, past.age_done)
            output = past.held if past.age_done is None else past.output
            reserved = max(past.reserved, past.input + past.output)
            amounts = Amounts(past.requests, past.input, output, reserved)
            for meter in self._matching(scope, now):
                meter.restore(true_load(meter, amounts), sent_at, done_at, now)
            self._records.remember(scope, amounts, sent_at, done_at, now)

    def observe(self, grant: Grant, observed: Sequence[Observed], now: float) -> None:
        """Take in what a reply's headers say of the limits of this model at this endpoint."""
        if self._reported.observe(grant, observed, self._by_scope.keys(), now):
            self._forget_matches()
        self._last = None  # limits may have changed with what was reported

    def refused(self, ask: Ask, now: float) -> None:
        """A 429 inside an unfilled window: smaller bursts for three windows, and doubt about learned ones."""
        unfilled = [meter for meter, _ in self._loads(ask, now) if meter.filled(now) < _UNFILLED]
        for meter in unfilled:
            if meter.pacer is not None:
                meter.pacer.shrink(now + 3.0 * meter.window)
        if unfilled:
            self._reported.distrust(ask.endpoint, ask.model, self._by_scope.keys(), now)

    def reconfigure(self, limits: GateLimits, now: float) -> None:
        """Take on other limits; meters of the same scope and window keep their log, new ones read history."""
        same_rules = (limits.counts, limits.guard_seconds) == (
            self._limits.counts,
            self._limits.guard_seconds,
        )
        old = {_identity(rate): meter for rate, meter in self._meters.items()} if same_rules else {}
        self._limits = limits
        self._records.history.horizon = _horizon(limits)
        self._records.drop(lambda meter: not isinstance(meter, ProviderMeter))
        self._meters = {}
        for rate in limits.rates:
            self._meters[rate] = self._kept_or_built(rate, old.get(_identity(rate)), now)
        self._reported.limits, self._reported.given = limits, self._meters
        if not same_rules:
            self._reported.clear()
        self._reported.drop_stale()
        self._forget_matches()

    def _kept_or_built(self, rate: RateLimit, kept: Meter | None, now: float) -> Meter:
        matches = rate_match(rate)
        if kept is None:
            meter = self._build(rate, now)
            self._records.refill(meter, matches, now)
            self._records.adopt(meter, matches, now)
            return meter
        if kept.limit != rate.limit and kept.shaped_by:
            self._reported.reshape(rate, kept, None, kept.shaped_by, now)
        kept.limit = rate.limit
        if self._limits.pacing:
            kept.pace(now)
        else:
            kept.pacer = None
        for grant in self._records.live.values():
            if matches(scope_of(grant.ask)):
                grant.placed.append((kept, kept.load(grant.ask)))
        return kept

    def headroom(self, ask: Ask, now: float) -> float:
        return min((meter.headroom(load, now) for meter, load in self._loads(ask, now)), default=inf)

    def use(self, now: float, ask: Ask | None = None) -> list[LimitUse]:
        if ask is not None:
            return [meter.use(now) for meter in self._matching((ask.endpoint, ask.model, ask.tenant), now)]
        return [meter.use(now) for meter in (*self._meters.values(), *self._reported.learned())]


def _never_fits(ask: Ask, loads: Placed) -> Reject | None:
    for meter, load in loads:
        size = load.sent
        if meter.dimension == "tokens" and meter.counts == "actual":
            size += ask.output_cap or 0
        if size > meter.limit and not (isinstance(meter, ProviderMeter) and meter.explicit):
            return Reject("too_large", _too_large(ask, meter, size))
    return None


def _identity(rate: RateLimit) -> tuple[object, ...]:
    return rate.dimension, rate.window_seconds, rate.model, rate.tenant, rate.endpoint


def _horizon(limits: GateLimits) -> float:
    return max([_HORIZON, *(rate.window_seconds + 60.0 for rate in limits.rates)])


def _too_large(ask: Ask, meter: Meter, size: int) -> str:
    if meter.dimension == "requests":
        return (
            f"{size} requests at once can never fit {meter.key}, {int(meter.limit)} in {meter.window:g} s; "
            "send them singly or raise the limit"
        )
    cap = "no output cap" if ask.output_cap is None else f"an output cap of {ask.output_cap}"
    return (
        f"a call of {size} tokens (a prompt of about {ask.input_tokens}, {cap}) can never fit {meter.key}, "
        f"{int(meter.limit)} tokens in {meter.window:g} s; shorten the prompt, set a smaller output cap "
        "(max_tokens), or raise the limit"
    )
