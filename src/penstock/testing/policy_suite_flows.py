"""The fairness suite: what a rule that picks among flows must keep, whatever the estimates are worth."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import combinations
from typing import Protocol

from penstock.testing.suite import Check, Report, named_checks, run_checks

Weight = Callable[[str], float]


class FlowRule(Protocol):
    """What the suite asks of a rule; `penstock.policies.Flows` is ours."""

    def arrive(self, flow: str, now: float) -> None: ...
    def leave(self, flow: str) -> None: ...
    def charge(self, flow: str, amount: float) -> None: ...
    def correct(self, flow: str, delta: float) -> None: ...
    def refund(self, flow: str, amount: float) -> None: ...
    def pick(self) -> str | None: ...
    def pick_many(self, count: int, heads: Callable[[str], Iterable[float]]) -> list[str]: ...


MakeFlows = Callable[[Weight], FlowRule]


def alike(flow: str) -> float:
    """Equal weights."""
    return 1.0


@dataclass
class Trial:
    """Flows that always have tasks waiting, served with so many reservations open at once.

    `drawn(flow, chance)` gives an estimate and the true usage; `served` is true usage per weight, where a
    reservation is open the estimate.
    """

    names: Iterable[str]
    flows: FlowRule
    weight: Weight
    drawn: Callable[[str, random.Random], tuple[float, float]]
    open_at_once: int = 8
    chance: random.Random = field(default_factory=lambda: random.Random(1))
    served: dict[str, float] = field(default_factory=dict)
    largest_charge: float = 0.0
    largest_correction: float = 0.0
    _open: deque[tuple[str, float, float]] = field(default_factory=deque)
    _apart: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.served = dict.fromkeys(self.names, 0.0)

    def run(self, picks: int) -> None:
        for _ in range(picks):
            while len(self._open) >= self.open_at_once:
                self.settle_one()
            self.start_one()
        while self._open:
            self.settle_one()

    def start_one(self) -> None:
        flow = self.flows.pick()
        assert flow is not None, "nobody is picked though tasks wait"
        estimate, true = self.drawn(flow, self.chance)
        self.flows.charge(flow, estimate)
        self._open.append((flow, estimate, true))
        self.largest_charge = max(self.largest_charge, estimate / self.weight(flow))
        self._book(flow, estimate)

    def settle_one(self) -> None:
        self._open.rotate(self.chance.randrange(len(self._open)))
        flow, estimate, true = self._open.popleft()
        if true == 0.0 and self.chance.random() < 0.5:
            self.flows.refund(flow, estimate)
        else:
            self.flows.correct(flow, true - estimate)
        self.largest_correction = max(self.largest_correction, abs(true - estimate) / self.weight(flow))
        self._book(flow, true - estimate)

    def _book(self, flow: str, amount: float) -> None:
        self.served[flow] += amount / self.weight(flow)
        for pair in combinations(sorted(self.served), 2):
            apart = self.served[pair[0]] - self.served[pair[1]]
            low, high = self._apart.get(pair, (0.0, 0.0))
            self._apart[pair] = min(low, apart), max(high, apart)

    @property
    def gap(self) -> float:
        """The most by which the service of two flows, per weight, differed over any interval."""
        return max(high - low for low, high in self._apart.values())

    @property
    def bound(self) -> float:
        """2U."""
        return 2 * (self.largest_charge + 2 * self.open_at_once * self.largest_correction)


def backlogged(make: MakeFlows, names: Iterable[str], weight: Weight = alike) -> FlowRule:
    """A rule with tasks of all these flows waiting."""
    flows = make(weight)
    for name in names:
        flows.arrive(name, 0.0)
    return flows


def exact(flow: str, chance: random.Random) -> tuple[float, float]:
    amount = chance.uniform(1, 1_000)
    return amount, amount


def noisy(flow: str, chance: random.Random) -> tuple[float, float]:
    estimate = chance.uniform(1, 1_000)
    return estimate, chance.choice([0.0, estimate * chance.lognormvariate(0, 1)])


def check_gap_with_exact_estimates(make: MakeFlows) -> None:
    """With true estimates two flows that always wait differ by at most twice the largest charge."""
    trial = Trial("abcde", backlogged(make, "abcde"), alike, exact)
    trial.run(3_000)
    assert trial.bound == 2 * trial.largest_charge, "the trial corrects what is exact"
    assert trial.gap <= trial.bound + 1e-6, f"gap {trial.gap} > {trial.bound}"


def check_gap_with_wrong_estimates(make: MakeFlows) -> None:
    """Whatever estimates are worth, the gap stays within 2U, U = largest charge + 2 K largest correction."""
    for seed in range(3):
        trial = Trial("abcde", backlogged(make, "abcde"), alike, noisy, chance=random.Random(seed))
        trial.run(2_000)
        assert trial.gap <= trial.bound + 1e-6, f"gap {trial.gap} > {trial.bound}"


def check_long_outputs_get_no_more(make: MakeFlows) -> None:
    """A flow whose outputs are eight times as long as estimated gets no more than others."""

    def drawn(flow: str, chance: random.Random) -> tuple[float, float]:
        return 200.0, 400.0 if flow == "long" else 50.0

    trial = Trial(["long", "short"], backlogged(make, ["long", "short"]), alike, drawn)
    trial.run(20_000)
    ratio = trial.served["long"] / trial.served["short"]
    assert 0.99 <= ratio <= 1.01, f"the flow of long outputs got {ratio:.3f} times the other's service"


def check_weighted_shares(make: MakeFlows) -> None:
    """Weights 1:2:4 give 1/7, 2/7 and 4/7 of the service within 0.01."""
    weights = {"one": 1.0, "two": 2.0, "four": 4.0}
    trial = Trial(weights, backlogged(make, weights, weights.__getitem__), weights.__getitem__, noisy)
    trial.run(20_000)
    amounts = {name: trial.served[name] * weights[name] for name in weights}
    for name, amount in amounts.items():
        share, due = amount / sum(amounts.values()), weights[name] / 7
        assert abs(share - due) < 0.01, f"{name} got {share:.4f}, due {due:.4f}"


def check_idling_gains_no_credit(make: MakeFlows) -> None:
    """A flow that had nothing waiting gets, when it is back, no more than those that were there."""
    flows = backlogged(make, "abc")
    flows.leave("c")
    Trial("ab", flows, alike, exact).run(500)
    flows.arrive("c", 1.0)
    trial = Trial("abc", flows, alike, exact)
    trial.run(300)
    assert trial.gap <= trial.bound + 1e-6, f"gap {trial.gap} > {trial.bound} after idling"


def check_an_empty_system_forgives_nothing(make: MakeFlows) -> None:
    """Who comes first into an empty system stands where the last served one stood."""
    flows = backlogged(make, "a")
    flows.charge("a", 1_000.0)
    flows.leave("a")
    flows.arrive("b", 1.0)
    flows.arrive("a", 1.0)
    flows.charge("b", 1.0)
    assert flows.pick() == "a", "a newcomer is owed what it never waited for"


def check_refunds_do_not_go_below_nothing(make: MakeFlows) -> None:
    """A refund gives back at most what was charged, so no flow ever stands below where it came in."""
    flows = backlogged(make, "ab")
    flows.charge("a", 10.0)
    flows.refund("a", 1_000.0)
    flows.charge("a", 1.0)
    assert flows.pick() == "b", "a refund of more than the charge was worth service"


def check_leaving_flows_are_not_picked(make: MakeFlows) -> None:
    """Only flows with tasks waiting are picked; nobody when there is none."""
    flows = backlogged(make, "ab")
    flows.charge("b", 5.0)
    flows.leave("a")
    assert flows.pick() == "b", "a flow that left is picked"
    flows.leave("b")
    assert flows.pick() is None, "a flow that left is picked"


def check_many_picks_are_successive_picks(make: MakeFlows) -> None:
    """A claim of n is n picks of the rule, each head charged before the next pick."""
    chance = random.Random(3)
    lines = {name: [chance.uniform(1, 100) for _ in range(chance.randrange(12))] for name in "abcdef"}
    at_once, one_by_one = backlogged(make, lines), backlogged(make, lines)
    got = at_once.pick_many(25, lambda flow: lines[flow])
    expected: list[str] = []
    left = {name: list(line) for name, line in lines.items()}
    while len(expected) < 25 and (flow := one_by_one.pick()) is not None:
        if left[flow]:
            one_by_one.charge(flow, left[flow].pop(0))
            expected.append(flow)
        else:
            one_by_one.leave(flow)
    assert got == expected, f"{got}, not {expected}"


def flow_checks() -> list[Check[MakeFlows]]:
    """What a rule of flows must pass; `run` takes a function from weights to the rule."""
    return named_checks(
        (
            check_gap_with_exact_estimates,
            check_gap_with_wrong_estimates,
            check_long_outputs_get_no_more,
            check_weighted_shares,
            check_idling_gains_no_credit,
            check_an_empty_system_forgives_nothing,
            check_refunds_do_not_go_below_nothing,
            check_leaving_flows_are_not_picked,
            check_many_picks_are_successive_picks,
        )
    )


def run_flow_suite(make: MakeFlows) -> Report:
    """Run the fairness suite on a rule of flows."""
    return run_checks(flow_checks(), lambda: make, lambda check: "")
