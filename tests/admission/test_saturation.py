"""How close to a provider's limit the gate comes: small discrete-event runs against exact providers."""

from __future__ import annotations

import heapq
import random
from collections import deque
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest

from penstock.admission import (
    Admit,
    Ask,
    Gate,
    GateLimits,
    Grant,
    Observed,
    OutputEstimator,
    RateLimit,
    Wait,
)
from penstock.admission.reported import ReportedLimits
from penstock.model.usage import Usage

WINDOW = 10.0


class Provider:
    """An exact limit: `fixed`, `sliding` or `bucket`, of `limit` per WINDOW seconds."""

    def __init__(self, kind: str, limit: int, phase: float = 0.0) -> None:
        self.kind, self.limit, self.phase = kind, limit, phase
        self.log: deque[tuple[float, int]] = deque()
        self.inside = 0
        self.level, self.at = float(limit), 0.0
        self.stamps: list[tuple[float, int]] = []
        self.worst = 0.0

    def used(self, now: float) -> float:
        if self.kind == "bucket":
            self.level = min(self.limit, self.level + (now - self.at) * self.limit / WINDOW)
            self.at = now
            return self.limit - self.level
        edge = now - WINDOW
        if self.kind == "fixed":
            edge = (now + self.phase) // WINDOW * WINDOW - self.phase - 1e-9
        while self.log and self.log[0][0] <= edge:
            self.inside -= self.log.popleft()[1]
        return self.inside

    def fits(self, amount: int, now: float) -> bool:
        return self.used(now) + amount <= self.limit + 1e-6

    def add(self, amount: int, now: float) -> None:
        self.used(now)
        self.level -= amount
        self.log.append((now, amount))
        self.inside += amount
        self.stamps.append((now, amount))
        self.worst = max(self.worst, self.used(now) / self.limit)

    def observed(self, dimension: str, now: float) -> Observed:
        used = self.used(now)
        reset = WINDOW
        if self.kind == "bucket":
            reset = used * WINDOW / self.limit
        elif self.kind == "fixed":
            reset = WINDOW - (now + self.phase) % WINDOW
        return Observed(dimension, self.limit, max(0, int(self.limit - used)), reset)  # type: ignore[arg-type]

    def utilisation(self, windows: int) -> float:
        """Of what was counted in windows 2 to the last but one."""
        inside = sum(amount for at, amount in self.stamps if WINDOW <= at < windows * WINDOW - WINDOW)
        return inside / (self.limit * (windows - 2))


@dataclass
class Outcome:
    utilisation: dict[str, float]
    worst: dict[str, float]
    refused: int
    calls: int
    gate: Gate


@dataclass
class World:
    """A saturated client in strict order, calls of about a second, transit of up to 30 ms each way."""

    kind: str
    limits: GateLimits
    requests: int | None = None
    tokens: int | None = None
    counts: str = "actual"
    windows: int = 8
    headers: bool = False
    cap: int = 1024
    near_caps: bool = False
    phase: float = 3.7
    seed: int = 1
    late_headers: bool = False
    """headers tell the state at the end of a call instead of its start"""
    others: float = 0.0
    """part of the request limit that somebody else uses, steadily, from the fourth window on"""

    def run(self) -> Outcome:
        return Run(self).play()


@dataclass
class Call:
    grant: Grant
    prompt: int
    output: int
    sent: float
    seen: list[Observed] = field(default_factory=list)


class Run:
    """One run of a world, event by event."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rng = random.Random(world.seed)
        self.gate = Gate(world.limits)
        self.estimator = OutputEstimator()
        sizes = {"requests": world.requests, "tokens": world.tokens}
        self.providers = {d: Provider(world.kind, size, world.phase) for d, size in sizes.items() if size}
        self.order = count()
        self.events: list[tuple[float, int, str, Any]] = []
        self.refused = self.calls = 0
        self.wake = -1.0
        self.head = self.fresh()

    def at(self, when: float, what: str, call: Call | None = None) -> None:
        heapq.heappush(self.events, (when, next(self.order), what, call))

    def transit(self) -> float:
        return self.rng.uniform(0.002, 0.03)

    def fresh(self) -> tuple[Ask, int, int]:
        world, rng = self.world, self.rng
        prompt = max(20, int(rng.lognormvariate(6.9, 0.45)))
        output = min(world.cap, max(1, int(rng.gammavariate(1.72, 122))))
        cap = min(world.cap, int(output * rng.uniform(1.0, 1.1)) + 1) if world.near_caps else world.cap
        known = self.estimator.estimate("m", "", int(prompt * rng.uniform(0.97, 1.06)), cap)
        ask = Ask(
            "m",
            input_tokens=known.input_tokens,
            output_mean=known.output_mean,
            output_variance=known.output_variance,
            output_cap=cap,
            reserved_tokens=max(known.input_tokens, prompt) + cap,
        )
        return ask, prompt, output

    def play(self) -> Outcome:
        world = self.world
        if world.others and world.requests:
            rate = world.others * world.requests / WINDOW
            for number in range(int(rate * WINDOW * (world.windows - 3))):
                self.at(3 * WINDOW + number / rate, "other")
        self.at(0.0, "look")
        while self.events and self.events[0][0] <= world.windows * WINDOW:
            now, _, what, call = heapq.heappop(self.events)
            getattr(self, what)(call, now)
        return Outcome(
            {d: p.utilisation(world.windows) for d, p in self.providers.items()},
            {d: p.worst for d, p in self.providers.items()},
            self.refused,
            self.calls,
            self.gate,
        )

    def other(self, _: None, now: float) -> None:
        self.providers["requests"].add(1, now)

    def arrive(self, call: Call, now: float) -> None:
        size = call.grant.ask.reserved_tokens if self.world.counts == "reserved" else call.prompt
        sizes = {"requests": 1, "tokens": size}
        fine = all(p.fits(sizes[d], now) for d, p in self.providers.items())
        if fine:
            for dimension, provider in self.providers.items():
                provider.add(sizes[dimension], now)
        call.seen = [p.observed(d, now) for d, p in self.providers.items()]
        if fine:
            self.at(now + 0.3 + 0.0033 * call.output, "complete", call)
        else:
            self.at(now + self.transit(), "refusal", call)

    def complete(self, call: Call, now: float) -> None:
        if self.world.counts == "actual" and "tokens" in self.providers:
            self.providers["tokens"].add(call.output, now)
        if self.world.late_headers:
            call.seen = [p.observed(d, now) for d, p in self.providers.items()]
        self.at(now + self.transit(), "reply", call)

    def refusal(self, call: Call, now: float) -> None:
        self.refused += 1
        if self.world.headers:
            self.gate.observe(call.grant, call.seen, now)
        self.gate.release(call.grant, now)
        self.gate.refused(call.grant.ask, "limited", None, now)
        self.look(None, now)

    def reply(self, call: Call, now: float) -> None:
        self.calls += 1
        if self.world.headers:
            self.gate.observe(call.grant, call.seen, now)
        self.gate.settle(call.grant, Usage(call.prompt, call.output), 0, now)
        self.gate.succeeded(call.grant.ask, now - call.sent, call.output, now)
        self.estimator.learn(
            "m",
            "",
            cap=self.world.cap,
            prompt_estimate=call.prompt,
            prompt_true=call.prompt,
            output_true=call.output,
        )
        self.look(None, now)

    def look(self, _: None, now: float) -> None:
        while isinstance(decision := self.gate.consider(self.head[0], now), Admit):
            ask, prompt, output = self.head
            grant = self.gate.admit(ask, now)
            self.gate.sent(grant, now)
            self.at(now + self.transit(), "arrive", Call(grant, prompt, output, now))
            self.head = self.fresh()
        assert isinstance(decision, Wait), decision
        if decision.until is not None and decision.until != self.wake:
            self.wake = decision.until
            self.at(max(now, self.wake) + self.rng.uniform(0.0, 0.002), "look")


KINDS = ("sliding", "fixed", "bucket")
REQUESTS, TOKENS = 500, 100_000


def given(counts: str = "actual", *rates: RateLimit) -> GateLimits:
    return GateLimits(rates=rates, counts=counts)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_requests_reach_the_limit_and_never_pass_it(kind: str) -> None:
    world = World(kind, given("actual", RateLimit("requests", REQUESTS, WINDOW)), requests=REQUESTS)
    outcome = world.run()
    assert outcome.refused == 0
    assert outcome.worst["requests"] <= 1.0
    assert outcome.utilisation["requests"] >= 0.985


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("headers", [True, False])
@pytest.mark.parametrize("counts", ["actual", "reserved"])
def test_tokens_reach_the_limit(kind: str, counts: str, headers: bool) -> None:
    """Without headers every provider is taken for a sliding one; with them its kind is seen and used."""
    limits = given(counts, RateLimit("tokens", TOKENS, WINDOW))
    near_caps = counts == "reserved"
    world = World(
        kind, limits, tokens=TOKENS, counts=counts, near_caps=near_caps, windows=12, headers=headers
    )
    outcome = world.run()
    assert outcome.refused == 0
    assert outcome.worst["tokens"] <= 1.01
    assert outcome.utilisation["tokens"] >= (0.97 if headers and kind != "sliding" else 0.95)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("phase", [0.5, 4.6, 9.2])
def test_limits_are_learned_from_headers(kind: str, phase: float) -> None:
    by_requests = World(kind, GateLimits(), requests=REQUESTS, headers=True, phase=phase).run()
    assert by_requests.refused <= 3
    assert by_requests.utilisation["requests"] >= 0.9
    by_tokens = World(kind, GateLimits(), tokens=TOKENS, headers=True, phase=phase).run()
    assert by_tokens.refused <= 3
    assert by_tokens.utilisation["tokens"] >= 0.9
    late = World(kind, GateLimits(), requests=REQUESTS, headers=True, phase=phase, late_headers=True).run()
    assert late.refused <= 3
    assert late.utilisation["requests"] >= 0.9
    both = World(kind, GateLimits(), requests=80, tokens=TOKENS, headers=True, phase=phase).run()
    assert both.refused <= 3
    assert max(both.utilisation.values()) >= 0.88


@pytest.mark.parametrize("kind", KINDS)
def test_headers_cost_nothing_when_nobody_shares_the_key(kind: str) -> None:
    limits = given("actual", RateLimit("requests", REQUESTS, WINDOW))
    outcome = World(kind, limits, requests=REQUESTS, headers=True).run()
    assert outcome.refused == 0
    assert outcome.utilisation["requests"] >= 0.985


@pytest.mark.parametrize("kind", ["fixed", "bucket"])
def test_a_report_on_requests_says_nothing_of_how_tokens_are_counted(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both limits given: each is seen for what it is once, not forgotten and found again at every reply."""
    rebuilt: list[str] = []
    reshape = ReportedLimits.reshape

    def counted(self: ReportedLimits, rate: RateLimit, *details: Any) -> None:
        rebuilt.append(rate.dimension)
        reshape(self, rate, *details)

    monkeypatch.setattr(ReportedLimits, "reshape", counted)
    limits = given("actual", RateLimit("requests", 300, WINDOW), RateLimit("tokens", TOKENS, WINDOW))
    outcome = World(kind, limits, requests=300, tokens=TOKENS, headers=True).run()
    assert len(rebuilt) == len(set(rebuilt))
    assert "tokens" in rebuilt
    assert outcome.refused == 0
    assert max(outcome.utilisation.values()) >= 0.97


def test_others_on_the_same_key_are_noticed() -> None:
    limits = given("actual", RateLimit("requests", REQUESTS, WINDOW))
    shared = {"requests": REQUESTS, "others": 0.4, "windows": 10}
    aware = World("sliding", limits, headers=True, **shared).run()  # type: ignore[arg-type]
    blind = World("sliding", limits, **shared).run()  # type: ignore[arg-type]
    assert aware.refused < blind.refused / 2


def test_a_wrong_limit_is_survived() -> None:
    """The user says twice what the provider bears, which sends no headers: refusals, but it goes on."""
    limits = given("actual", RateLimit("requests", 2 * REQUESTS, WINDOW))
    outcome = World("sliding", limits, requests=REQUESTS, windows=10).run()
    assert outcome.utilisation["requests"] >= 0.5
    assert outcome.refused < outcome.calls / 4
