"""Single rules of the gate: reasons, cooldown, adaptive concurrency, learning, pools, estimates."""

from __future__ import annotations

import random

import pytest

from penstock.admission import (
    Admit,
    Ask,
    Concurrency,
    Gate,
    GateLimits,
    Grant,
    Observed,
    OutputEstimator,
    RateLimit,
    Reject,
    Wait,
)
from penstock.admission.health import Health, LatencyWatch
from penstock.model.usage import Usage

ASK = Ask("m")
RPM = RateLimit("requests", 600, 60.0)


def go(gate: Gate, ask: Ask, now: float) -> Grant:
    assert isinstance(gate.consider(ask, now), Admit)
    grant = gate.admit(ask, now)
    gate.sent(grant, now)
    return grant


def test_a_full_window_says_when_it_has_room() -> None:
    gate = Gate(GateLimits(rates=(RateLimit("requests", 2, 60.0, model="m"),), pacing=False))
    for at in (0.0, 5.0):
        gate.settle(go(gate, ASK, at), Usage(1, 1), 0, at)
    assert gate.consider(ASK, 6.0) == Wait("requests", "rpm:m", 60.5)
    assert isinstance(gate.consider(Ask("other"), 6.0), Admit)
    assert isinstance(gate.consider(ASK, 60.5), Admit)


def test_a_hold_stays_as_long_as_the_call_is_in_flight() -> None:
    gate = Gate(GateLimits(rates=(RateLimit("requests", 1, 10.0),)))
    grant = go(gate, ASK, 0.0)
    assert gate.consider(ASK, 500.0) == Wait("requests", "requests/10s", None)
    gate.settle(grant, Usage(1, 1), 0, 500.0)
    assert isinstance(gate.consider(ASK, 500.0), Admit)


def test_what_can_never_fit_is_judged_by_prompt_and_cap() -> None:
    gate = Gate(GateLimits(rates=(RateLimit("tokens", 1000, 60.0),), pools={"gpu": 1}))
    large = gate.never_fits(Ask("m", input_tokens=600, output_cap=500))
    assert isinstance(large, Reject)
    assert "1100 tokens" in large.message
    assert "tpm" in large.message
    learned = Ask("m", input_tokens=600, output_mean=900.0, output_variance=10.0)
    grant = go(gate, learned, 0.0)  # an estimate may be wrong: it goes alone
    assert isinstance(gate.consider(learned, 0.0), Wait)
    gate.release(grant, 0.0)
    pool = gate.never_fits(Ask("m", pools=(("browser", 1),)))
    assert isinstance(pool, Reject)
    assert "no pool 'browser'" in pool.message


def test_an_overrun_is_booked_and_delays_what_follows() -> None:
    gate = Gate(GateLimits(rates=(RateLimit("tokens", 1000, 60.0),), pacing=False))
    grant = go(gate, Ask("m", input_tokens=100, output_mean=100.0), 0.0)
    gate.settle(grant, Usage(100, 850), 0, 1.0)
    decision = gate.consider(Ask("m", input_tokens=100), 1.0)
    assert isinstance(decision, Wait)
    assert decision.until == pytest.approx(60.5, abs=0.1)


def test_pools_concurrency_and_all_or_nothing() -> None:
    limits = GateLimits(rates=(RPM,), concurrency=(Concurrency(1, tenant="t"),), pools={"gpu": 3})
    gate = Gate(limits)
    gpu = Ask("m", pools=(("gpu", 2),))
    grant = go(gate, gpu, 0.0)
    assert gate.consider(gpu, 0.0) == Wait("pool", "gpu", None)
    assert gate.headroom(gpu, 0.0, 5) == 0
    gate.release(grant, 0.0)
    assert gate.headroom(gpu, 0.0, 5) == 1
    go(gate, Ask("m", "t"), 0.0)
    assert gate.consider(Ask("m", "t"), 0.0) == Wait("concurrency", "concurrency of t", None)


def test_after_a_refusal_nobody_goes_before_retry_after() -> None:
    gate = Gate(GateLimits(rates=(RPM,)))
    grants = [go(gate, ASK, 0.0) for _ in range(8)]
    for _ in grants:
        gate.refused(ASK, "overloaded", 2.0, 1.0)
    assert gate.consider(ASK, 1.0) == Wait("cooldown", "m", 3.0)
    assert isinstance(gate.consider(Ask("other"), 1.0), Admit)
    for grant in grants[:5]:
        gate.release(grant, 3.0)
    go(gate, ASK, 3.0)  # halved once, from 8 to 4, not once per refusal
    assert isinstance(gate.consider(ASK, 3.0), Wait)


def test_cooldowns_without_retry_after_grow() -> None:
    health, now, pauses = Health(100, True), 0.0, []
    for _ in range(9):
        health.refused("limited", None, now)
        wait = health.wait(ASK, now)
        assert wait is not None
        assert wait.until is not None
        pauses.append(wait.until - now)
        now = wait.until
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_without_limits_one_call_probes_and_then_it_doubles() -> None:
    gate, now, rounds = Gate(GateLimits()), 0.0, []
    for _ in range(6):
        grants = []
        while isinstance(gate.consider(ASK, now), Admit):
            grants.append(go(gate, ASK, now))
        rounds.append(len(grants))
        now += 1.0
        for grant in grants:
            gate.settle(grant, Usage(10, 10), 0, now)
            gate.succeeded(ASK, 1.0, 10, now)
    assert rounds == [1, 2, 4, 8, 16, 32]


def test_noise_never_holds_back_a_healthy_provider() -> None:
    rng, watch = random.Random(5), LatencyWatch()
    for _ in range(20_000):
        output = rng.randrange(1, 1000)
        seconds = (0.3 + 0.02 * output) * rng.lognormvariate(0.0, 0.4)
        assert not watch.slow(seconds, output)


def test_slow_calls_bear_fewer_until_it_proves_not_to_be_our_load() -> None:
    watch = LatencyWatch()
    assert not any(watch.slow(1.0, 100) for _ in range(200))
    slowed = [watch.slow(5.0, 100) for _ in range(2000)]
    assert 1 <= sum(slowed) <= 3
    assert not any(slowed[500:])


def test_remaining_of_a_reply_clamps_a_learned_limit() -> None:
    gate = Gate(GateLimits())
    grant = go(gate, ASK, 0.0)
    gate.observe(grant, [Observed("requests", 100, 1, 30.0)], 1.0)
    gate.settle(grant, Usage(1, 1), 0, 1.0)
    gate.succeeded(ASK, 1.0, 1, 1.0)
    go(gate, ASK, 1.0)
    decision = gate.consider(ASK, 1.0)
    assert isinstance(decision, Wait)
    assert decision.until == pytest.approx(30.0, abs=0.5)


def test_headers_that_say_nothing_are_ignored() -> None:
    gate = Gate(GateLimits())
    grant = go(gate, ASK, 0.0)
    gate.observe(grant, [Observed("requests", -1, -1, 0.0), Observed("tokens", None, 5, None)], 1.0)
    gate.settle(grant, Usage(1, 1), 0, 1.0)
    assert gate.usage(1.0) == []


def test_estimates_hold_the_cap_until_thirty_replies_are_known() -> None:
    rng, learned, careful = random.Random(3), OutputEstimator(), OutputEstimator("cap")
    for count in range(600):
        estimate = learned.estimate("m", "t", 100, 1024)
        if count < 30:
            assert (estimate.output_mean, estimate.output_variance, estimate.output_high) == (
                1024.0,
                0.0,
                1024,
            )
        for each in (learned, careful):
            output = int(rng.gauss(200, 20))
            each.learn("m", "t", cap=1024, prompt_estimate=100, prompt_true=120, output_true=output)
    known = learned.estimate("m", "t", 100, 1024)
    assert known.input_tokens == pytest.approx(120, abs=1)
    assert 195 < known.output_mean < 205
    assert 300 < known.output_variance < 500
    assert 250 < known.output_high < 280
    assert careful.estimate("m", "t", 100, 1024).output_high == 1024
    assert learned.estimate("m", "t", 100, 50).output_high == 50
    assert learned.estimate("m", "t", 100, 50).output_variance == 0.0
    assert learned.estimate("m", "t", 100, 4096).output_high == 4096
