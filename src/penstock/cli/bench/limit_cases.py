"""The cases of limit use: kind of window, way of counting, what bounds the work, who knows the limit."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from penstock.admission import RateLimit
from penstock.cli.bench.measurement import Target, at_least, at_most
from penstock.simulator import Latency, Limits, Output, SimulatorConfig
from penstock.simulator.config import WindowKind

Bound = Literal["requests", "tokens"]
Counted = Literal["actual", "reserved"]

# 3,000 requests or 600,000 tokens a minute.
PER_SECOND: dict[Bound, int] = {"requests": 50, "tokens": 10_000}

# Tokens of prompts and replies, as in published traces of chat traffic: lognormal, far apart.
PROMPT_MU, PROMPT_SIGMA, OUTPUT_MEAN, OUTPUT_SIGMA = 6.82, 0.6, 210, 0.7
CAPS: dict[Counted, int] = {"actual": 1_024, "reserved": 300}
BYTES_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class LimitCase:
    """`learned`: the limit is not given, only told by the headers of replies."""

    kind: WindowKind
    counted: Counted
    bound: Bound
    learned: bool

    @property
    def name(self) -> str:
        return f"{self.kind} {self.counted} {self.bound} {'learned' if self.learned else 'given'}"

    @property
    def use_target(self) -> Target:
        """In per cent, over all windows that count."""
        return at_least(95 if self.bound == "tokens" and self.kind == "sliding" else 97)

    @property
    def refused_target(self) -> Target:
        return at_most(3 if self.learned else 0)

    def limit(self, window_seconds: float) -> int:
        return round(PER_SECOND[self.bound] * window_seconds)

    def rates(self, window_seconds: float) -> tuple[RateLimit, ...]:
        """What the user says of the limit."""
        if self.learned:
            return ()
        return (RateLimit(self.bound, self.limit(window_seconds), window_seconds),)

    def provider(self, window_seconds: float) -> SimulatorConfig:
        """A provider whose calls take about a second."""
        limit = self.limit(window_seconds)
        output = Output(64) if self.bound == "requests" else Output(OUTPUT_MEAN, OUTPUT_SIGMA, CAPS["actual"])
        return SimulatorConfig(
            seed=1,
            latency=Latency(a=0.8, c=0.001),
            output=output,
            limits=Limits(
                requests_per_window=limit if self.bound == "requests" else None,
                tokens_per_window=limit if self.bound == "tokens" else None,
                window_seconds=window_seconds,
                kind=self.kind,
                counting=self.counted,
            ),
        )

    def bodies(self) -> Iterator[dict[str, Any]]:
        """Endlessly many chat requests, no two alike, the same in every run."""
        chance = random.Random(1)
        for number in itertools.count():
            tokens = 12 if self.bound == "requests" else int(chance.lognormvariate(PROMPT_MU, PROMPT_SIGMA))
            text = f"{number} ".ljust(min(tokens, 8_000) * BYTES_PER_TOKEN, "x")
            yield {
                "model": "simulated",
                "messages": [{"role": "user", "content": text}],
                "max_tokens": CAPS[self.counted],
            }

    def per_second(self) -> float:
        """About how many calls fit the limit."""
        if self.bound == "requests":
            return PER_SECOND["requests"]
        return PER_SECOND["tokens"] / 1_250


def limit_cases(containing: str = "") -> list[LimitCase]:
    """All cases whose names hold every word of `containing`."""
    kinds: tuple[WindowKind, ...] = ("bucket", "sliding", "fixed")
    counted: tuple[Counted, ...] = ("actual", "reserved")
    bounds: tuple[Bound, ...] = ("requests", "tokens")
    cases = [LimitCase(*one) for one in itertools.product(kinds, counted, bounds, (False, True))]
    return [case for case in cases if set(containing.split()) <= set(case.name.split())]
