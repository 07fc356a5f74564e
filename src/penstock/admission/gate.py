"""The gate: one place that admits every call. It waits instead of refusing, and never over-admits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf
from typing import TYPE_CHECKING

from penstock.admission.ask import (
    ADMIT,
    Ask,
    BudgetUse,
    Decision,
    Grant,
    GrantState,
    LimitUse,
    Observed,
    Past,
    RefusalKind,
    Reject,
    Wait,
    load_of,
)
from penstock.admission.board import Board
from penstock.admission.health import HealthBook
from penstock.admission.history import Amounts
from penstock.admission.limits import GateLimits
from penstock.admission.money import Ledger, PastMoney
from penstock.admission.occupancy import Occupancy
from penstock.admission.program_budgets import ProgramBudgets
from penstock.admission.traffic import Traffic

if TYPE_CHECKING:
    from penstock.model.usage import Usage


class Gate:
    """Decides whether a call may go now: rates, concurrency, pools and money, all or nothing.

    Pure: `now` is monotonic seconds and never goes back. `wall` is the epoch instant `now` means at the
    start; tell `anchor` when the wall clock jumped. A call's way: `consider` until it says Admit, `admit`,
    `sent` when bytes leave, then one of `settle`, `uncertain`, `release`; a second one changes nothing.
    """

    def __init__(self, limits: GateLimits, now: float = 0.0, wall: float = 0.0) -> None:
        self.limits = limits
        self.ledger = Ledger(limits.budgets, limits.zone, wall, now)
        self.programs = ProgramBudgets()
        self._board = Board(limits, now)
        self._occupancy = Occupancy(limits)
        self.pools = self._occupancy.pools
        self.health = HealthBook(limits)
        self.traffic = Traffic()
        self._admitted = 0
        self._now = now

    def never_fits(self, ask: Ask) -> Reject | None:
        """Refuse what could not go even alone: larger than a limit, a budget or a pool."""
        never = self._board.never_fits(ask, self._now)
        if never is None and ask.pools:
            never = self.pools.never_fits(ask.pools)
        if never is None and ask.program:
            never = self.programs.never_fits(ask)
        return never or self.ledger.never_fits(ask)

    def consider(self, ask: Ask, now: float) -> Decision:
        """Say whether the call may go now, and if not what it waits for longest; changes nothing."""
        self._now = now
        never = self.never_fits(ask)
        if never is not None:
            return never
        self.ledger.roll(now)
        money = self.ledger.consider(ask)
        if ask.program:
            money = _stricter(money, self.programs.consider(ask))
        if isinstance(money, Reject):
            return money
        wait = money if isinstance(money, Wait) else None
        if wait is None or wait.until is not None:
            wait = _later(wait, self._occupancy.wait(ask))
            wait = _later(wait, self.health.of(ask).wait(ask, now))
            wait = _later(wait, self._board.wait(ask, now))
        return ADMIT if wait is None else wait

    def admit(self, ask: Ask, now: float) -> Grant:
        """Take everything the call asks for; `consider` has just said Admit."""
        self._admitted += 1
        grant = Grant(self._admitted, ask)
        self._board.place(grant, now)
        self.traffic.sent(ask.requests, now)
        self._occupancy.enter(ask)
        self.health.of(ask).enter()
        self.ledger.hold(ask.tenant, ask.cost)
        if ask.program:
            self.programs.hold(ask)
        return grant

    def sent(self, grant: Grant, now: float) -> None:
        """Bytes leave now: requests and input will be stamped here.

        May be told again when they left later than it seemed (a connection had to be made first).
        """
        if grant.state != "held":
            return
        if grant.sent_at is None:
            self._board.sent(grant, now)
        else:
            grant.sent_at = max(now, grant.sent_at)

    def settle(self, grant: Grant, usage: Usage | None, cost: int, now: float) -> bool:
        """Book the true usage (None: the whole hold) and cost in pico-dollars; False if it ended before."""
        if grant.state != "held":
            return False
        stamp = now if grant.sent_at is None else grant.sent_at
        ask = grant.ask
        if usage is None:
            amounts = _held(ask)
        else:
            reserved = max(ask.reserved_tokens, usage.input_tokens + usage.output_tokens)
            amounts = Amounts(ask.requests, usage.input_tokens, usage.output_tokens, reserved)
        self._board.settle(grant, stamp, amounts, now, told=usage is not None)
        self.traffic.used(amounts.input + amounts.output, now)
        self._end(grant, "settled", now)
        self.ledger.spend(ask.tenant, cost)
        if ask.program:
            self.programs.spend(ask, usage, cost)
        return True

    def uncertain(self, grant: Grant, now: float) -> bool:
        """Cancelled, cut or timed out: book the whole hold as of now, its money as uncertain. Never free."""
        if grant.state != "held":
            return False
        self._board.settle(grant, now, _held(grant.ask), now, told=False)
        self._end(grant, "uncertain", now)
        self.ledger.spend(grant.ask.tenant, grant.cost, uncertain=True)
        if grant.ask.program:
            self.programs.leave_uncertain(grant.ask)
        return True

    def release(self, grant: Grant, now: float) -> bool:
        """Nothing left, or the provider refused without counting: give everything back."""
        if grant.state != "held":
            return False
        self._board.release(grant)
        self._end(grant, "released", now)
        return True

    def _end(self, grant: Grant, state: GrantState, now: float) -> None:
        grant.state = state
        grant.placed = []
        self._occupancy.leave(grant.ask)
        self.health.of(grant.ask).leave()
        self.ledger.give_back(grant.ask.tenant, grant.cost)
        if grant.ask.program:
            self.programs.give_back(grant.ask)
        self.ledger.roll(now)

    def headroom(self, ask: Ask, now: float, most: int) -> int:
        """About how many such calls could go now, 0..most; at least 1 for one that has to be refused.

        A call that can never go must be fetched to be failed, so it counts as room for one.
        """
        if most <= 0:
            return 0
        decision = self.consider(ask, now)
        if isinstance(decision, Wait):
            return 0
        if isinstance(decision, Reject):
            return 1
        room = min(self._board.headroom(ask, now), self._occupancy.room(ask), self.health.of(ask).room(now))
        money = self.ledger.room(ask) if ask.cost else None
        if money is not None:
            room = min(room, money // ask.cost)
        return most if room == inf else max(1, min(most, int(room)))

    def observe(self, grant: Grant, observed: Sequence[Observed], now: float) -> None:
        """Take in the limit headers of the reply or refusal to this call, before or after its end."""
        self._board.observe(grant, observed, now)
        self.health.of(grant.ask).replied()

    def refused(self, ask: Ask, kind: RefusalKind, retry_after: float | None, now: float) -> None:
        """The provider refused: nobody of this model goes before `retry_after` seconds, then gently."""
        self.health.of(ask).refused(kind, retry_after, now)
        if kind == "limited":
            self._board.refused(ask, now)

    def succeeded(self, ask: Ask, seconds: float, output_tokens: int, now: float) -> None:
        """A call came back well: let the adaptive concurrency grow, unless calls have become slow."""
        self.health.of(ask).succeeded(seconds, output_tokens, now)

    def reconfigure(self, limits: GateLimits, now: float) -> None:
        """Take on other limits at once; nothing that was used or spent is forgotten."""
        self.limits = limits
        self._board.reconfigure(limits, now)
        self._occupancy.reconfigure(limits)
        self.ledger.reconfigure(limits.budgets, limits.zone, now)
        self.health.reconfigure(limits)

    def restore(self, entries: Iterable[Past], now: float) -> None:
        """Rebuild the windows from the calls made before a restart."""
        self._board.restore(entries, now)

    def restore_money(self, past: Iterable[PastMoney]) -> None:
        """Rebuild the budgets from what was spent before a restart."""
        self.ledger.restore(past)

    def anchor(self, wall: float, now: float) -> None:
        """Say which wall instant `now` is, after the wall clock jumped."""
        self.ledger.anchor(wall, now)

    def usage(self, now: float, ask: Ask | None = None) -> list[LimitUse]:
        """How full every rate limit is, given or learned, or each that such a call meets."""
        return self._board.use(now, ask)

    def money(self, now: float) -> list[BudgetUse]:
        """How full every budget is."""
        self.ledger.roll(now)
        return self.ledger.use()


def _held(ask: Ask) -> Amounts:
    """The most the call may have used: its cap, or its estimate with three deviations."""
    output = load_of(ask, "output_tokens", "actual").full
    reserved = max(ask.reserved_tokens, ask.input_tokens)
    return Amounts(ask.requests, ask.input_tokens, output, reserved)


def _stricter(one: Decision | None, other: Decision | None) -> Decision | None:
    """What two budgets together say."""
    if isinstance(one, Wait) and isinstance(other, Wait):
        return _later(one, other)
    return other if one is None or isinstance(other, Reject) else one


def _later(one: Wait | None, other: Wait | None) -> Wait | None:
    """The one that ends later; what only a settlement ends is the latest."""
    if one is None or other is None:
        return one or other
    if one.until is None or (other.until is not None and other.until <= one.until):
        return one
    return other
