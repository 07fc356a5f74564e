"""The conformance suite of policies: pure, total, stable; and ageing, for those that promise it."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from penstock.model.rank import Policy, Rank
from penstock.testing.suite import Check, Report, named_checks, run_checks

NOW = 1_700_000_000.0
CLOCKS = ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")

MakePolicy = Callable[[], Policy]


@dataclass(frozen=True, slots=True)
class WaitingTask:
    """What a policy may look at; frozen, so a policy that keeps notes on tasks fails."""

    id: str
    priority: int
    entered_at: float
    deadline: float | None


def waiting_tasks(count: int = 60, seed: int = 1) -> list[WaitingTask]:
    """Tasks that entered within the last hours, many at the same instant, with every kind of priority."""
    chance = random.Random(seed)
    entries = [
        NOW - chance.choice([0.0, 0.001, 59.0, 60.0, 6_000.0, chance.uniform(0, 10_000)])
        for _ in range(count)
    ]
    return [
        WaitingTask(
            f"{n:032x}",
            chance.choice([0, 10, 20, 30, 40, 100, chance.randrange(101)]),
            entered_at,
            chance.choice([None, NOW - 5, NOW, NOW + 60, NOW + 10**6]),
        )
        for n, entered_at in enumerate(entries)
    ]


@contextmanager
def no_clocks() -> Iterator[None]:
    """Fail whoever reads a clock of `time` meanwhile."""

    def refuse(*_: Any) -> Any:
        raise AssertionError("the policy reads a clock; `now` is passed in")

    kept = {name: getattr(time, name) for name in CLOCKS}
    try:
        for name in CLOCKS:
            setattr(time, name, refuse)
        yield
    finally:
        for name, clock in kept.items():
            setattr(time, name, clock)


def line_of(policy: Policy, tasks: list[WaitingTask], now: float = NOW) -> list[str]:
    """Ids in the order in which a store would give the tasks."""
    return [task.id for task in sorted(tasks, key=lambda task: (policy.rank(task, now), task.id))]


def check_rank_is_a_pair_of_numbers(make: MakePolicy) -> None:
    """A rank is a whole band and a finite key, so that any two can be compared by any database."""
    policy = make()
    for task in waiting_tasks():
        rank = policy.rank(task, NOW)
        assert isinstance(rank, Rank), f"rank of {task} is {rank!r}, no Rank"
        assert isinstance(rank.band, int), f"band of {task} is {rank.band!r}, no whole number"
        assert math.isfinite(rank.key), f"key of {task} is {rank.key!r}, not finite"


def check_total_order(make: MakePolicy) -> None:
    """The order does not depend on the order in which tasks are looked at."""
    policy, tasks = make(), waiting_tasks()
    expected = line_of(policy, tasks)
    for seed in range(5):
        shuffled = random.Random(seed).sample(tasks, len(tasks))
        got = line_of(policy, shuffled)
        assert got == expected, f"the order changed with the order of looking: {got} and {expected}"


def check_determinism(make: MakePolicy) -> None:
    """The same task at the same instant has the same rank: no clock, no chance, no memory."""
    first, second = make(), make()
    tasks = waiting_tasks()
    before = [first.rank(task, NOW) for task in tasks]
    with no_clocks():
        again = [first.rank(task, NOW) for task in reversed(tasks)][::-1]
        other = [second.rank(task, NOW) for task in tasks]
    assert again == before, "ranks changed when asked again"
    assert other == before, "two policies of one kind give different ranks"


def check_equal_tasks_are_equal(make: MakePolicy) -> None:
    """Tasks that differ in their id alone have equal ranks, so ties go by id."""
    policy = make()
    for task in waiting_tasks(10):
        twin = replace(task, id="f" * 32)
        ranks = policy.rank(task, NOW), policy.rank(twin, NOW)
        assert ranks[0] == ranks[1], f"equal tasks have ranks {ranks}"


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
            check_equal_tasks_are_equal,
            check_name,
        )
    )


def ageing_checks(seconds_per_level: float) -> list[Check[MakePolicy]]:
    """What a policy of linear ageing must pass besides."""

    def check_higher_priority_goes_first(make: MakePolicy) -> None:
        """Of tasks that entered together, the higher priority goes first."""
        policy = make()
        tasks = [WaitingTask(f"{n:032x}", n, NOW, None) for n in range(101)]
        line = line_of(policy, tasks)
        assert line == [task.id for task in reversed(tasks)], f"not by priority: {line}"

    def check_ageing_bound(make: MakePolicy) -> None:
        """A task of priority p is overtaken only by tasks that entered within (100 - p) levels after it."""
        policy = make()
        for seed in range(20):
            tasks = waiting_tasks(40, seed)
            for early in tasks:
                bound = (100 - early.priority) * seconds_per_level
                for late in tasks:
                    overtakes = policy.rank(late, NOW) < policy.rank(early, NOW)
                    after = late.entered_at - early.entered_at
                    assert not (overtakes and after > bound), (
                        f"{late} overtakes {early} after {after} s > {bound} s"
                    )

    def check_order_does_not_change_by_waiting(make: MakePolicy) -> None:
        """Waiting raises all alike: the order of two waiting tasks is the same at any later instant."""
        policy, tasks = make(), waiting_tasks()
        lines = [line_of(policy, tasks, NOW + later) for later in (0.0, 60.0, 10_000.0)]
        assert lines[0] == lines[1] == lines[2], "the order of waiting tasks changed with time"

    def check_priority_is_worth_its_seconds(make: MakePolicy) -> None:
        """A level of priority outweighs a little less than its seconds of waiting, and no more."""
        policy = make()
        low = WaitingTask("a", 20, NOW - 10 * seconds_per_level, None)
        sooner, later = (WaitingTask("b", 30, NOW + shift, None) for shift in (-0.5, 0.5))
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
