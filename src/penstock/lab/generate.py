"""Traces with given statistics: arrivals, lengths, tenants, programs; the same recipe, the same trace."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import accumulate
from math import exp, log, sqrt
from random import Random

from penstock.errors import ConfigurationError
from penstock.lab.classes import MOST_NOISE
from penstock.lab.traces import Request, Trace, trace_of

SHAPES = ("none", "chains", "dags")
_BOUNDS = {
    "requests": (1, 1e8),
    "rate": (1e-6, 1e6),
    "burst": (0, 1e6),
    "prompt": (1e-3, 1e9),
    "prompt_cv": (0, 1e3),
    "output": (1e-3, 1e9),
    "output_cv": (0, 1e3),
    "most_tokens": (1, 1e9),
    "tenants": (1, 1e6),
    "zipf": (0, 10),
    "calls": (1e-3, 1e4),
    "think": (0, 1e9),
    "noise": (0, MOST_NOISE),
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """Statistics of a trace. Lengths are lognormal tokens with a mean and a coefficient of variation (`_cv`).

    `requests` arrive (programs, where there are any) at `rate` a second; `burst` is the coefficient of
    variation of the times between arrivals: 1 is Poisson, 0 a metronome, more comes in bursts. Tenant k sends
    in proportion to `1 / k ** zipf`. Programs are `chains` (a lognormal number of calls, `calls` in the mean,
    at most 60, with exponential think times) or `dags` (a plan, some parallel calls, a join; `calls` in the
    mean).
    """

    requests: int = 1000
    rate: float = 1.0
    burst: float = 1.0
    prompt: float = 1000.0
    prompt_cv: float = 1.0
    output: float = 200.0
    output_cv: float = 0.8
    most_tokens: int = 32_000
    tenants: int = 1
    zipf: float = 1.2
    programs: str = "none"
    calls: float = 6.0
    think: float = 1.0
    noise: float = 0.0
    """standard deviation of the logarithm of estimate / truth, of requests and of programs"""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.programs not in SHAPES:
            raise ConfigurationError(
                f"programs={self.programs} is unknown: choose one of {', '.join(SHAPES)}"
            )
        for name, (least, most) in _BOUNDS.items():
            if not least <= getattr(self, name) <= most:  # and so no NaN
                raise ConfigurationError(
                    f"{name}={getattr(self, name)}: give a number from {least:g} to {most:g}"
                )


def read_recipe(text: str, seed: int = 0) -> Recipe:
    """A recipe from `name=value,name=value`; an error says which names there are."""
    kinds = {one.name: type(getattr(Recipe(), one.name)) for one in fields(Recipe)}
    values: dict[str, int | float | str] = {"seed": seed}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, _, value = part.partition("=")
        kind = kinds.get(name.strip())
        try:
            if kind is None:
                raise ValueError
            values[name.strip()] = kind(value)
        except ValueError:
            allowed = ", ".join(f"{one}={getattr(Recipe(), one)}" for one in kinds)
            raise ConfigurationError(f"--generate {part!r} is not understood; there is {allowed}") from None
    return Recipe(**values)  # type: ignore[arg-type]


def generate(recipe: Recipe) -> Trace:
    """Make the trace of a recipe. Every kind of draw has a stream of its own."""
    return trace_of(f"generated, seed {recipe.seed}", _Maker(recipe).make())


class _Maker:
    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self._gaps = Random(f"{recipe.seed}:arrivals")
        self._sizes = Random(f"{recipe.seed}:sizes")
        self._tenants = Random(f"{recipe.seed}:tenants")
        self._shapes = Random(f"{recipe.seed}:programs")
        self._noise = Random(f"{recipe.seed}:noise")
        weights = [1.0 / number**recipe.zipf for number in range(1, recipe.tenants + 1)]
        self._cumulative = list(accumulate(weights))
        self._requests: list[Request] = []

    def make(self) -> list[Request]:
        now = 0.0
        for number in range(self.recipe.requests):
            if number:
                now += self._gap()
            tenant = f"t{self._tenant():02d}" if self.recipe.tenants > 1 else ""
            if self.recipe.programs == "none":
                self._add(now, tenant, noise=self._factor())
            else:
                self._program(str(number), now, tenant)
        return self._requests

    def _gap(self) -> float:
        mean, burst = 1.0 / self.recipe.rate, self.recipe.burst
        return self._gaps.gammavariate(burst**-2, mean * burst**2) if burst > 1e-6 else mean

    def _tenant(self) -> int:
        return self._tenants.choices(range(1, self.recipe.tenants + 1), cum_weights=self._cumulative)[0]

    def _factor(self) -> float:
        return exp(self._noise.gauss(0.0, self.recipe.noise)) if self.recipe.noise else 1.0

    def _tokens(self, mean: float, variation: float) -> int:
        if variation:
            sigma = sqrt(log(1.0 + variation**2))
            mean = self._sizes.lognormvariate(log(mean) - sigma**2 / 2.0, sigma)
        return max(1, min(self.recipe.most_tokens, round(mean)))

    def _add(
        self, arrival: float, tenant: str, *, noise: float = 1.0, program: str = "", depends_on: str = "",
        think: float = 0.0, program_noise: float = 1.0,
    ) -> str:  # fmt: skip
        row, recipe = len(self._requests), self.recipe
        call = str(row)
        self._requests.append(
            Request(
                row,
                arrival,
                self._tokens(recipe.prompt, recipe.prompt_cv),
                self._tokens(recipe.output, recipe.output_cv),
                tenant,
                noise=noise,
                program=program,
                call=call if program else "",
                depends_on=tuple(depends_on.split()),
                think=think,
                program_noise=program_noise,
            )
        )
        return call

    def _program(self, name: str, now: float, tenant: str) -> None:
        noise, shapes = self._factor(), self._shapes

        def add(depends_on: str, think: float = 0.0) -> str:
            return self._add(
                now, tenant, program=name, depends_on=depends_on, think=think, program_noise=noise
            )

        if self.recipe.programs == "chains":
            before = add("")
            for _ in range(self._chain_length() - 1):
                think = shapes.expovariate(1.0 / self.recipe.think) if self.recipe.think else 0.0
                before = add(before, think)
        else:
            plan = add("")
            width = max(1.0, self.recipe.calls - 2.0)
            parallel = shapes.randint(max(1, round(width / 2.5)), max(1, round(width * 1.6)))
            add(" ".join([add(plan) for _ in range(parallel)]))

    def _chain_length(self) -> int:
        """Lognormal with sigma 1: some agents are very long."""
        return max(1, min(60, round(self._shapes.lognormvariate(log(self.recipe.calls) - 0.5, 1.0))))
