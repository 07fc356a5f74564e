"""Claims about our strategies that hold on every real trace, at 0.9 and 1.1 of 8 slots, whatever the seed."""

from collections import Counter
from dataclasses import replace
from itertools import cycle

import pytest

from penstock.lab import Recipe, ServiceModel, Setup, at_load, generate, measure, replay, saturated
from penstock.lab.classes import Fill, filled
from penstock.model.rank import Rank
from penstock.policies import Strategy, policy_named

MODEL = ServiceModel()
REAL = ("azure_conv_2023", "azure_code_2023", "vtc_arena_27tenants", "mooncake_conversation_2024")
SECONDS_PER_LEVEL = 6.0
# The classes stand 10 levels apart: the longest ageing can hold somebody back.
AGEING_BOUND = 20 * SECONDS_PER_LEVEL
# Five seeds of four traces take a minute and a half; these show the same in seconds.
QUICK = [("vtc_arena_27tenants", 0.9, 0), ("vtc_arena_27tenants", 1.1, 1), ("azure_conv_2023", 1.1, 2)]
ALL = [(name, load, seed) for name in REAL for load in (0.9, 1.1) for seed in range(5)]


class EarliestDeadline(Strategy):
    """The rule that collapses: it serves what is late already."""

    name = "earliest_deadline"

    def rank(self, task, now):
        return Rank(0, task.deadline)


def check_claims(trace, load, seed):
    played = filled(at_load(trace, load, 8, MODEL), Fill(seed, noise_sigma=1.0))

    def play(policy, fairness=False):
        return measure(replay(played, policy, Setup()), fairness)

    first_come = play(policy_named("fifo"))
    assert play(policy_named("shortest_job_first", ageing=0)).completion.mean <= first_come.completion.mean
    ageing = play(policy_named("priority", seconds_per_level=SECONDS_PER_LEVEL))
    assert ageing.wait.most <= first_come.wait.most + AGEING_BOUND
    assert 0.94 <= ageing.completion.mean / first_come.completion.mean <= 1.06
    plain, ours = play(EarliestDeadline()), play(policy_named("deadline"))
    assert ours.deadline_slo >= 0.9, f"{ours.deadline_slo} met, earliest deadline first {plain.deadline_slo}"
    for preemptive in (True, False):
        shared = play(policy_named("fair", inside="fifo", preemptive=preemptive), fairness=True)
        assert shared.gap <= 1.0
        assert 0.85 <= shared.completion.mean / first_come.completion.mean <= 1.06


@pytest.mark.parametrize(("name", "load", "seed"), QUICK)
def test_claims(real_trace, name, load, seed):
    check_claims(real_trace(name), load, seed)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("name", "load", "seed"), ALL)
def test_claims_everywhere(real_trace, name, load, seed):
    check_claims(real_trace(name), load, seed)


def test_claims_on_a_generated_trace():
    recipe = Recipe(requests=1500, output_cv=1.2, burst=1.5, seed=7)
    for load in (0.9, 1.1):
        check_claims(generate(recipe), load, seed=7)


WEIGHTS = {"a": 1.0, "b": 2.0, "c": 4.0}


def backlogged(trace):
    """Three tenants with as many requests each, all there from the start."""
    requests = [
        replace(one, tenant=name)
        for one, name in zip(saturated(trace).requests, cycle(WEIGHTS), strict=False)
    ]
    return replace(trace, requests=tuple(requests))


def served_shares(segments, until, weights):
    """Each tenant's share of all service given before `until`."""
    served = Counter()
    for one in segments:
        if one.start < until:
            part = min(1.0, (until - one.start) / max(1e-9, one.end - one.start))
            served[one.call.request.tenant] += weights.of(one.prompt, 0) + part * weights.of(0, one.output)
    return {tenant: amount / served.total() for tenant, amount in served.items()}


def check_shares(trace, preemptive):
    policy = policy_named("fair", inside="fifo", weights=WEIGHTS, preemptive=preemptive)
    done = replay(filled(backlogged(trace), Fill(noise_sigma=1.0)), policy, Setup())
    all_waited_until = max(one.start for one in done.calls if one.request.tenant == "c")
    shares = served_shares(done.segments, all_waited_until, done.setup.weights)
    for name, weight in WEIGHTS.items():
        assert shares[name] == pytest.approx(weight / 7, abs=0.01)


@pytest.mark.parametrize("preemptive", [True, False])
def test_weighted_shares(preemptive):
    check_shares(generate(Recipe(requests=6000, seed=3)), preemptive)


@pytest.mark.parametrize("preemptive", [True, False])
@pytest.mark.parametrize(
    "name",
    ["azure_code_2023", *(pytest.param(n, marks=pytest.mark.slow) for n in (REAL[0], REAL[3]))],
)
def test_weighted_shares_on_real_traces(real_trace, name, preemptive):
    check_shares(real_trace(name), preemptive)
