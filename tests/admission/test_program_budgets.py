"""Budgets and caps of tokens of single programs at the gate: exact, apart from each other, gone when over."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.admission import (
    Admit,
    Ask,
    Budget,
    BudgetUse,
    Gate,
    GateLimits,
    Grant,
    Reject,
    Wait,
    most_tokens,
)
from penstock.model.program_budget import ProgramBudget
from penstock.model.usage import Usage

DOLLAR = 10**12


def ask(program: str = "p", cost: int = 0, tokens: int = 0, **rest: Any) -> Ask:
    return Ask("m", program=program, cost=cost, input_tokens=tokens, output_cap=0, **rest)


def gate_with(*budgets: ProgramBudget, total: int | None = None) -> Gate:
    made = Gate(GateLimits(budgets=() if total is None else (Budget(total),), learn=False))
    made.programs.open(budgets)
    return made


def spend(gate: Gate, one: Ask, cost: int, tokens: int = 0) -> None:
    gate.settle(gate.admit(one, 0.0), Usage(tokens), cost, 0.0)


def test_a_call_waits_while_holds_of_its_program_could_make_room() -> None:
    gate = gate_with(ProgramBudget("p", limit=10), ProgramBudget("q", limit=10))
    grant = gate.admit(ask(cost=7), 0.0)
    assert gate.consider(ask(cost=4), 0.0) == Wait("money", "budget of workflow p", None)
    assert isinstance(gate.consider(ask("q", 10), 0.0), Admit)
    gate.settle(grant, Usage(), 6, 0.0)
    assert isinstance(gate.consider(ask(cost=4), 0.0), Admit)


@pytest.mark.parametrize("end", ["settle", "uncertain"])
def test_what_is_used_up_is_refused_by_name(end: str) -> None:
    gate = gate_with(ProgramBudget("p", "report", DOLLAR))
    grant = gate.admit(ask(cost=DOLLAR // 2), 0.0)
    gate.uncertain(grant, 0.0) if end == "uncertain" else gate.settle(grant, Usage(), DOLLAR // 2, 0.0)
    verdict = gate.consider(ask(cost=DOLLAR // 2 + 1), 0.0)
    assert isinstance(verdict, Reject)
    assert verdict.code == "budget_exhausted"
    for words in ("workflow 'report' (p), 1 USD, is used up", "0.5 USD", "larger `budget`", "max_tokens"):
        assert words in verdict.message
    assert ("are uncertain" in verdict.message) == (end == "uncertain")
    assert isinstance(gate.consider(ask("", cost=DOLLAR), 0.0), Admit)


def test_tokens_are_counted_likewise() -> None:
    gate = gate_with(ProgramBudget("p", max_tokens=100))
    long = replace(ask(tokens=30), output_cap=30, output_mean=5.0)
    grant = gate.admit(long, 0.0)
    assert most_tokens(long) == 60
    assert gate.consider(long, 0.0) == Wait("tokens", "max_tokens of workflow p", None)
    gate.settle(grant, Usage(30, 5), 0, 0.0)
    assert isinstance(gate.consider(long, 0.0), Admit)
    gate.uncertain(gate.admit(long, 0.0), 0.0)
    assert gate.programs.use() == [BudgetUse("max_tokens of workflow p", 35, 0, 60, 100)]
    verdict = gate.consider(ask(tokens=6), 0.0)
    assert isinstance(verdict, Reject)
    assert "100, are used up: 35 are used and 60 are uncertain" in verdict.message
    assert isinstance(gate.consider(ask(tokens=5), 0.0), Admit)


def test_what_no_budget_could_bear_is_refused_at_once() -> None:
    gate = gate_with(ProgramBudget("p", limit=10, max_tokens=10))
    for one, code, words in (
        (ask(cost=11), "budget_exhausted", "more than the whole budget of workflow p"),
        (ask(tokens=11), "budget_exhausted", "workflow p has in all, 10"),
        (ask(cost_known=False), "price_unknown", "workflow p has a budget; set a price for m"),
    ):
        verdict = gate.never_fits(one)
        assert isinstance(verdict, Reject)
        assert (verdict.code, words in verdict.message) == (code, True)
    assert gate_with(ProgramBudget("p", max_tokens=10)).never_fits(ask(cost_known=False)) is None


def test_what_costs_nothing_goes_on_after_an_overrun() -> None:
    gate = gate_with(ProgramBudget("p", limit=10))
    spend(gate, ask(cost=10), 15)
    assert gate.programs.use()[0].spent == 15
    assert isinstance(gate.consider(ask(cost=0), 0.0), Admit)
    assert isinstance(gate.consider(ask(cost=1), 0.0), Reject)


def test_all_budgets_around_a_call_bind_it() -> None:
    inner = ProgramBudget("inner", within="outer")
    gate = gate_with(ProgramBudget("outer", limit=10), inner, total=1_000)
    spend(gate, ask("inner", 6), 6)
    verdict = gate.consider(ask("inner", 5), 0.0)
    assert isinstance(verdict, Reject)
    assert "workflow outer" in verdict.message
    assert gate.ledger.spent() == (6, 0, 0)
    tight = gate_with(ProgramBudget("p", limit=10), total=7)
    grant = tight.admit(ask(cost=5), 0.0)
    assert tight.consider(ask(cost=3), 0.0) == Wait("money", "total budget", None)
    tight.settle(grant, Usage(), 5, 0.0)
    assert "total budget" in getattr(tight.consider(ask(cost=3), 0.0), "message", "")


def test_an_account_goes_when_its_program_is_over_and_nothing_moves() -> None:
    gate = gate_with(
        ProgramBudget("o", limit=9), ProgramBudget("p", limit=9, within="o"), ProgramBudget("q", limit=9)
    )
    programs, held = gate.programs, gate.admit(ask("q", 1), 0.0)
    moves = programs.at_rest()
    assert set(moves) == {"o", "p"}
    spend(gate, ask(cost=1), 1)
    programs.drop(["o", "p", "q"], moves)
    assert len(programs) == 3  # p and o moved meanwhile, and of q something is held
    programs.drop(["o"], programs.at_rest())
    assert programs.bound("o") == "o"  # for p is within it
    gate.release(held, 0.0)
    programs.drop(["o", "p", "q"], programs.at_rest())
    assert (len(programs), programs.bound("p"), programs.bound(None)) == (0, "", "")
    assert gate.consider(ask(cost=99), 0.0)  # an ask of before: nothing binds it any more


# Over random holds, settlements, cuts and restarts

LIMITS = {"a": (100, None), "b": (60, 500), "c": (None, 300), "d": (50, None)}
WITHIN = {"d": "a"}


@dataclass
class Books:
    """A gate, and independent sums of what it let through; the store's books are what was settled."""

    sums: dict[str, list[int]] = field(default_factory=lambda: {name: [0, 0, 0, 0] for name in LIMITS})
    flights: list[tuple[Ask, Grant]] = field(default_factory=list)
    over: dict[str, int] = field(default_factory=dict)
    """how far settlements went above their holds"""

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        self.gate = Gate(GateLimits(learn=False, max_in_flight=100))
        self.claim(LIMITS)

    def claim(self, names: Any) -> None:
        around = dict.fromkeys(outer for name in names for outer in (WITHIN.get(name), name) if outer)
        self.gate.programs.open([self.stored(name) for name in around])

    def stored(self, name: str) -> ProgramBudget:
        limit, max_tokens = LIMITS[name]
        return ProgramBudget(name, name, limit, max_tokens, WITHIN.get(name), *self.sums[name])

    def book(self, program: str, place: int, money: int, tokens: int) -> None:
        for name in {program, WITHIN.get(program, program)}:
            self.sums[name][place] += money
            self.sums[name][place + 2] += tokens

    def call(self, one: Ask) -> None:
        verdict = self.gate.consider(one, 0.0)
        assert self.fits(one) == isinstance(verdict, Admit)
        if isinstance(verdict, Wait):
            assert self.flights  # or it would wait for ever
        if isinstance(verdict, Admit):
            self.flights.append((one, self.gate.admit(one, 0.0)))

    def fits(self, one: Ask) -> bool:
        for name in {one.program, WITHIN.get(one.program, one.program)}:
            mine = [ask for ask, _ in self.flights if name in (ask.program, WITHIN.get(ask.program))]
            spent, unsure, tokens, unsure_tokens = self.sums[name]
            limit, cap = LIMITS[name]
            money = spent + unsure + sum(ask.cost for ask in mine) + one.cost
            used = tokens + unsure_tokens + sum(map(most_tokens, mine)) + most_tokens(one)
            if (limit is not None and one.cost and money > limit) or (
                cap is not None and most_tokens(one) and used > cap
            ):
                return False
        return True

    def end(self, place: int, how: str, part: float) -> None:
        if not self.flights:
            return
        one, grant = self.flights.pop(place % len(self.flights))
        cost, tokens = int(one.cost * part), int(most_tokens(one) * part)
        if how == "uncertain":
            self.gate.uncertain(grant, 0.0)
            self.book(one.program, 1, one.cost, most_tokens(one))
        elif how == "release":
            self.gate.release(grant, 0.0)
        else:
            self.gate.settle(grant, Usage(tokens), cost, 0.0)
            self.book(one.program, 0, cost, tokens)
            for name in {one.program, WITHIN.get(one.program, one.program)}:
                over = max(0, cost - one.cost, tokens - most_tokens(one))
                self.over[name] = self.over.get(name, 0) + over

    def crash(self) -> None:
        for one, _ in self.flights:
            self.book(one.program, 1, one.cost, most_tokens(one))
        self.flights.clear()
        self.open()

    def check(self) -> None:
        uses = {use.key: use for use in self.gate.programs.use()}
        for name, (limit, cap) in LIMITS.items():
            spent, unsure, tokens, unsure_tokens = self.sums[name]
            for key, most, sums in (
                (f"budget of workflow {name}", limit, (spent, unsure)),
                (f"max_tokens of workflow {name}", cap, (tokens, unsure_tokens)),
            ):
                if most is None:
                    continue
                use = uses.get(key)
                if use is None:  # dropped: the store knows
                    continue
                assert (use.spent, use.uncertain) == sums
                assert use.spent + use.uncertain + use.held <= most + self.over.get(name, 0)


calls = st.builds(
    lambda program, cost, tokens, cap: replace(ask(program, cost, tokens), output_cap=cap),
    st.sampled_from(sorted(LIMITS)),
    st.integers(0, 70),
    st.integers(0, 120),
    st.integers(0, 120),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("call"), calls),
        st.tuples(st.just("call"), calls),
        st.tuples(
            st.just("end"),
            st.integers(0, 9),
            st.sampled_from(["settle", "settle", "uncertain", "release"]),
            st.sampled_from([0.0, 0.3, 1.0, 1.0, 1.4]),
        ),
        st.tuples(st.just("crash")),
        st.tuples(st.just("drop"), st.lists(st.sampled_from(sorted(LIMITS)))),
    ),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(steps)
def test_never_above_over_random_holds_settlements_and_restarts(script: list[tuple[Any, ...]]) -> None:
    books = Books()
    for what, *rest in script:
        if what == "drop":
            books.gate.programs.drop(rest[0], books.gate.programs.at_rest())
            books.claim(LIMITS)
        else:
            getattr(books, what)(*rest)
        books.check()
    while books.flights:
        books.end(0, "settle", 1.0)
    assert all(use.held == 0 for use in books.gate.programs.use())
    books.gate.programs.drop(sorted(LIMITS), books.gate.programs.at_rest())
    assert len(books.gate.programs) == 0


def test_calls_wait_while_a_limit_around_them_is_being_changed() -> None:
    outer, inner = ProgramBudget("p", limit=10), ProgramBudget("q", limit=10, within="p")
    gate = gate_with(outer, inner, ProgramBudget("r", limit=10))
    with gate.programs.freezing("p"), gate.programs.freezing("p"), gate.programs.freezing("nobody"):
        wait = Wait("money", "budget of workflow p", None)
        assert gate.consider(ask("p", 1), 0.0) == gate.consider(ask("q", 1), 0.0) == wait
        assert isinstance(gate.consider(ask("r", 1), 0.0), Admit)
        gate.programs.change([replace(outer, limit=3)])
    assert isinstance(gate.consider(ask("q", 3), 0.0), Admit)
    assert isinstance(gate.consider(ask("q", 4), 0.0), Reject)
