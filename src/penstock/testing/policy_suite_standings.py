"""What policies are tried on: standings of every kind, and a world without clocks."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from penstock.model.rank import Policy
from penstock.model.standing import Program, Standing

NOW = 1_700_000_000.0
CLOCKS = ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")

MakePolicy = Callable[[], Policy]


def standings(count: int = 60, seed: int = 1) -> list[Standing]:
    """Tasks that entered within the last hours, many at the same instant, with every kind of everything."""
    chance = random.Random(seed)
    programs = [Program(f"p{n}", NOW - chance.uniform(0, 9_000), 5_000.0 * n, 3_000.0) for n in range(3)]
    return [_standing(chance, programs) for _ in range(count)]


def _standing(chance: random.Random, programs: list[Program]) -> Standing:
    entered_at = NOW - chance.choice([0.0, 0.001, 59.0, 60.0, 6_000.0, chance.uniform(0, 10_000)])
    started = chance.random() < 0.3
    return Standing(
        entered_at=entered_at,
        priority=chance.choice([0, 10, 20, 30, 40, 100, chance.randrange(101)]),
        deadline=chance.choice([None, NOW - 5, NOW, NOW + 60, NOW + 10**6]),
        tenant=chance.choice(["", "ann", "bob"]),
        size=chance.choice([0.0, 1.0, 800.0, chance.lognormvariate(6, 2)]),
        attained=chance.choice([1.0, 64.0, 5_000.0]) if started else 0.0,
        seconds_left=chance.choice([0.0, 2.0, 300.0]),
        turn_at=chance.uniform(entered_at, NOW) if started else 0.0,
        slice_used=chance.choice([0.0, 0.4, 30.0]) if started else 0.0,
        level=chance.choice([0, 1, 2]) if started else 0,
        started=started,
        program=chance.choice([None, *programs]),
    )


def steps(seed: int = 1, count: int = 8) -> Iterator[tuple[float, float, float]]:
    """(service, seconds, end) of successive steps of one task, some of them empty."""
    chance = random.Random(seed)
    now = NOW
    for _ in range(count):
        seconds = chance.choice([0.0, 0.3, 30.0, 700.0])
        now += seconds + chance.choice([0.0, 5.0])
        yield chance.choice([0.0, 1.0, 64.0, 1_500.0]), seconds, now


def walk(policy: Policy, task: Standing, seed: int = 1) -> Iterator[tuple[Standing, float]]:
    """`task` after each of some steps, with the instant."""
    for service, seconds, now in steps(seed):
        task = policy.stepped(task, service, seconds, now)
        yield task, now


def line_of(policy: Policy, tasks: dict[int, Standing], now: float = NOW) -> list[int]:
    """Ids in the order in which a store would give the tasks."""
    return sorted(tasks, key=lambda id: (policy.rank(tasks[id], now), id))


def memory(thing: object) -> object:
    """What an object remembers, in a form that can be compared."""
    if isinstance(thing, type) or callable(thing) or not hasattr(thing, "__dict__"):
        return repr(thing)
    return {name: memory(value) for name, value in vars(thing).items()}


@contextmanager
def no_clocks() -> Iterator[None]:
    """Fail code of this thread that reads a clock of `time` meanwhile."""
    here = threading.get_ident()

    def refusing(clock: Callable[..., Any]) -> Callable[..., Any]:
        def read(*given: Any) -> Any:
            if threading.get_ident() == here:
                raise AssertionError("the policy reads a clock; `now` is passed in")
            return clock(*given)

        return read

    kept = {name: getattr(time, name) for name in CLOCKS}
    try:
        for name, clock in kept.items():
            setattr(time, name, refusing(clock))
        yield
    finally:
        for name, clock in kept.items():
            setattr(time, name, clock)
