"""What each strategy does with a line of tasks: who goes first, and where a task stands after a step."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from penstock.model.rank import Rank
from penstock.model.standing import Program, Standing
from penstock.policies import policy_named
from penstock.policies.base import advanced
from penstock.policies.deadline import expired, hopeless, lateness

NOW = 10_000.0


def order(policy, /, now=NOW, **tasks):
    """Names in the order in which they go."""
    return " ".join(sorted(tasks, key=lambda name: (policy.rank(tasks[name], now), name)))


def after_steps(policy, task, *steps):
    """`task` after (service, seconds, end) steps."""
    for step in steps:
        task = policy.stepped(task, *step)
    return task


def test_a_step_advances_the_counts():
    program = Program("p", 1.0, size=100.0, attained=10.0)
    task = Standing(5.0, size=30.0, seconds_left=3.0, program=program)
    after = advanced(task, 20.0, 2.0)
    assert (after.attained, after.remaining, after.seconds_left, after.slice_used) == (20.0, 10.0, 1.0, 2.0)
    assert (after.started, after.program.attained, after.program.remaining) == (True, 30.0, 70.0)
    assert advanced(after, 20.0, 2.0).seconds_left == 0.0
    assert task == Standing(5.0, size=30.0, seconds_left=3.0, program=program)


@pytest.mark.parametrize("name", ["fifo", "priority", "preemptive"])
def test_simple_strategies_rank_what_is_no_standing(name):
    task = SimpleNamespace(priority=30, entered_at=5_000.0, deadline=None)
    assert policy_named(name).rank(task, NOW) == policy_named(name).rank(Standing(5_000.0, priority=30), NOW)


def test_fifo():
    assert (
        order(policy_named("fifo"), b=Standing(2.0), a=Standing(3.0, priority=100), c=Standing(1.0))
        == "c b a"
    )


def test_preemptive_ranks_as_priority():
    task = Standing(5.0, priority=70)
    plain, preemptive = policy_named("priority"), policy_named("preemptive")
    assert (plain.preemptive, preemptive.preemptive) == (False, True)
    assert plain.rank(task, NOW) == preemptive.rank(task, NOW) == Rank(0, 5.0 - 70 * 60)
    assert policy_named("priority", seconds_per_level=0).rank(task, NOW) == Rank(0, 5.0)


def test_round_robin_goes_to_the_back_when_the_slice_is_used():
    policy = policy_named("round_robin", time_slice=1.0)
    task = Standing(5.0)
    half = policy.stepped(task, 10.0, 0.6, 6.0)
    assert (half.level, half.slice_used) == (1, 0.6)
    assert order(policy, half=half, waiting=Standing(4.0)) == "half waiting", "a slice in use keeps its place"
    whole = policy.stepped(half, 10.0, 0.7, 6.8)
    assert (whole.level, whole.slice_used) == (0, pytest.approx(0.3)), "what was too much counts for the next"
    assert whole.turn_at == pytest.approx(6.4, abs=1e-4), "a slice after the turn began at 5.4"
    assert order(policy, whole=whole, waiting=Standing(6.3), later=Standing(6.5)) == "waiting whole later"


def replay_turns(time_slice, durations, slots):
    """Ten agents that always want to go on: the largest difference of their service at any instant."""
    policy = policy_named("round_robin", time_slice=time_slice)
    agents = {n: Standing(0.0, turn_at=0.001 * n) for n in range(10)}
    served, waiting, running = dict.fromkeys(agents, 0.0), set(agents), {}
    now, apart = 1.0, 0.0
    for duration in durations:
        while len(running) < slots:
            best = min(waiting, key=lambda n: (policy.rank(agents[n], now), n))
            waiting.remove(best)
            running[best] = (now + duration, duration)
        ended = min(running, key=lambda n: running[n])
        now, seconds = running.pop(ended)
        agents[ended] = policy.stepped(agents[ended], seconds, seconds, now)
        served[ended] += seconds
        waiting.add(ended)
        so_far = served | {n: served[n] + took - (end - now) for n, (end, took) in running.items()}
        apart = max(apart, max(so_far.values()) - min(so_far.values()))
    return apart


@settings(max_examples=50)
@given(
    some.lists(some.floats(0.01, 1.0), min_size=150, max_size=150), some.floats(1.0, 3.0), some.integers(1, 4)
)
def test_round_robin_keeps_all_within_a_slice_and_a_step(steps, time_slice, slots):
    assert replay_turns(time_slice, steps, slots) <= time_slice + max(steps) + 1e-6


@pytest.mark.parametrize("slots", [1, 3])
def test_round_robin_with_steps_longer_than_its_slice(slots):
    assert replay_turns(0.2, [0.7] * 300, slots) <= 0.2 + 0.7


def test_shortest_job_first_by_size_alone():
    policy = policy_named("shortest_job_first", ageing=0)
    tasks = {"large": Standing(1.0, size=90.0), "small": Standing(9_000.0, size=2.0)}
    assert order(policy, **tasks, early=Standing(2.0, size=50.0), twin=Standing(1.0, size=50.0)) == (
        "small early twin large"
    ), "ties go by id"
    assert policy.overtaken_within(tasks["large"]) is None
    assert policy.rank(replace(tasks["large"], attained=89.0), NOW) == Rank(0, 90.0), "by the whole size"


@given(
    some.floats(0, 1e5), some.floats(0, 1e5), some.floats(0, 1e4), some.floats(0, 1e4), some.floats(0.01, 10)
)
def test_ageing_is_worth_its_units(entered, later, size, other, ageing):
    """Of two tasks the one goes first that is smaller after what its waiting makes up for."""
    policy = policy_named("shortest_job_first", ageing=ageing)
    one, two = Standing(entered, size=size), Standing(later, size=other)
    difference = (size + ageing * entered) - (other + ageing * later)
    if abs(difference) > 1e-6 * (1 + size + other + ageing * (entered + later)):
        assert (policy.rank(one, NOW) < policy.rank(two, NOW)) is (difference < 0)
    assert policy.overtaken_within(one) == pytest.approx(size / ageing)


def test_shortest_remaining_is_ranked_anew_after_each_step():
    policy = policy_named("shortest_remaining", ageing=0)
    task = Standing(1.0, size=100.0)
    rival = Standing(2.0, size=70.0)
    assert order(policy, task=task, rival=rival) == "rival task"
    task = after_steps(policy, task, (40.0, 1.0, 3.0))
    assert order(policy, task=task, rival=rival) == "task rival"
    assert policy.rank(after_steps(policy, task, (90.0, 1.0, 4.0)), NOW) == Rank(0, 0.0)
    assert policy.preemptive


def test_deadline_puts_hopeless_tasks_last():
    policy = policy_named("deadline")
    tasks = {
        "late": Standing(1.0, deadline=NOW + 50, seconds_left=20.0),
        "soon": Standing(9.0, deadline=NOW + 10, seconds_left=9.0),
        "hopeless": Standing(1.0, deadline=NOW + 5, seconds_left=9.0),
        "lost": Standing(1.0, deadline=NOW - 5),
        "whenever": Standing(3.0),
    }
    assert order(policy, **tasks) == "soon late whenever lost hopeless"
    assert order(policy, now=NOW + 40, **tasks) == "whenever lost hopeless soon late"


def test_a_deadline_is_judged_by_what_is_left():
    policy = policy_named("deadline")
    task = Standing(1.0, deadline=NOW + 10, seconds_left=30.0)
    assert hopeless(task, NOW)
    assert not hopeless(after_steps(policy, task, (1.0, 25.0, NOW)), NOW)
    assert not hopeless(Standing(1.0, seconds_left=1e9), NOW)


def test_expiry_and_lateness():
    task = Standing(1.0, deadline=20.0)
    assert [expired(task, at) for at in (19.9, 20.0, 21.0)] == [False, True, True]
    assert [lateness(task, at) for at in (15.0, 20.0, 26.0)] == [0.0, 0.0, 6.0]
    assert (expired(Standing(1.0), 1e9), lateness(Standing(1.0), 1e9)) == (False, None)


def test_mlfq_sinks_by_what_was_attained():
    policy = policy_named("mlfq", levels=(64, 256, 1024), boost_seconds=0)
    task, levels, turns = Standing(1.0), [], []
    for n in range(20):
        task = policy.stepped(task, 64.0, 1.0, 100.0 + n)
        levels.append(task.level)
        turns.append(task.turn_at)
    assert levels == [1] * 3 + [2] * 12 + [3] * 5
    assert turns == [100.0] * 3 + [103.0] * 12 + [115.0] * 5, "in a level it keeps its place"
    assert policy.rank(task, NOW) == Rank(3, 115.0)
    assert policy.stepped(Standing(1.0), 5_000.0, 1.0, 9.0).level == 3, "one long step sinks through all"
    assert order(policy, sunk=task, new=Standing(9_999.0), old=Standing(50.0)) == "old new sunk"
    assert policy.overtaken_within(task) is None


def test_mlfq_boost_needs_no_ranking_anew():
    policy = policy_named("mlfq", levels=(64,), boost_seconds=100.0)
    sunk = policy.stepped(Standing(10.0), 80.0, 1.0, 20.0)
    fresh = {name: Standing(at) for name, at in (("soon", 99.0), ("next", 101.0))}
    assert order(policy, sunk=sunk, **fresh) == "soon sunk next", "the sunk one goes before the next epoch"
    lifted = policy.stepped(sunk, 10.0, 1.0, 150.0)
    assert (lifted.level, lifted.slice_used, lifted.turn_at) == (0, 10.0, 100.0), "it counts its levels anew"
    assert order(policy, lifted=lifted, **fresh) == "soon lifted next"
    again = policy.stepped(lifted, 60.0, 1.0, 160.0)
    assert (again.level, again.turn_at, again.attained) == (1, 160.0, 150.0)


def test_mlfq_bears_levels_of_other_settings():
    policy = policy_named("mlfq", levels=(10,), boost_seconds=0)
    task = Standing(1.0, level=7, started=True)
    assert policy.rank(task, NOW) == Rank(1, 1.0)
    assert policy.stepped(task, 5.0, 1.0, 9.0).level == 7


def test_program_strategies_look_at_the_program():
    wide = Program("wide", entered_at=5.0, size=1_000.0, attained=10.0)
    deep = Program("deep", entered_at=1.0, size=400.0, attained=300.0)
    tasks = {
        "w": Standing(7.0, size=5.0, program=wide),
        "d": Standing(8.0, size=90.0, program=deep),
        "s": Standing(6.0, size=200.0, attained=50.0, started=True),
    }
    assert order(policy_named("least_attained"), **tasks) == "w s d"
    assert order(policy_named("shortest_program"), **tasks) == "d s w"
    assert order(policy_named("program_fifo"), **tasks) == "d w s"


def test_least_attained_sinks_with_service():
    policy = policy_named("least_attained")
    task = after_steps(policy, Standing(1.0), (30.0, 1.0, 2.0), (40.0, 1.0, 3.0))
    assert policy.rank(task, NOW) == Rank(0, 70.0)
    member = after_steps(policy, Standing(1.0, program=Program("p", 0.0, attained=5.0)), (30.0, 1.0, 2.0))
    assert policy.rank(member, NOW) == Rank(0, 35.0)


def test_a_program_over_its_estimate_is_nearly_done():
    program = Program("p", 0.0, size=100.0, attained=170.0)
    assert policy_named("shortest_program").rank(Standing(1.0, program=program), NOW) == Rank(0, 0.0)


def test_fair_has_a_flow_for_each_tenant_and_another_strategy_inside():
    policy = policy_named("fair", inside="shortest_job_first", weights={"ann": 2.5}, default_weight=0.5)
    task = Standing(1.0, tenant="ann", size=7.0)
    assert (policy.flow(task), policy.flow(Standing(1.0))) == ("ann", "")
    assert (policy.weight("ann"), policy.weight("bob")) == (2.5, 0.5)
    assert policy.rank(task, NOW) == policy_named("shortest_job_first").rank(task, NOW)
    inner = policy_named("round_robin", time_slice=0.5)
    assert policy_named("fair", inside=inner).stepped(task, 1.0, 0.7, 9.0) == inner.stepped(
        task, 1.0, 0.7, 9.0
    )


@pytest.mark.parametrize(
    ("inside", "preemptive", "expected"),
    [
        ("priority", True, "started urgent"),
        ("preemptive", True, "urgent started"),
        ("priority", False, "urgent started"),
    ],
)
def test_fair_lets_started_tasks_of_a_tenant_go_on(inside, preemptive, expected):
    """Where the runtime lets steps compete for shares, an inside that is not preemptive still is not."""
    policy = policy_named("fair", inside=inside, preemptive=preemptive)
    tasks = {"started": Standing(1.0, priority=10, started=True), "urgent": Standing(2.0, priority=40)}
    assert order(policy, **tasks) == expected
    assert policy.preemptive is preemptive
