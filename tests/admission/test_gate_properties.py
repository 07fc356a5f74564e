"""Over random loads, restarts, irregular clocks and changed limits: never above a limit, nothing leaks."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.admission import (
    Admit,
    Ask,
    Budget,
    Concurrency,
    Gate,
    GateLimits,
    Grant,
    Past,
    PastMoney,
    RateLimit,
    Reject,
    Wait,
)
from penstock.model.usage import Usage

WINDOW, GUARD, DAY = 10.0, 0.25, 86_400.0
REQUESTS, TOKENS, MODEL_TOKENS, MONEY = 8, 900, 500, 5_000


def limits(
    requests: int = REQUESTS, tokens: int = TOKENS, counts: str = "actual", pacing: bool = False
) -> GateLimits:
    return GateLimits(
        rates=(
            RateLimit("requests", requests, WINDOW),
            RateLimit("tokens", tokens, WINDOW),
            RateLimit("tokens", MODEL_TOKENS, WINDOW, model="a"),
        ),
        concurrency=(Concurrency(5), Concurrency(3, model="b")),
        pools={"gpu": 2},
        budgets=(Budget(MONEY), Budget(MONEY // 2, "day"), Budget(MONEY // 3, tenant="x")),
        guard_seconds=GUARD,
        counts=counts,  # type: ignore[arg-type]
        pacing=pacing,
    )


@dataclass
class Flight:
    grant: Grant
    prompt: int
    reply: int
    cost: int
    arrives: float | None = None


@dataclass
class Machine:
    """A gate, and an independent exact log of what its provider counts."""

    counts: str
    pacing: bool = False
    wall: float = 1_000_000.0
    now: float = 50.0
    stamps: list[tuple[float, str, str, int]] = field(default_factory=list)
    """(instant, dimension, model, amount)"""
    flights: list[Flight] = field(default_factory=list)
    past: list[Past] = field(default_factory=list)
    ended: list[tuple[float, float, Past]] = field(default_factory=list)
    money: dict[tuple[str, str, float], list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.limits = limits(counts=self.counts, pacing=self.pacing)
        self.gate = Gate(self.limits, self.now, self.wall)

    def press(self, ask: Ask, part: float, delay: float) -> None:
        """Go at the very instant the gate names: the edge of a window."""
        decision = self.gate.consider(ask, self.now)
        if isinstance(decision, Wait) and decision.until is not None and decision.until < self.now + 60.0:
            self.now = decision.until
        self.call(ask, part, delay, True)

    def call(self, ask: Ask, part: float, delay: float, send: bool) -> None:
        decision = self.gate.consider(ask, self.now)
        assert (self.gate.headroom(ask, self.now, 9) > 0) == (not isinstance(decision, Wait))
        if isinstance(decision, Wait) and decision.until is not None:
            assert decision.until > self.now
        if not isinstance(decision, Admit):
            return
        grant = self.gate.admit(ask, self.now)
        flight = Flight(
            grant, int(ask.input_tokens * part), int((ask.output_cap or 0) * part), int(ask.cost * part)
        )
        self.flights.append(flight)
        if send:
            self.gate.sent(grant, self.now)
            flight.arrives = self.now + delay * GUARD
            self.count(flight.arrives, "requests", ask.model, 1)
            sent = ask.reserved_tokens if self.counts == "reserved" else flight.prompt
            self.count(flight.arrives, "tokens", ask.model, sent)

    def count(self, at: float, dimension: str, model: str, amount: int) -> None:
        self.stamps.append((at, dimension, model, amount))

    def end(self, place: int, how: str) -> None:
        if not self.flights:
            return
        flight = self.flights.pop(place % len(self.flights))
        ask, sent_at = flight.grant.ask, flight.grant.sent_at
        if sent_at is None:
            assert self.gate.release(flight.grant, self.now)
            return
        assert flight.arrives is not None
        self.now = max(self.now, flight.arrives)
        if self.counts == "actual":
            self.count(self.now, "tokens", ask.model, flight.reply)
        if how == "settle":
            usage = Usage(flight.prompt, flight.reply)
            assert self.gate.settle(flight.grant, usage, flight.cost, self.now)
            self.book(ask.tenant, flight.cost, 0)
        else:
            assert self.gate.uncertain(flight.grant, self.now)
            self.book(ask.tenant, 0, ask.cost)
        assert not self.gate.release(flight.grant, self.now)
        self.remember(flight, sent_at if how == "settle" else self.now, how == "settle")

    def remember(self, flight: Flight, sent_at: float, settled: bool) -> None:
        ask = flight.grant.ask
        prompt = flight.prompt if settled else ask.input_tokens
        reply = flight.reply if settled else ask.output_cap or 0
        past = Past(ask.model, ask.tenant, input=prompt, output=reply, reserved=ask.reserved_tokens)
        self.ended.append((sent_at, self.now, past))

    def book(self, tenant: str, spent: int, uncertain: int) -> None:
        wall = self.wall + self.now - 50.0
        for period, start in (("total", 0.0), ("day", wall // DAY * DAY), ("hour", wall // 3600 * 3600)):
            books = self.money.setdefault((tenant, period, start), [0, 0])
            books[0] += spent
            books[1] += uncertain

    def crash(self) -> None:
        """Start again from what a store would have: settled calls, and intents whose reply nobody knows."""
        entries = [
            replace(past, age_sent=self.now - sent, age_done=self.now - done)
            for sent, done, past in self.ended
        ]
        for flight in self.flights:
            ask, sent_at = flight.grant.ask, flight.grant.sent_at
            if self.counts == "actual" and sent_at is not None:
                self.count(self.now, "tokens", ask.model, flight.reply)
            stamp = self.now if sent_at is None else sent_at
            held = ask.output_cap or 0
            past = Past(
                ask.model,
                ask.tenant,
                input=ask.input_tokens,
                held=held,
                output=held,
                reserved=ask.reserved_tokens,
            )
            entries.append(replace(past, age_sent=self.now - stamp))
            self.ended.append((stamp, self.now, past))
            self.book(ask.tenant, 0, ask.cost)
        self.flights = []
        self.gate = Gate(self.limits, self.now, self.wall + self.now - 50.0)
        self.gate.restore(entries, self.now)
        self.gate.restore_money(
            PastMoney(tenant, period, start, *books)  # type: ignore[arg-type]
            for (tenant, period, start), books in self.money.items()
        )

    def check_money(self) -> None:
        for use in self.gate.money(self.now):
            assert use.spent + use.held + use.uncertain <= use.limit, use
            assert use.held >= 0

    def check_windows(self, requests: int, tokens: int) -> None:
        for dimension, model, limit in (
            ("requests", None, requests),
            ("tokens", None, tokens),
            ("tokens", "a", MODEL_TOKENS),
        ):
            log = sorted(
                (at, amount) for at, d, m, amount in self.stamps if d == dimension and model in (None, m)
            )
            start = inside = 0
            for at, amount in log:
                inside += amount
                while log[start][0] <= at - WINDOW + 1e-9:  # float sums, not time
                    inside -= log[start][1]
                    start += 1
                assert inside <= limit, (dimension, model, at, inside)

    def check_nothing_left(self) -> None:
        while self.flights:
            self.end(0, "settle")
        assert all(use.held == 0 for use in self.gate.usage(self.now))
        assert all(use.held == 0 for use in self.gate.money(self.now))
        assert self.gate._occupancy.in_flight == 0
        assert not self.gate._occupancy._models
        assert not self.gate.pools.used
        assert all(use.used == 0 for use in self.gate.usage(self.now + 2 * WINDOW))
        spent = sum(books[0] for (_, period, _), books in self.money.items() if period == "total")
        unsure = sum(books[1] for (_, period, _), books in self.money.items() if period == "total")
        assert self.gate.ledger.spent() == (spent, 0, unsure)


asks = st.builds(
    lambda model, tenant, prompt, cap, cost, gpu: Ask(
        model,
        tenant,
        input_tokens=prompt,
        output_mean=float(cap),
        output_cap=cap,
        reserved_tokens=prompt + cap,
        cost=cost,
        pools=(("gpu", 1),) if gpu else (),
    ),
    st.sampled_from(["a", "b"]),
    st.sampled_from(["", "x"]),
    st.integers(0, 200),
    st.integers(0, 250),
    st.integers(0, 400),
    st.booleans(),
)
parts = st.floats(0.0, 1.0)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("call"), asks, parts, parts, st.integers(0, 9).map(bool)),
        st.tuples(st.just("press"), asks, st.sampled_from([1.0, 0.5]), st.sampled_from([0.0, 1.0])),
        st.tuples(st.just("press"), asks, st.just(1.0), st.sampled_from([0.0, 1.0])),
        st.tuples(st.just("end"), st.integers(0, 9), st.sampled_from(["settle", "settle", "uncertain"])),
        st.tuples(st.just("pass"), st.one_of(st.floats(0.0, 0.5), st.floats(0.0, 4.0), st.just(30_000.0))),
        st.tuples(st.just("crash")),
    ),
    max_size=90,
)
common = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def play(machine: Machine, script: list[tuple[Any, ...]]) -> None:
    for what, *rest in script:
        if what == "call":
            machine.call(*rest)
        elif what == "press":
            machine.press(*rest)
        elif what == "end":
            machine.end(*rest)
        elif what == "pass":
            machine.now += rest[0]
        else:
            machine.crash()
        machine.check_money()


@common
@given(steps, st.sampled_from(["actual", "reserved"]), st.booleans())
def test_no_window_and_no_budget_is_ever_above_its_limit(
    script: list[tuple[Any, ...]], counts: str, pacing: bool
) -> None:
    machine = Machine(counts, pacing)
    play(machine, script)
    machine.check_nothing_left()
    machine.check_windows(REQUESTS, TOKENS)


@common
@given(
    st.lists(steps, max_size=4), st.lists(st.tuples(st.integers(1, 12), st.integers(500, 1500)), max_size=4)
)
def test_changed_limits_forget_nothing(scripts: list[Any], changes: list[tuple[int, int]]) -> None:
    machine = Machine("actual")
    most_requests, most_tokens = REQUESTS, TOKENS
    for script, (requests, tokens) in zip(scripts, changes, strict=False):
        play(machine, [step for step in script if step[0] != "crash"])
        machine.limits = limits(requests, tokens)
        machine.gate.reconfigure(machine.limits, machine.now)
        most_requests, most_tokens = max(most_requests, requests), max(most_tokens, tokens)
    machine.check_nothing_left()
    machine.check_windows(most_requests, most_tokens)


@common
@given(steps)
def test_a_window_set_later_knows_what_was_used_before(script: list[tuple[Any, ...]]) -> None:
    machine = Machine("actual")
    machine.gate.reconfigure(replace(machine.limits, rates=()), machine.now)
    play(machine, [step for step in script if step[0] != "crash"])
    machine.gate.reconfigure(machine.limits, machine.now)
    edge = machine.now - WINDOW
    used = sum(1 for at, dimension, *_ in machine.stamps if dimension == "requests" and at > edge)
    seen = machine.gate.usage(machine.now)[0]
    assert seen.used + seen.held >= used


@common
@given(st.lists(st.tuples(asks, st.floats(0.0, 3.0)), min_size=1, max_size=40))
def test_wait_is_honest_and_nobody_starves(load: list[tuple[Ask, float]]) -> None:
    """In strict order every call goes: at `until`, or when something in flight is settled."""
    gate = Gate(replace(limits(), budgets=()), 0.0)
    now, flights = 0.0, []
    for ask, seconds in load:
        for _ in range(200):
            decision = gate.consider(ask, now)
            if not isinstance(decision, Wait):
                break
            done = min((at for at, _ in flights), default=None)
            if decision.until is None or (done is not None and done < decision.until):
                assert done is not None, decision
                now = max(now, done)
                at, grant = min(flights, key=lambda flight: flight[0])
                flights.remove((at, grant))
                gate.settle(grant, Usage(grant.ask.input_tokens, grant.ask.output_cap or 0), 0, now)
            else:
                assert decision.until > now
                now = decision.until
        if isinstance(decision, Reject):
            assert decision.code == "too_large"
            continue
        assert isinstance(decision, Admit)
        grant = gate.admit(ask, now)
        gate.sent(grant, now)
        flights.append((now + seconds, grant))


@pytest.mark.parametrize("counts", ["actual", "reserved"])
@pytest.mark.parametrize("seed", range(6))
def test_a_pressing_load_never_passes_a_limit(seed: int, counts: str) -> None:
    """Hundreds of calls, each at the first instant the gate allows, with stamps at the edges of the guard."""
    rng, machine = random.Random(seed), Machine(counts)
    machine.limits = replace(machine.limits, budgets=())
    machine.gate = Gate(machine.limits, machine.now, machine.wall)
    for _ in range(500):
        prompt, cap = rng.randrange(0, 120), rng.randrange(0, 150)
        ask = Ask(
            rng.choice("ab"),
            input_tokens=prompt,
            output_mean=float(cap),
            output_cap=cap,
            reserved_tokens=prompt + cap,
        )
        machine.press(ask, 1.0, rng.choice([0.0, 1.0]))
        while machine.flights and rng.random() < 0.6:
            machine.now += rng.choice([0.0, 0.1, 2.0])
            machine.end(rng.randrange(9), rng.choice(["settle", "settle", "settle", "uncertain"]))
        if rng.random() < 0.01:
            machine.crash()
    machine.check_windows(REQUESTS, TOKENS)
