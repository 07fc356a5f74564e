"""Every registered policy passes the conformance suite; `priority` ages as it promises; the suite bites."""

import random
import time
from dataclasses import replace

import pytest

from penstock.model.rank import Rank
from penstock.policies import POLICIES, Guarded, Strategy, policy_named
from penstock.policies.preemptive import Preemptive
from penstock.policies.priority import PriorityWithAgeing
from penstock.testing import ageing_checks, policy_checks, run_policy_suite

OTHER_SETTINGS = {
    "round_robin": {"time_slice": 0.25},
    "shortest_job_first": {"ageing": 0},
    "shortest_remaining": {"ageing": 2.5},
    "deadline": {"preemptive": True},
    "mlfq": {"levels": (1, 2.5, 40), "boost_seconds": 0},
    "fair": {"inside": "mlfq", "weights": {"ann": 3}},
}


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("check", policy_checks(), ids=str)
def test_policy_keeps_the_contract(check, name):
    check.run(lambda: policy_named(name))


@pytest.mark.parametrize("name", OTHER_SETTINGS)
def test_policy_keeps_the_contract_under_other_settings(name):
    run_policy_suite(lambda: policy_named(name, **OTHER_SETTINGS[name])).demand()


@pytest.mark.parametrize("inside", sorted(set(POLICIES) - {"fair"}))
def test_fair_keeps_the_contract_around_any_other(inside):
    run_policy_suite(lambda: policy_named("fair", inside=inside)).demand()


@pytest.mark.parametrize("name", POLICIES)
def test_a_guarded_policy_keeps_the_contract(name):
    run_policy_suite(lambda: Guarded(policy_named(name))).demand()


@pytest.mark.parametrize("kind", [PriorityWithAgeing, Preemptive])
@pytest.mark.parametrize("seconds_per_level", [0.5, 60.0, 3600.0])
def test_priority_ages(seconds_per_level, kind):
    run_policy_suite(lambda: kind(seconds_per_level), seconds_per_level).demand()


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_is_known_by_the_name_it_has(name):
    assert policy_named(name).name == name


class Bad(Strategy):
    name = "bad"

    def rank(self, task, now):
        return Rank(0, task.entered_at)


class ReadsTheClock(Bad):
    def rank(self, task, now):
        return Rank(0, task.entered_at - time.time())


class GivesNoNumber(Bad):
    def rank(self, task, now):
        return Rank(0, float("nan") if task.priority > 50 else task.entered_at)


class FailsAfterSteps(Bad):
    def rank(self, task, now):
        return Rank(0, float("inf") if task.attained > 6_000 else task.entered_at)


class RanksByIdentity(Bad):
    def rank(self, task, now):
        return Rank(0, float(id(task) % 1009))


class RemembersCalls(Bad):
    calls = 0

    def rank(self, task, now):
        self.calls += 1
        return Rank(0, task.entered_at + self.calls)


class KeepsNotes(Bad):
    def __init__(self):
        self.seen = []

    def rank(self, task, now):
        self.seen.append(task.priority)
        return Rank(0, task.entered_at)


class ThrowsDice(Bad):
    def flow(self, task):
        random.random()
        return None


class GetsBetterByWaiting(Bad):
    def rank(self, task, now):
        return Rank(0, -(now - task.entered_at) / (1 + task.size))


class ForgetsService(Bad):
    def stepped(self, task, service, seconds, now):
        return replace(super().stepped(task, service, seconds, now), attained=task.attained)


class ForgetsTheProgram(Bad):
    def stepped(self, task, service, seconds, now):
        return replace(super().stepped(task, service, seconds, now), program=task.program)


class NeverReturns(Bad):
    def stepped(self, task, service, seconds, now):
        return replace(super().stepped(task, service, seconds, now), turn_at=float("inf"))


class FlowsByService(Bad):
    def flow(self, task):
        return f"{task.attained:.0f}"


class PromisesTooMuch(Bad):
    def rank(self, task, now):
        return Rank(0, -task.entered_at)

    def overtaken_within(self, task):
        return 1_000.0


class Shouts(Bad):
    name = "Bad Policy"


BAD = [
    (ReadsTheClock, "determinism"),
    (GivesNoNumber, "rank_is_a_pair_of_numbers"),
    (FailsAfterSteps, "rank_is_a_pair_of_numbers"),
    (RanksByIdentity, "equal_tasks_are_equal"),
    (RemembersCalls, "determinism"),
    (KeepsNotes, "purity"),
    (ThrowsDice, "purity"),
    (GetsBetterByWaiting, "waiting_never_improves_a_rank"),
    (ForgetsService, "stepped_is_monotone"),
    (ForgetsTheProgram, "stepped_is_monotone"),
    (NeverReturns, "stepped_is_monotone"),
    (FlowsByService, "flow_is_a_name"),
    (PromisesTooMuch, "no_starvation_where_promised"),
    (Shouts, "name"),
]


@pytest.mark.parametrize(("bad", "broken"), BAD)
def test_a_bad_policy_is_found_out(bad, broken):
    report = run_policy_suite(bad)
    assert broken in report.failed, report


def test_a_harmless_policy_is_not():
    run_policy_suite(Bad).demand()


def test_every_check_has_bitten():
    order_needs_a_memory = {"total_order"}
    assert {check.name for check in policy_checks()} - order_needs_a_memory == {broken for _, broken in BAD}


def test_a_policy_that_does_not_age_is_found_out():
    class Strict(Bad):
        def rank(self, task, now):
            return Rank(100 - task.priority, task.entered_at)

    assert run_policy_suite(Strict).ok
    assert "ageing_bound" in run_policy_suite(Strict, 60.0).failed
    with pytest.raises(AssertionError, match="ageing_bound"):
        run_policy_suite(Strict, 60.0).demand()
    assert len(ageing_checks(60.0)) == 4
