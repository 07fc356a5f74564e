"""Every registered policy passes the conformance suite; `priority` ages as it promises; the suite bites."""

import time

import pytest

from penstock.model.rank import Rank
from penstock.policies import POLICIES, policy_named
from penstock.policies.priority import PriorityWithAgeing
from penstock.testing import ageing_checks, policy_checks, run_policy_suite


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("check", policy_checks(), ids=str)
def test_policy_keeps_the_contract(check, name):
    check.run(lambda: policy_named(name))


@pytest.mark.parametrize("seconds_per_level", [0.5, 60.0, 3600.0])
@pytest.mark.parametrize("check_no", range(len(ageing_checks(1.0))))
def test_priority_ages(check_no, seconds_per_level):
    ageing_checks(seconds_per_level)[check_no].run(lambda: PriorityWithAgeing(seconds_per_level))


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_is_known_by_the_name_it_has(name):
    assert policy_named(name).name == name


class Bad:
    name = "bad"
    preemptive = False

    def rank(self, task, now):
        return Rank(0, task.entered_at)


class ReadsTheClock(Bad):
    def rank(self, task, now):
        return Rank(0, task.entered_at - time.time())


class GivesNoNumber(Bad):
    def rank(self, task, now):
        return Rank(0, float("nan") if task.priority > 50 else task.entered_at)


class RanksById(Bad):
    def rank(self, task, now):
        return Rank(0, float(int(task.id[:4], 16)))


class RemembersCalls(Bad):
    calls = 0

    def rank(self, task, now):
        self.calls += 1
        return Rank(0, task.entered_at + self.calls)


@pytest.mark.parametrize(
    ("bad", "broken"),
    [
        (ReadsTheClock, "determinism"),
        (GivesNoNumber, "rank_is_a_pair_of_numbers"),
        (RanksById, "equal_tasks_are_equal"),
        (RemembersCalls, "determinism"),
    ],
)
def test_a_bad_policy_is_found_out(bad, broken):
    report = run_policy_suite(bad)
    assert broken in report.failed, report


def test_a_policy_that_does_not_age_is_found_out():
    class Strict(Bad):
        def rank(self, task, now):
            return Rank(100 - task.priority, task.entered_at)

    assert run_policy_suite(Strict).ok
    assert "ageing_bound" in run_policy_suite(Strict, 60.0).failed
    with pytest.raises(AssertionError, match="ageing_bound"):
        run_policy_suite(Strict, 60.0).demand()
