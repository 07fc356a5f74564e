"""How a replay is set up: slots, service, and what the strategy gets to know."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from penstock.errors import ConfigurationError
from penstock.lab.service import ServiceModel

Unit = Literal["seconds", "tokens", "output_tokens"]
UNITS: tuple[Unit, ...] = ("seconds", "tokens", "output_tokens")


@dataclass(frozen=True, slots=True)
class Weights:
    """What a token counts as service of a tenant; an output token twice a prompt token (VTC, OSDI 2024)."""

    prompt: float = 1.0
    output: float = 2.0

    def of(self, prompt: float, output: float) -> float:
        return self.prompt * prompt + self.output * output


@dataclass(frozen=True, slots=True)
class Setup:
    """`slots` calls run at once; sizes and attained service are in `unit`, that of the scarce resource.

    Strategies see estimates: the truth times the trace's noise, or with `exact` the truth. Without
    `program_progress` they see a program's whole size for ever, as if nobody told them what it has had; with
    `program_rerank` what waits of a program is ranked again whenever the program is served.
    """

    slots: int = 8
    service: ServiceModel = field(default_factory=ServiceModel)
    unit: Unit = "seconds"
    exact: bool = False
    weights: Weights = Weights()
    program_progress: bool = True
    program_rerank: bool = True

    def __post_init__(self) -> None:
        if self.slots < 1:
            raise ConfigurationError(f"a replay needs at least 1 slot, not {self.slots}")
        if self.unit not in UNITS:
            raise ConfigurationError(f"unit {self.unit!r} is unknown: choose one of {', '.join(UNITS)}")
