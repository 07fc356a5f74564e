"""Budgets: what was spent, what is held, what is uncertain, per calendar period. Pico-dollars throughout."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from penstock.admission.ask import Ask, BudgetUse, Decision, Reject, Wait
from penstock.admission.limits import Budget, Period
from penstock.admission.periods import Periods, period_ends
from penstock.model.usage import from_pico

_KEPT_PERIODS = 8
_SETTINGS: dict[Period, str] = {"total": "budget", "day": "daily_budget", "hour": "hourly_budget"}


@dataclass(frozen=True, slots=True)
class PastMoney:
    """What a tenant spent in a period before a restart; `start`: the wall instant it began (0 for total)."""

    tenant: str
    period: Period
    start: float
    spent: int
    uncertain: int = 0


@dataclass(slots=True)
class _Book:
    spent: int = 0
    uncertain: int = 0


@dataclass(slots=True)
class _Account:
    held: int = 0
    books: dict[tuple[Period, float], _Book] = field(default_factory=dict)

    def book(self, period: Period, start: float) -> _Book:
        found = self.books.get((period, start))
        if found is None:
            if len(self.books) >= 2 * _KEPT_PERIODS:
                self._forget()
            found = self.books[(period, start)] = _Book()
        return found

    def _forget(self) -> None:
        for period in ("day", "hour"):
            old = sorted(key for key in self.books if key[0] == period)[: -_KEPT_PERIODS // 2]
            for key in old:
                del self.books[key]


def usd(pico: int) -> str:
    """Write money for people: `0.0123 USD`."""
    amount = from_pico(pico)
    digits = Decimal("0.0001") if abs(amount) >= Decimal("0.01") else Decimal("0.00000001")
    return f"{amount.quantize(digits).normalize():f} USD"


class Ledger:
    """All accounts: one for everything, one per tenant, and the budgets set on them.

    Time comes as monotonic seconds; `anchor` says which wall instant they mean. A period that was left and is
    entered again, because the wall clock was set back, finds its books as they were.
    """

    def __init__(self, budgets: Sequence[Budget], zone: str, wall: float, now: float) -> None:
        self._accounts: dict[str | None, _Account] = {None: _Account()}
        self._budgets = tuple(budgets)
        self._zone = zone
        self._offset = wall - now
        self._periods = period_ends(wall, zone)
        self._open: tuple[Periods, dict[str, list[_Book]]] = (self._periods, {})
        """the books of the current periods, by tenant"""

    def anchor(self, wall: float, now: float) -> None:
        """Say that monotonic `now` is `wall`: at start, and again after the wall clock jumped."""
        self._offset = wall - now
        self._periods = period_ends(wall, self._zone)

    def roll(self, now: float) -> None:
        """Enter the calendar hour and day of `now`."""
        wall = now + self._offset
        if wall >= self._periods.hour_end or wall >= self._periods.day_end:
            self._periods = period_ends(wall, self._zone)

    def reconfigure(self, budgets: Sequence[Budget], zone: str, now: float) -> None:
        """Set other budgets; all that was spent stays. A new zone starts its day with today's spending."""
        self._budgets = tuple(budgets)
        if zone == self._zone:
            return
        old, self._zone = self._periods, zone
        self._periods = period_ends(now + self._offset, zone)
        self._open = (self._periods, {})
        for account in self._accounts.values():
            for period in ("day", "hour"):
                before, after = _start(old, period), _start(self._periods, period)
                if before != after:
                    carried = account.book(period, before)
                    account.books[(period, after)] = _Book(carried.spent, carried.uncertain)

    def _account(self, tenant: str | None) -> _Account:
        found = self._accounts.get(tenant)
        if found is None:
            found = self._accounts[tenant] = _Account()
        return found

    def _both(self, tenant: str) -> tuple[_Account, _Account]:
        return self._accounts[None], self._account(tenant)

    def _matching(self, tenant: str) -> Iterable[Budget]:
        return (b for b in self._budgets if b.tenant is None or b.tenant == tenant)

    def never_fits(self, ask: Ask) -> Reject | None:
        """Refuse what no budget could bear even if nothing had been spent, or whose price nobody knows."""
        if not self._budgets:
            return None
        for budget in self._matching(ask.tenant):
            if not ask.cost_known:
                return Reject("price_unknown", _price_unknown(ask, budget))
            if ask.cost > budget.limit:
                return Reject("budget_exhausted", _too_dear(ask, budget))
        return None

    def consider(self, ask: Ask) -> Decision | None:
        """None when money allows the call; `never_fits` has been asked before."""
        if not self._budgets:
            return None
        worst: Wait | None = None
        for budget in self._matching(ask.tenant):
            account = self._account(budget.tenant)
            book = account.book(budget.period, _start(self._periods, budget.period))
            booked = book.spent + book.uncertain
            if booked + account.held + ask.cost <= budget.limit:
                continue
            if booked + ask.cost <= budget.limit:
                if worst is None:
                    worst = Wait("money", budget.key, None)
            elif budget.period == "total":
                return Reject("budget_exhausted", _exhausted(ask, budget, book))
            else:
                end = _end(self._periods, budget.period) - self._offset
                if worst is None or worst.until is None or worst.until < end:
                    worst = Wait("period", budget.key, end)
        return worst

    def hold(self, tenant: str, cost: int) -> None:
        for account in self._both(tenant):
            account.held += cost

    def give_back(self, tenant: str, held: int) -> None:
        for account in self._both(tenant):
            account.held -= held

    def spend(self, tenant: str, amount: int, uncertain: bool = False) -> None:
        """Book money in the current periods: spent, or uncertain until it is released by hand."""
        if self._open[0] is not self._periods:
            self._open = (self._periods, {})
        books = self._open[1].get(tenant)
        if books is None:
            books = self._open[1][tenant] = [
                account.book(period, _start(self._periods, period))
                for account in self._both(tenant)
                for period in _SETTINGS
            ]
        for book in books:
            if uncertain:
                book.uncertain += amount
            else:
                book.spent += amount

    def restore(self, past: Iterable[PastMoney]) -> None:
        """Book what was spent before a restart; periods that are over do not matter any more."""
        for entry in past:
            if entry.period != "total" and entry.start != _start(self._periods, entry.period):
                continue
            for account in self._both(entry.tenant):
                book = account.book(entry.period, 0.0 if entry.period == "total" else entry.start)
                book.spent += entry.spent
                book.uncertain += entry.uncertain

    def room(self, ask: Ask) -> int | None:
        """How much money the tightest budget has free; None without budgets."""
        free: int | None = None
        for budget in self._matching(ask.tenant):
            account = self._account(budget.tenant)
            book = account.book(budget.period, _start(self._periods, budget.period))
            left = budget.limit - book.spent - book.uncertain - account.held
            free = left if free is None else min(free, left)
        return free

    def use(self) -> list[BudgetUse]:
        """Every budget and how full it is."""
        uses = []
        for budget in self._budgets:
            account = self._account(budget.tenant)
            book = account.book(budget.period, _start(self._periods, budget.period))
            uses.append(BudgetUse(budget.key, book.spent, account.held, book.uncertain, budget.limit))
        return uses

    def reset_total(self) -> None:
        """Count everybody's total from now on; tenants' own totals stay."""
        self._account(None).books.pop(("total", 0.0), None)
        self._open = (self._periods, {})

    def forget_total(self, spent: int, uncertain: int) -> None:
        """After a restart: leave out of everybody's total what was spent before it was reset."""
        book = self._account(None).book("total", 0.0)
        book.spent -= min(spent, book.spent)
        book.uncertain -= min(uncertain, book.uncertain)

    def left(self, tenant: str) -> list[tuple[str, int, bool]]:
        """What each budget that binds this tenant still allows: its key, pico-dollars not spent, uncertain or
        held, and whether it is the tenant's own."""
        found = []
        for budget in self._matching(tenant):
            account = self._account(budget.tenant)
            book = account.book(budget.period, _start(self._periods, budget.period))
            amount = budget.limit - book.spent - book.uncertain - account.held
            found.append((budget.key, max(0, amount), budget.tenant is not None))
        return found

    def spent(self, period: Period = "total", tenant: str | None = None) -> tuple[int, int, int]:
        """(spent, held, uncertain) of a period, whether or not a budget is set on it."""
        account = self._account(tenant)
        book = account.book(period, _start(self._periods, period))
        return book.spent, account.held, book.uncertain


def _start(periods: Periods, period: Period) -> float:
    if period == "total":
        return 0.0
    return periods.day_start if period == "day" else periods.hour_start


def _end(periods: Periods, period: Period) -> float:
    return periods.day_end if period == "day" else periods.hour_end


def _exhausted(ask: Ask, budget: Budget, book: _Book) -> str:
    unsure = f" and {usd(book.uncertain)} are uncertain" if book.uncertain else ""
    return (
        f"the {budget.key} of {usd(budget.limit)} is used up: {usd(book.spent)} are spent{unsure}, and this "
        f"call to {ask.model} is estimated at {usd(ask.cost)}; raise {_SETTINGS[budget.period]} to go on"
    )


def _too_dear(ask: Ask, budget: Budget) -> str:
    return (
        f"this call to {ask.model} is estimated at {usd(ask.cost)}, more than the whole {budget.key} of "
        f"{usd(budget.limit)}; raise {_SETTINGS[budget.period]}, or set a smaller output cap (max_tokens)"
    )


def _price_unknown(ask: Ask, budget: Budget) -> str:
    return (
        f"no price is known for {ask.model} and a {budget.key} is set; set a price for {ask.model} in the "
        "price table of the configuration (USD per million input and output tokens, 0 if it is free), or "
        "remove the budget"
    )
