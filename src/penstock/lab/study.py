"""A study: one trace, several policies, several loads; everything a report needs and nothing more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from penstock.errors import ConfigurationError
from penstock.lab.bounds import lower_bound
from penstock.lab.calls import Call
from penstock.lab.curves import Curve, completion_curve, waiting_curve
from penstock.lab.engine import Replay, replay
from penstock.lab.limits import LimitedReplay, RateSetup, limited_replay
from penstock.lab.metrics import Metrics, measure
from penstock.lab.programs import ProgramBook
from penstock.lab.service import at_load, stretched, total_service
from penstock.lab.setup import Setup
from penstock.lab.traces import Trace
from penstock.policies import policy_named


@dataclass(frozen=True, slots=True)
class LimitFigures:
    """What became of the limits, as shares of them: used after the warm-up, and the fullest window."""

    use: dict[str, float]
    worst: dict[str, float]
    refused: int
    never_fit: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """One policy at one load; `load` is `None` for the trace as it came."""

    policy: str
    load: float | None
    metrics: Metrics
    limits: LimitFigures | None
    completion_curve: Curve
    waiting_curve: Curve
    virtual_seconds: float
    real_seconds: float

    @property
    def speed(self) -> float:
        """Virtual seconds per real second."""
        return self.virtual_seconds / max(1e-9, self.real_seconds)

    @property
    def mean(self) -> float:
        """Mean completion in seconds: of programs, where there are some."""
        return (self.metrics.program or self.metrics.completion).mean


@dataclass(frozen=True, slots=True)
class TraceFacts:
    """What was replayed, before any stretching."""

    name: str
    requests: int
    span_seconds: float
    tenants: int
    programs: int
    mean_prompt: float
    mean_output: float
    natural_load: float | None
    """service per slot and second at the speed the trace came at; `None`: all came at once"""


@dataclass(frozen=True, slots=True)
class Study:
    facts: TraceFacts
    setup: Setup
    rates: RateSetup | None
    bounds: dict[float | None, float]
    """lower bound of the mean completion by load, in seconds; that of the slots alone"""
    outcomes: list[Outcome]

    @property
    def loads(self) -> list[float | None]:
        return list(self.bounds)

    def at(self, load: float | None) -> list[Outcome]:
        return [one for one in self.outcomes if one.load == load]


def run_study(
    trace: Trace,
    policies: Sequence[str],
    loads: Sequence[float] = (),
    setup: Setup | None = None,
    rates: RateSetup | None = None,
) -> Study:
    """Replay `trace` under every policy (`read_policy`) at every load; without loads, as it came."""
    setup = setup or Setup()
    if not policies:
        raise ConfigurationError("a study needs at least one policy")
    policies = list(dict.fromkeys(policies))
    for text in policies:
        read_policy(text)  # a typing error is told before an hour of replays, not after it
    ProgramBook([Call(one, setup.service) for one in trace.requests], setup)  # and so are circles of calls
    bounds: dict[float | None, float] = {}
    outcomes = []
    wanted: Sequence[float | None] = list(dict.fromkeys(loads)) or (None,)
    for load in wanted:
        # A trace begins at 0, whatever its clock says: warm-up and epochs are counted from there.
        played = stretched(trace, 1.0) if load is None else at_load(trace, load, setup.slots, setup.service)
        bounds[load] = lower_bound(played, setup.slots, setup.service)
        outcomes += [_outcome(text, load, played, setup, rates) for text in policies]
    return Study(_facts(trace, setup), setup, rates, bounds, outcomes)


def _outcome(text: str, load: float | None, trace: Trace, setup: Setup, rates: RateSetup | None) -> Outcome:
    policy = read_policy(text)
    done: Replay = (
        replay(trace, policy, setup) if rates is None else limited_replay(trace, policy, setup, rates)
    )
    if not done.calls:
        raise ConfigurationError(f"under {text} nothing of {trace.name} came to its end: raise the limits")
    limits = None
    if isinstance(done, LimitedReplay):
        limits = LimitFigures(done.use, done.worst, done.refused, done.never_fit)
    return Outcome(
        text,
        load,
        measure(done),
        limits,
        completion_curve(done.calls),
        waiting_curve(done),
        done.makespan,
        done.run_seconds,
    )


def _facts(trace: Trace, setup: Setup) -> TraceFacts:
    count = len(trace.requests)
    work = total_service(trace, setup.service)
    return TraceFacts(
        trace.name,
        count,
        trace.span,
        len(trace.tenants),
        len({one.program for one in trace.requests if one.program}),
        sum(one.prompt for one in trace.requests) / count,
        sum(one.output for one in trace.requests) / count,
        work / (setup.slots * trace.span) if trace.span else None,
    )


def read_policy(text: str) -> Any:
    """The policy of `name` or `name:setting=value:...`.

    Values with `/` between or behind them are a list (`levels=64/256`), names with values a map
    (`weights=acme=2/zeta=1`).
    """
    name, *parts = text.split(":")
    settings: dict[str, Any] = {}
    for part in parts:
        setting, equals, value = part.partition("=")
        if not equals:
            raise ConfigurationError(f"policy {text!r}: {part!r} is not SETTING=VALUE, such as ageing=0")
        settings[setting.strip()] = _value(value.strip())
    return policy_named(name.strip(), **settings)


def _value(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    parts = [part.strip() for part in text.split("/") if part.strip()]
    if parts and all("=" in part for part in parts):
        pairs = (part.partition("=") for part in parts)
        return {name.strip(): _value(value.strip()) for name, _, value in pairs}
    if "/" in text:
        return tuple(_value(part) for part in parts)
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
