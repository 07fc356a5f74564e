"""Replays through the real gate: how much of a limit is used, and that it is never passed."""

import random
from dataclasses import replace

import pytest

from penstock.admission import Gate
from penstock.errors import ConfigurationError
from penstock.lab import RateSetup, Recipe, Setup, generate, limited_replay, measure, saturated
from penstock.lab.service import ServiceModel
from penstock.policies import policy_named

TOKENS = 200_000
SLOTS = Setup(slots=1000)
LEAST_USE = {"sliding": 0.96, "fixed": 0.97, "bucket": 0.99}
HOUR_AFTER_WARMUP = 3900.0


def run(trace, kind, **details):
    rates = RateSetup(tokens=TOKENS, kind=kind, until=HOUR_AFTER_WARMUP, **details)
    return limited_replay(saturated(trace), policy_named("fifo"), SLOTS, rates)


@pytest.mark.parametrize("kind", LEAST_USE)
def test_a_token_limit_is_used_and_kept(real_trace, kind):
    done = run(real_trace("azure_conv_2023"), kind)
    assert done.use["tokens"] >= LEAST_USE[kind]
    assert done.worst["tokens"] <= 1.0
    assert done.refused == 0


def shuffled(trace, seed):
    order = random.Random(seed).sample(trace.requests, len(trace.requests))
    return replace(trace, requests=tuple(replace(one, row=row) for row, one in enumerate(order)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", LEAST_USE)
@pytest.mark.parametrize("trace", ["azure_conv_2023", "azure_code_2023"])
def test_in_any_order(real_trace, trace, kind):
    """Replies of code have a heavy tail: now and then one is ten times longer than the gate can foresee."""
    for order in range(4):
        given = real_trace(trace) if order == 0 else shuffled(real_trace(trace), order)
        done = run(given, kind, seed=order)
        assert done.use["tokens"] >= LEAST_USE[kind]
        assert done.worst["tokens"] <= 1.0
        assert done.refused == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", LEAST_USE)
def test_code_too(real_trace, kind):
    """With what the gate has learned as with the caps: no window over."""
    done = run(real_trace("azure_code_2023"), kind)
    assert done.use["tokens"] >= LEAST_USE[kind]
    assert done.worst["tokens"] <= 1.0
    capped = run(real_trace("azure_code_2023"), kind, reserve="cap")
    assert capped.worst["tokens"] <= 1.0
    assert done.refused == capped.refused == 0


HEAVY = generate(Recipe(requests=4000, rate=50, output=30, output_cv=3.0, most_tokens=8000, seed=4))


@pytest.mark.parametrize("kind", ["sliding", "fixed"])
def test_few_replies_with_a_heavy_tail(kind):
    """Where two or three calls are in flight, what is kept for them has to bear one long reply."""
    rates = RateSetup(tokens=TOKENS, kind=kind, until=1000, seed=4)
    done = limited_replay(saturated(HEAVY), policy_named("fifo"), SLOTS, rates)
    assert done.use["tokens"] >= 0.97
    assert done.worst["tokens"] <= 1.0
    assert done.refused == 0


GENERATED = generate(Recipe(requests=1500, rate=50, output_cv=0.6, seed=2))


@pytest.mark.parametrize("kind", LEAST_USE)
def test_generated_load(kind):
    rates = RateSetup(tokens=TOKENS, kind=kind, warmup=120, until=500)
    done = limited_replay(saturated(GENERATED), policy_named("fifo"), SLOTS, rates)
    assert done.use["tokens"] >= 0.95
    assert done.worst["tokens"] <= 1.0
    assert done.refused == 0


def test_a_request_limit():
    rates = RateSetup(requests=300, until=240, warmup=60)
    done = limited_replay(saturated(GENERATED), policy_named("fifo"), SLOTS, rates)
    assert done.use["requests"] >= 0.98
    assert done.worst["requests"] <= 1.0


def test_size_is_measured_in_the_scarce_resource():
    """Under a token limit shortest first by tokens beats shortest first by seconds."""
    trace = replace(GENERATED, requests=GENERATED.requests[:800])
    rates = RateSetup(tokens=100_000)
    policy = policy_named("shortest_job_first", ageing=0)
    means = {
        unit: measure(
            limited_replay(trace, policy, Setup(slots=128, unit=unit), rates), False
        ).completion.mean
        for unit in ("seconds", "tokens")
    }
    first_come = measure(limited_replay(trace, policy_named("fifo"), Setup(slots=128), rates), False)
    assert means["tokens"] < means["seconds"]
    assert means["tokens"] < 0.8 * first_come.completion.mean


def test_what_never_fits_is_told_and_left_out():
    trace = replace(GENERATED, requests=tuple(replace(one, prompt=500) for one in GENERATED.requests[:50]))
    large = replace(trace.requests[0], prompt=90_000, row=999)
    trace = replace(trace, requests=(*trace.requests, large))
    done = limited_replay(trace, policy_named("fifo"), Setup(), RateSetup(tokens=20_000, output_cap=2048))
    assert done.never_fit == 1
    assert len(done.calls) == 50


def test_programs_run_under_limits():
    trace = generate(Recipe(requests=30, programs="dags", seed=4))
    done = limited_replay(trace, policy_named("shortest_program"), Setup(), RateSetup(tokens=60_000))
    assert len(done.calls) == len(trace.requests)
    ends = {(one.request.program, one.request.call): one.finish for one in done.calls}
    for one in done.calls:
        for parent in one.request.depends_on:
            assert one.start >= ends[one.request.program, parent]


def test_slots_bind_too():
    """With more tokens than anybody wants the gate only adds the way there and back."""
    trace = replace(GENERATED, requests=GENERATED.requests[:200])
    rates = RateSetup(tokens=10**9, transit=(0.0, 0.0))
    done = limited_replay(trace, policy_named("fifo"), Setup(slots=4), rates)
    busy = sum(one.finish - one.start for one in done.calls)
    assert busy == pytest.approx(sum(ServiceModel().seconds(one) for one in trace.requests))
    moments = sorted([(one.start, 1) for one in done.calls] + [(one.finish, -1) for one in done.calls])
    running = most = 0
    for _, change in sorted(moments):
        running += change
        most = max(most, running)
    assert most == 4


def test_the_gate_that_decides_is_the_real_one(monkeypatch):
    asked = []
    consider = Gate.consider
    monkeypatch.setattr(
        Gate, "consider", lambda gate, ask, now: asked.append(ask) or consider(gate, ask, now)
    )
    trace = replace(GENERATED, requests=GENERATED.requests[:20])
    limited_replay(trace, policy_named("fifo"), Setup(), RateSetup(tokens=TOKENS))
    assert len(asked) >= 20


@pytest.mark.parametrize("wrong", [{}, {"tokens": 0}, {"tokens": 5, "kind": "leaky"}])
def test_wrong_limits_are_refused(wrong):
    with pytest.raises(ConfigurationError):
        RateSetup(**wrong)
