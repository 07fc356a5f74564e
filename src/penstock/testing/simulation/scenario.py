"""What happens in one simulation: settings, tasks and faults, all drawn from its seed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Any, Literal

from penstock.admission import RateLimit
from penstock.policies import policy_names
from penstock.runtime.settings import Limits, ModelLimits, Settings
from penstock.testing.simulation.provider import PRICE_PER_MILLION, Weather

MODELS = ("m0", "m1")
TENANTS = ("red", "green", "blue")
CAP = 200

FaultKind = Literal[
    "crash", "stop", "lost_lease", "jump", "cancel", "pause", "busy", "replay", "switch", "storm"
]


@dataclass(frozen=True, slots=True)
class Plan:
    """One task: `at` seconds after the start; `data` tells its handler what to do. An event is sent
    to it `event_after` seconds after it was acknowledged."""

    at: float
    name: str
    type: str
    data: dict[str, Any]
    details: dict[str, Any]
    options: dict[str, Any]
    event_after: float | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens `at` seconds after the start; `size` is a number of its own in [0, 1)."""

    at: float
    kind: FaultKind
    size: float
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Everything that one seed decides before anything happens.

    `windows` are the provider's own limits by dimension. `shares` simulations measure how far tenants that
    wait all the time drift apart; nothing else disturbs them.
    """

    seed: int
    settings: Settings
    weather: Weather
    windows: dict[str, tuple[int, float]]
    plans: tuple[Plan, ...]
    faults: tuple[Fault, ...]
    capped: bool
    shares: bool
    wall: float


def draw(seed: int) -> Scenario:
    """The scenario of a seed."""
    chance = Random(f"{seed}:scenario")
    shares = chance.random() < 0.12
    capped = shares or chance.random() < 0.7
    windows = {} if shares else _windows(chance, capped)
    settings = _settings(chance, Random(f"{seed}:shares"), windows, shares, capped)
    span = chance.uniform(3.0, 30.0)
    faults = () if shares else _faults(chance, span)
    return Scenario(
        seed=seed,
        settings=settings,
        weather=Weather() if shares else _weather(chance, span),
        windows=windows,
        plans=_backlog(chance) if shares else _with_waits(seed, _plans(chance, span, capped)),
        faults=faults,
        capped=capped,
        shares=shares,
        wall=1_700_000_000.0 + chance.randrange(100_000_000) / 10.0,
    )


def _windows(chance: Random, capped: bool) -> dict[str, tuple[int, float]]:
    seconds = chance.choice((10.0, 20.0, 60.0))
    found: dict[str, tuple[int, float]] = {}
    if chance.random() < 0.5:
        found["requests"] = (chance.randint(4, 12) * int(seconds / 10), seconds)
    if chance.random() < 0.5:
        found["tokens"] = (chance.randint(800, 4000) * int(seconds / 10), seconds)
    return found


def _settings(
    chance: Random, more: Random, windows: dict[str, tuple[int, float]], shares: bool, capped: bool
) -> Settings:
    rates = tuple(
        RateLimit(name, limit, seconds)  # type: ignore[arg-type]
        for name, (limit, seconds) in windows.items()
    )
    slots = chance.randint(1, 2) if shares else chance.randint(1, 8)
    budget = None if shares or chance.random() < 0.7 else chance.uniform(0.001, 0.02)
    models = {"m0": ModelLimits(max_concurrent=chance.randint(1, 3))} if chance.random() < 0.3 else {}
    strategy, details = (
        ("fair", {"inside": chance.choice(("fifo", "priority"))}) if shares else any_strategy(chance)
    )
    max_open = None if shares or chance.random() < 0.5 else slots + chance.randint(0, 4)
    if shares:
        # Steps compete inside a tenant too; and tasks have to make place for those of another tenant.
        details["inside"] = more.choice((details["inside"], details["inside"], "preemptive"))
        max_open = more.choice((None, None, slots, slots + 1, slots + 3))
    return Settings(
        store="memory",
        strategy=strategy,
        strategy_settings=details,
        size_in="tokens" if shares else None,
        max_concurrent=slots,
        max_open=max_open,
        threads=1,
        limits=Limits(rates=rates, models=models, budget=budget),
        prices={"m*": {"input": PRICE_PER_MILLION, "output": PRICE_PER_MILLION}},
        reserve="cap" if capped else "learned",
        seed=chance.randrange(1 << 30),
        watch_seconds=30.0,
    )


def any_strategy(chance: Random) -> tuple[str, dict[str, Any]]:
    """Any registered strategy, with settings for those whose defaults hardly show in a minute."""
    name = chance.choice(policy_names())
    details: dict[str, Any] = {}
    if name == "fair":
        details = {"inside": chance.choice([one for one in policy_names() if one != "fair"])}
    elif name == "round_robin":
        details = {"time_slice": chance.choice((0.5, 2.0, 300.0))}
    return name, details


def _weather(chance: Random, span: float) -> Weather:
    begin = chance.uniform(0.0, span)
    return Weather(
        seconds=chance.choice(((0.05, 0.4), (0.2, 2.0), (1.0, 4.0))),
        slow=chance.choice((0.0, 0.1)),
        hang=chance.choice((0.0, 0.0, 0.05)),
        server_error=chance.choice((0.0, 0.0, 0.1)),
        cut=chance.choice((0.0, 0.0, 0.05)),
        unreachable=chance.choice((0.0, 0.0, 0.1)),
        storms=((begin, begin + chance.uniform(0.5, 5.0)),) if chance.random() < 0.25 else (),
    )


def _plans(chance: Random, span: float, capped: bool) -> tuple[Plan, ...]:
    count = chance.randint(5, 40)
    burst = chance.random() < 0.5
    plans = []
    for number in range(count):
        at = chance.uniform(0.0, 0.5 if burst else span * 0.7)
        plans.append(_plan(chance, number, at, capped))
    return tuple(sorted(plans, key=lambda one: one.at))


def _plan(chance: Random, number: int, at: float, capped: bool) -> Plan:
    type = chance.choices(
        ("noop", "agent", "gather", "failing", "slow", "plain"), weights=(2, 6, 2, 2, 2, 1)
    )[0]
    name = f"t{number}"
    data = {
        "name": name,
        "model": chance.choice(MODELS),
        "steps": chance.randint(1, 6),
        "cap": chance.choice((50, CAP)) if capped else None,
        "fails": chance.randint(0, 3),
        "seconds": round(chance.uniform(0.05, 3.0), 3),
    }
    details: dict[str, Any] = {"tenant": chance.choice(TENANTS), "priority": chance.choice((10, 20, 30, 40))}
    if chance.random() < 0.2:
        details["slo_seconds"] = chance.uniform(1.0, 60.0)
    if chance.random() < 0.1:
        details["delay"] = chance.uniform(0.1, 10.0)
    if chance.random() < 0.3:
        details["program"] = chance.choice(("p0", "p1", "p2"))
    options = {
        "timeout": chance.choice((None, 10.0, 30.0)) or 60.0,
        "max_retries": chance.randint(0, 5),
        "retry_delay": 0.2,
        "longest_delay": 3.0,
    }
    return Plan(at, name, type, data, details, options)


def _with_waits(seed: int, plans: tuple[Plan, ...]) -> tuple[Plan, ...]:
    """In some scenarios some agents sleep, wait for events and start children."""
    chance = Random(f"{seed}:waits")
    if chance.random() < 0.6:
        return plans
    return tuple(
        replace(plan, type="durable", event_after=chance.uniform(0.0, 25.0))
        if plan.type in ("agent", "slow") and chance.random() < 0.6
        else plan
        for plan in plans
    )


def _backlog(chance: Random) -> tuple[Plan, ...]:
    """Agents of equal kind of two tenants, all there at once, the one tenant's before the other's."""
    plans: list[Plan] = []
    for tenant in chance.sample(TENANTS, 2):
        for _ in range(chance.randint(20, 30)):
            name = f"t{len(plans)}"
            data = {"name": name, "model": "m0", "steps": chance.randint(3, 5), "cap": CAP}
            plans.append(Plan(0.0, name, "agent", data, {"tenant": tenant}, {"timeout": 60.0}))
    return tuple(plans)


def _faults(chance: Random, span: float) -> tuple[Fault, ...]:
    kinds: tuple[FaultKind, ...] = (
        "crash", "crash", "crash", "stop", "lost_lease", "jump", "cancel", "cancel", "pause", "busy",
        "replay", "switch", "switch",
    )  # fmt: skip
    faults = [
        Fault(chance.uniform(0.0, span), chance.choice(kinds), chance.random())
        for _ in range(chance.choice((0, 1, 2, 3, 4, 6)))
    ]
    return tuple(sorted(faults, key=lambda one: one.at))
