"""How close to a provider's limit the gate comes: small discrete-event runs against exact providers."""

from __future__ import annotations

import heapq
import random
from collections import deque
from dataclasses import dataclass, field
from itertools import count

import pytest

from penstock.admission import (
    Admit,
    Ask,
    Gate,
    GateLimits,
    Observed,
    OutputEstimator,
    RateLimit,
    Wait,
)
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
    others: float = 0.0
    """part of the request limit that somebody else uses, steadily, from the fourth window on"""
    events: list = field(default_factory=list)

    def run(self) -> Outcome:
        rng = random.Random(self.seed)
        gate, estimator, order = Gate(self.limits), OutputEstimator(), count()
        providers: dict[str, Provider] = {}
        if self.requests:
            providers["requests"] = Provider(self.kind, self.requests, self.phase)
        if self.tokens:
            providers["tokens"] = Provider(self.kind, self.tokens, self.phase)
        events: list[tuple[float, int, str, object]] = []
        end, now, refused, calls = self.windows * WINDOW, 0.0, 0, 0

        def at(when: float, what: str, thing: object) -> None:
            heapq.heappush(events, (when, next(order), what, thing))

        def fresh() -> tuple[Ask, int, int]:
            prompt = max(20, int(rng.lognormvariate(6.9, 0.45)))
            output = min(self.cap, max(1, int(rng.gammavariate(1.72, 122))))
            cap = min(self.cap, int(output * rng.uniform(1.0, 1.1)) + 1) if self.near_caps else self.cap
            estimate = int(prompt * rng.uniform(0.97, 1.06))
            known = estimator.estimate("m", "", estimate, cap)
            ask = Ask(
                "m",
                input_tokens=known.input_tokens,
                output_mean=known.output_mean,
                output_variance=known.output_variance,
                output_cap=cap,
                reserved_tokens=max(known.input_tokens, prompt) + cap,
            )
            return ask, prompt, output

        head, wake = fresh(), -1.0
        at(0.0, "look", None)
        if self.others and self.requests:
            for number in range(int(self.others * self.requests * (self.windows - 3))):
                at(3 * WINDOW + number * WINDOW / (self.others * self.requests), "other", None)
        while events:
            now, _, what, thing = heapq.heappop(events)
            if now > end:
                break
            if what == "other":
                providers["requests"].add(1, now)
                continue
            if what == "arrive":
                grant, prompt, output, sent = thing  # type: ignore[misc]
                size = grant.ask.reserved_tokens if self.counts == "reserved" else prompt
                sizes = {"requests": 1, "tokens": size}
                fine = all(p.fits(sizes[d], now) for d, p in providers.items())
                if fine:
                    for dimension, provider in providers.items():
                        provider.add(sizes[dimension], now)
                seen = [p.observed(d, now) for d, p in providers.items()]
                if fine:
                    at(now + 0.3 + 0.0033 * output, "complete", (*thing, seen))  # type: ignore[misc]
                else:
                    at(now + rng.uniform(0.002, 0.03), "refused", (grant, seen))
                continue
            if what == "complete":
                output = thing[2]  # type: ignore[index]
                if self.counts == "actual" and "tokens" in providers:
                    providers["tokens"].add(output, now)
                at(now + rng.uniform(0.002, 0.03), "reply", thing)
                continue
            if what == "refused":
                grant, seen = thing  # type: ignore[misc]
                refused += 1
                if self.headers:
                    gate.observe(grant, seen, now)
                gate.release(grant, now)
                gate.refused(grant.ask, "limited", None, now)
            elif what == "reply":
                grant, prompt, output, sent, seen = thing  # type: ignore[misc]
                calls += 1
                if self.headers:
                    gate.observe(grant, seen, now)
                gate.settle(grant, Usage(prompt, output), 0, now)
                gate.succeeded(grant.ask, now - sent, output, now)
                estimator.learn(
                    "m", "", cap=self.cap, prompt_estimate=prompt, prompt_true=prompt, output_true=output
                )
            while isinstance(decision := gate.consider(head[0], now), Admit):
                grant = gate.admit(head[0], now)
                gate.sent(grant, now)
                at(now + rng.uniform(0.002, 0.03), "arrive", (grant, head[1], head[2], now))
                head = fresh()
            assert isinstance(decision, Wait), decision
            if decision.until is not None and decision.until != wake:
                wake = decision.until
                at(max(now, wake) + rng.uniform(0.0, 0.002), "look", None)
        return Outcome(
            {d: p.utilisation(self.windows) for d, p in providers.items()},
            {d: p.worst for d, p in providers.items()},
            refused,
            calls,
            gate,
        )


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
    both = World(kind, GateLimits(), requests=80, tokens=TOKENS, headers=True, phase=phase).run()
    assert both.refused <= 3
    assert max(both.utilisation.values()) >= 0.88


@pytest.mark.parametrize("kind", KINDS)
def test_headers_cost_nothing_when_nobody_shares_the_key(kind: str) -> None:
    limits = given("actual", RateLimit("requests", REQUESTS, WINDOW))
    outcome = World(kind, limits, requests=REQUESTS, headers=True).run()
    assert outcome.refused == 0
    assert outcome.utilisation["requests"] >= 0.985


def test_others_on_the_same_key_are_noticed() -> None:
    limits = given("actual", RateLimit("requests", REQUESTS, WINDOW))
    shared = {"requests": REQUESTS, "others": 0.4, "windows": 10}
    aware = World("sliding", limits, headers=True, **shared).run()  # type: ignore[arg-type]
    blind = World("sliding", limits, **shared).run()  # type: ignore[arg-type]
    assert aware.refused < blind.refused / 2


def test_a_wrong_limit_is_survived() -> None:
    """The user says twice what the provider bears, and the provider says nothing: refusals, but it goes on."""
    limits = given("actual", RateLimit("requests", 2 * REQUESTS, WINDOW))
    outcome = World("sliding", limits, requests=REQUESTS, windows=10).run()
    assert outcome.utilisation["requests"] >= 0.5
    assert outcome.refused < outcome.calls / 4
