"""Budgets and caps of tokens of single programs: accounts that are opened when a task of theirs is claimed,
and dropped when all of them have ended.

Spent, uncertain and held never exceed a limit when a call is let in; a settlement is booked whatever it says.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from penstock.admission.ask import Ask, BudgetUse, Reject, Wait, load_of
from penstock.admission.money import usd
from penstock.model.program_budget import ProgramBudget
from penstock.model.usage import Usage


@dataclass(slots=True)
class _Sum:
    """One limit, and what counts against it: pico-dollars, or tokens."""

    limit: int | None
    spent: int
    uncertain: int
    held: int = 0

    @property
    def booked(self) -> int:
        return self.spent + self.uncertain

    def has_room(self, amount: int) -> bool:
        return self.limit is None or not amount or self.booked + self.held + amount <= self.limit

    def may_have_room(self, amount: int) -> bool:
        """Whether there is room once all holds are given back."""
        return self.limit is None or self.booked + amount <= self.limit


@dataclass(slots=True)
class _Account:
    """`moves` counts what was booked or held: who looked elsewhere meanwhile sees that something happened.
    While it is `frozen`, calls wait."""

    program: str
    name: str
    money: _Sum
    tokens: _Sum
    within: _Account | None
    holds: int = 0
    moves: int = 0
    frozen: int = 0

    @property
    def label(self) -> str:
        return f"workflow {self.name!r} ({self.program})" if self.name else f"workflow {self.program}"

    @property
    def money_key(self) -> str:
        return f"budget of workflow {self.program}"

    @property
    def tokens_key(self) -> str:
        return f"max_tokens of workflow {self.program}"


def most_tokens(ask: Ask) -> int:
    """The tokens that a call holds of a cap: its prompt, and the longest reply that is expected."""
    return ask.input_tokens + load_of(ask, "output_tokens", "actual").full


class ProgramBudgets:
    """The accounts of programs with a budget that have tasks here. `Ask.program` names one of them, or is
    empty."""

    def __init__(self) -> None:
        self._accounts: dict[str, _Account] = {}

    def __len__(self) -> int:
        return len(self._accounts)

    def bound(self, program: str | None) -> str:
        """The program, or nothing where it has no budget: what a call has to name."""
        return program if program is not None and program in self._accounts else ""

    def open(self, budgets: Iterable[ProgramBudget]) -> None:
        """Open accounts as the store has them, outer programs first. What is open knows better already."""
        for one in budgets:
            if one.program not in self._accounts:
                self._accounts[one.program] = _Account(
                    one.program,
                    one.name,
                    _Sum(one.limit, one.spent, one.uncertain),
                    _Sum(one.max_tokens, one.tokens, one.uncertain_tokens),
                    None if one.within is None else self._accounts.get(one.within),
                )

    def change(self, budgets: Iterable[ProgramBudget]) -> None:
        """Take on other limits of accounts that are open; what is booked and held stays."""
        for one in budgets:
            if (account := self._accounts.get(one.program)) is not None:
                account.money.limit, account.tokens.limit = one.limit, one.max_tokens

    @contextlib.contextmanager
    def freezing(self, program: str) -> Iterator[None]:
        """Let no call of a program in meanwhile: what its limits are to be is judged by what is held now."""
        account = self._accounts.get(program)
        if account is not None:
            account.frozen += 1
        try:
            yield
        finally:
            if account is not None:
                account.frozen -= 1

    def at_rest(self) -> dict[str, int]:
        """The accounts of which nothing is held, each with how often it has moved."""
        return {program: one.moves for program, one in self._accounts.items() if not one.holds}

    def drop(self, programs: Collection[str], moves: dict[str, int]) -> None:
        """Forget programs that are over, unless something moved since `at_rest` said `moves`, or what stays
        is within them."""
        gone = {name for name in programs if self._still(name, moves)}
        needed = {outer.program for name in self._accounts.keys() - gone for outer in self._around(name)}
        for name in gone - needed:
            del self._accounts[name]

    def _still(self, program: str, moves: dict[str, int]) -> bool:
        account = self._accounts.get(program)
        return account is not None and not account.holds and account.moves == moves.get(program)

    def _around(self, program: str) -> Iterator[_Account]:
        """The account of a program, and of those around it."""
        account = self._accounts.get(program)
        while account is not None:
            yield account
            account = account.within

    def never_fits(self, ask: Ask) -> Reject | None:
        """Refuse what no budget around the call could bear even if nothing had been spent, or whose price
        nobody knows."""
        for account in self._around(ask.program):
            if account.money.limit is not None and not ask.cost_known:
                return Reject("price_unknown", _price_unknown(ask, account))
            if account.money.limit is not None and ask.cost > account.money.limit:
                return Reject("budget_exhausted", _too_dear(ask, account))
            if account.tokens.limit is not None and most_tokens(ask) > account.tokens.limit:
                return Reject("budget_exhausted", _too_long(ask, account))
        return None

    def consider(self, ask: Ask) -> Wait | Reject | None:
        """None when all budgets around the call allow it; `never_fits` has been asked before."""
        wait: Wait | None = None
        for account in self._around(ask.program):
            money, tokens = account.money, account.tokens
            if account.frozen:
                wait = wait or Wait("money", account.money_key, None)
                continue
            if not money.has_room(ask.cost):
                if not money.may_have_room(ask.cost):
                    return Reject("budget_exhausted", _no_money(ask, account))
                wait = wait or Wait("money", account.money_key, None)
            if tokens.limit is not None and not tokens.has_room(amount := most_tokens(ask)):
                if not tokens.may_have_room(amount):
                    return Reject("budget_exhausted", _no_tokens(ask, account))
                wait = wait or Wait("tokens", account.tokens_key, None)
        return wait

    def hold(self, ask: Ask) -> None:
        """Take the estimate of a call that was let in."""
        self._hold(ask, 1)

    def give_back(self, ask: Ask) -> None:
        """The call has ended: nothing is held for it any more."""
        self._hold(ask, -1)

    def _hold(self, ask: Ask, sign: int) -> None:
        amount = most_tokens(ask)
        for account in self._around(ask.program):
            account.money.held += sign * ask.cost
            account.tokens.held += sign * amount
            account.holds += sign
            account.moves += 1

    def spend(self, ask: Ask, usage: Usage | None, cost: int) -> None:
        """Book what a call really used; without a usage, all that was held for it."""
        tokens = most_tokens(ask) if usage is None else usage.total
        for account in self._around(ask.program):
            account.money.spent += cost
            account.tokens.spent += tokens
            account.moves += 1

    def leave_uncertain(self, ask: Ask) -> None:
        """Book all that was held: nobody knows what was billed."""
        tokens = most_tokens(ask)
        for account in self._around(ask.program):
            account.money.uncertain += ask.cost
            account.tokens.uncertain += tokens
            account.moves += 1

    def use(self, keys: Collection[str] | None = None) -> list[BudgetUse]:
        """How full the limits are, or those of these keys."""
        return [
            BudgetUse(key, one.spent, one.held, one.uncertain, one.limit)
            for account in self._accounts.values()
            for key, one in ((account.money_key, account.money), (account.tokens_key, account.tokens))
            if one.limit is not None and (keys is None or key in keys)
        ]


def _no_money(ask: Ask, account: _Account) -> str:
    money = account.money
    unsure = f" and {usd(money.uncertain)} are uncertain" if money.uncertain else ""
    return (
        f"the budget of {account.label}, {usd(money.limit or 0)}, is used up: {usd(money.spent)} are "
        f"spent{unsure}, and this call to {ask.model} is estimated at {usd(ask.cost)}; "
        + _more(account, "budget", "USD")
    )


def _too_dear(ask: Ask, account: _Account) -> str:
    return (
        f"this call to {ask.model} is estimated at {usd(ask.cost)}, more than the whole budget of "
        f"{account.label}, {usd(account.money.limit or 0)}; {_more(account, 'budget', 'USD')}"
    )


def _no_tokens(ask: Ask, account: _Account) -> str:
    tokens = account.tokens
    unsure = f" and {tokens.uncertain:,} are uncertain" if tokens.uncertain else ""
    return (
        f"the tokens of {account.label}, {tokens.limit or 0:,}, are used up: {tokens.spent:,} are "
        f"used{unsure}, and this call to {ask.model} may use {most_tokens(ask):,}; "
        + _more(account, "max_tokens", "N")
    )


def _too_long(ask: Ask, account: _Account) -> str:
    return (
        f"this call to {ask.model} may use {most_tokens(ask):,} tokens, more than {account.label} has in "
        f"all, {account.tokens.limit or 0:,}; {_more(account, 'max_tokens', 'N')}"
    )


def _price_unknown(ask: Ask, account: _Account) -> str:
    return (
        f"no price is known for {ask.model}, and {account.label} has a budget; set a price for {ask.model} "
        "in the price table of the configuration (USD per million input and output tokens, 0 if it is free), "
        "or run the workflow without a budget"
    )


def _more(account: _Account, name: str, unit: str) -> str:
    """What to do."""
    option = name.replace("_", "-")
    return (
        f"give it a larger `{name}` (`penstock workflow budget {account.program} --{option} {unit}`, or "
        f"`run.adjust_budget({name}=...)`) and retry it (`penstock retry {account.program}`), or set smaller "
        "output caps (max_tokens) on its calls"
    )
