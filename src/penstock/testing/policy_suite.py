"""The conformance suite of policies: pure, total, stable, no starvation where promised; and linear ageing."""

from __future__ import annotations

import math
import random
from dataclasses import replace

from penstock.model.rank import Policy, Rank
from penstock.model.standing import Standing
from penstock.testing.policy_suite_standings import (
    NOW,
    MakePolicy,
    line_of,
    memory,
    no_clocks,
    standings,
    steps,
    walk,
)
from penstock.testing.suite import Check, Report, named_checks, run_checks


def assert_rank(rank: Rank, task: Standing) -> None:
    assert isinstance(rank, Rank), f"rank of {task} is {rank!r}, no Rank"
    assert isinstance(rank.band, int), f"band of {task} is {rank.band!r}, no whole number"
    assert abs(rank.band) < 2**63, f"band of {task} is {rank.band!r}, more than a store can hold"
    assert math.isfinite(rank.key), f"key of {task} is {rank.key!r}, not finite"


def check_rank_is_a_pair_of_numbers(make: MakePolicy) -> None:
    """A rank is a whole band and a finite key, so that any two can be compared by any database."""
    policy = make()
    for seed, task in enumerate(standings()):
        assert_rank(policy.rank(task, NOW), task)
        for later, now in walk(policy, task, seed):
            assert_rank(policy.rank(later, now), later)


def check_total_order(make: MakePolicy) -> None:
    """The order does not depend on the order in which tasks are looked at."""
    policy, tasks = make(), dict(enumerate(standings()))
    expected = line_of(policy, tasks)
    for seed in range(5):
        shuffled = random.Random(seed).sample(sorted(tasks), len(tasks))
        got = line_of(policy, {id: tasks[id] for id in shuffled})
        assert got == expected, f"the order changed with the order of looking: {got} and {expected}"


def check_determinism(make: MakePolicy) -> None:
    """The same task at the same instant has the same rank: no clock, no chance, no memory."""
    first, second = make(), make()
    tasks = standings()
    before = [first.rank(task, NOW) for task in tasks]
    with no_clocks():
        again = [first.rank(task, NOW) for task in reversed(tasks)][::-1]
        other = [second.rank(task, NOW) for task in tasks]
    assert again == before, "ranks changed when asked again"
    assert other == before, "two policies of one kind give different ranks"


def check_purity(make: MakePolicy) -> None:
    """Asking changes nothing: neither the policy, nor a task, nor the random numbers of others."""
    policy, tasks = make(), standings()
    kept, remembered, dice = standings(), memory(policy), random.getstate()
    with no_clocks():
        for task in tasks:
            policy.rank(task, NOW)
            policy.flow(task)
            stepped = [policy.stepped(task, 64.0, 1.0, NOW + 1) for _ in range(2)]
            assert stepped[0] == stepped[1], f"one step leads to {stepped[0]} and to {stepped[1]}"
    assert tasks == kept, "the policy changed a standing that it was shown"
    assert memory(policy) == remembered, "the policy remembers what it was asked"
    assert random.getstate() == dice, "the policy throws dice"


def check_equal_tasks_are_equal(make: MakePolicy) -> None:
    """Tasks that stand alike have equal ranks, so ties go by id."""
    policy = make()
    for task in standings():
        ranks = policy.rank(task, NOW), policy.rank(replace(task), NOW)
        assert ranks[0] == ranks[1], f"equal tasks have ranks {ranks}"


def check_waiting_never_improves_a_rank(make: MakePolicy) -> None:
    """A rank holds or gets worse by waiting: a line ranked at entry, asked again at its head, is exact."""
    policy = make()
    for task in standings():
        ranks = [policy.rank(task, NOW + later) for later in (0.0, 1.0, 59.0, 3_600.0, 1e6)]
        assert ranks == sorted(ranks), f"{task} gets better by waiting: {ranks}"


def check_stepped_is_monotone(make: MakePolicy) -> None:
    """A step adds its service and its seconds, starts the task, may move it in its line, and nothing else."""
    policy = make()
    for seed, task in enumerate(standings()):
        for service, seconds, now in steps(seed):
            after = policy.stepped(task, service, seconds, now)
            assert_step(task, after, service, seconds, now)
            task = after


def assert_step(task: Standing, after: Standing, service: float, seconds: float, now: float) -> None:
    assert isinstance(after, Standing), f"after a step: {after!r}, no Standing"
    fixed = ("entered_at", "priority", "deadline", "tenant", "size")
    changed = [name for name in fixed if getattr(after, name) != getattr(task, name)]
    assert not changed, f"a step changed {', '.join(changed)}"
    assert after.started, "a task is not started after a step"
    assert after.attained == task.attained + service, (
        f"attained {task.attained} + {service}: {after.attained}"
    )
    assert after.seconds_left == max(0.0, task.seconds_left - seconds), f"seconds_left: {after.seconds_left}"
    assert math.isfinite(after.turn_at), f"turn_at: {after.turn_at}"
    assert after.slice_used >= 0, f"slice_used: {after.slice_used}"
    assert after.level >= 0, f"level: {after.level}"
    expected = task.program and replace(task.program, attained=task.program.attained + service)
    assert after.program == expected, f"program: {after.program}, not {expected}"


def check_flow_is_a_name(make: MakePolicy) -> None:
    """The flow of a task is a text or None, and its steps do not change it."""
    policy = make()
    for seed, task in enumerate(standings()):
        flow = policy.flow(task)
        assert flow is None or isinstance(flow, str), f"flow of {task} is {flow!r}"
        moved = [policy.flow(later) for later, _ in walk(policy, task, seed)]
        assert set(moved) == {flow}, f"steps moved {task} from flow {flow!r} to {moved}"


def check_no_starvation_where_promised(make: MakePolicy) -> None:
    """Whoever promises `overtaken_within` keeps it: nothing that enters later than that goes before."""
    policy = make()
    promise = getattr(policy, "overtaken_within", None)
    if promise is None:
        return
    for seed in range(10):
        fresh = [task for task in standings(40, seed) if not task.started]
        for early in fresh:
            bound = promise(early)
            for late in fresh:
                assert bound is None or not overtakes(policy, late, early, bound), (
                    f"{late} overtakes {early}, entered more than {bound} s before"
                )


def overtakes(policy: Policy, late: Standing, early: Standing, bound: float) -> bool:
    """Whether `late` goes before `early`, after which it entered by more than `bound` seconds."""
    after = late.entered_at - early.entered_at
    return after > bound and policy.rank(late, NOW) < policy.rank(early, NOW)


def check_name(make: MakePolicy) -> None:
    """A policy has a name that a user can type, and says whether steps compete."""
    policy = make()
    assert policy.name.replace("_", "").isalnum(), f"{policy.name!r} is no plain name"
    assert policy.name == policy.name.lower(), f"{policy.name!r} is no plain name"
    assert isinstance(policy.preemptive, bool), f"preemptive is {policy.preemptive!r}"


def policy_checks() -> list[Check[MakePolicy]]:
    """What every policy must pass; `run` takes a function that makes the policy."""
    return named_checks(
        (
            check_rank_is_a_pair_of_numbers,
            check_total_order,
            check_determinism,
            check_purity,
            check_equal_tasks_are_equal,
            check_waiting_never_improves_a_rank,
            check_stepped_is_monotone,
            check_flow_is_a_name,
            check_no_starvation_where_promised,
            check_name,
        )
    )


def ageing_checks(seconds_per_level: float) -> list[Check[MakePolicy]]:
    """What a policy of linear ageing must pass besides."""

    def check_higher_priority_goes_first(make: MakePolicy) -> None:
        """Of tasks that entered together, the higher priority goes first."""
        line = line_of(make(), {n: Standing(NOW, priority=n) for n in range(101)})
        assert line == list(range(100, -1, -1)), f"not by priority: {line}"

    def check_ageing_bound(make: MakePolicy) -> None:
        """A task of priority p is overtaken only by tasks that entered within (100 - p) levels after it."""
        policy = make()
        for seed in range(20):
            tasks = standings(40, seed)
            for early in tasks:
                bound = (100 - early.priority) * seconds_per_level
                for late in tasks:
                    assert not overtakes(policy, late, early, bound), (
                        f"{late} overtakes {early}, entered more than {bound} s before"
                    )

    def check_order_does_not_change_by_waiting(make: MakePolicy) -> None:
        """Waiting raises all alike: the order of two waiting tasks is the same at any later instant."""
        policy, tasks = make(), dict(enumerate(standings()))
        lines = [line_of(policy, tasks, NOW + later) for later in (0.0, 60.0, 10_000.0)]
        assert lines[0] == lines[1] == lines[2], "the order of waiting tasks changed with time"

    def check_priority_is_worth_its_seconds(make: MakePolicy) -> None:
        """A level of priority outweighs a little less than its seconds of waiting, and no more."""
        policy = make()
        low = Standing(NOW - 10 * seconds_per_level, priority=20)
        sooner, later = (Standing(NOW + shift, priority=30) for shift in (-0.5, 0.5))
        assert policy.rank(sooner, NOW) < policy.rank(low, NOW), (
            "ten levels outweigh less than ten levels' seconds"
        )
        assert policy.rank(low, NOW) < policy.rank(later, NOW), (
            "waiting longer than ten levels' seconds outweighs them"
        )

    return named_checks(
        (
            check_higher_priority_goes_first,
            check_ageing_bound,
            check_order_does_not_change_by_waiting,
            check_priority_is_worth_its_seconds,
        )
    )


def run_policy_suite(make: MakePolicy, seconds_per_level: float | None = None) -> Report:
    """Run what every policy must pass and, with `seconds_per_level`, what linear ageing promises."""
    checks = policy_checks() + ([] if seconds_per_level is None else ageing_checks(seconds_per_level))
    return run_checks(checks, lambda: make, lambda check: "")
