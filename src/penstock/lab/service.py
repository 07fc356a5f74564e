"""The service model: how long a request keeps a slot busy, and in which steps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

from penstock.errors import ConfigurationError
from penstock.lab.traces import MOST, Request, Trace

# Of loads and speeds; beyond it nothing is told that is not told at it.
LEAST_FACTOR = 1e-6


@dataclass(frozen=True, slots=True)
class ServiceModel:
    """Seconds of service: at the start, per prompt token and per output token; linear, without batching.

    `step_tokens` output tokens are one step, between which a preemptive policy may take the slot away;
    `None`: a request is one step, as a model call is.
    """

    start_seconds: float = 0.2
    seconds_per_prompt_token: float = 0.0002
    seconds_per_output_token: float = 0.02
    step_tokens: int | None = 64

    def __post_init__(self) -> None:
        parts = (self.start_seconds, self.seconds_per_prompt_token, self.seconds_per_output_token)
        if not all(0 <= part <= MOST for part in parts) or max(parts) <= 0:
            raise ConfigurationError(f"service times are seconds of at least 0 and not all 0, not {parts}")
        if self.step_tokens is not None and self.step_tokens < 1:
            raise ConfigurationError(f"a step has at least 1 token, not {self.step_tokens}")

    def pace(self, request: Request) -> tuple[float, float]:
        """Seconds before the first output token, and per output token; measured service wins."""
        start = self.start_seconds + self.seconds_per_prompt_token * request.prompt
        if request.service is None:
            return start, self.seconds_per_output_token
        if not request.output:
            return request.service, 0.0
        start = min(start, request.service)
        return start, (request.service - start) / request.output

    def seconds(self, request: Request) -> float:
        """The whole service of a request, in seconds."""
        start, per_token = self.pace(request)
        return start + per_token * request.output


def total_service(trace: Trace, service: ServiceModel) -> float:
    """Seconds of service of all requests together."""
    return sum(service.seconds(one) for one in trace.requests)


def at_load(trace: Trace, load: float, slots: int, service: ServiceModel) -> Trace:
    """The trace with its arrivals stretched so that `total service = load * slots * span`."""
    if not LEAST_FACTOR <= load <= 1 / LEAST_FACTOR:
        raise ConfigurationError(f"load {load:g}: give a share of the slots above 0, such as 0.9")
    if trace.span <= 0:
        raise ConfigurationError(f"all requests of {trace.name} arrive at once: a load cannot be set")
    return stretched(trace, total_service(trace, service) / (load * slots * trace.span))


def stretched(trace: Trace, factor: float) -> Trace:
    """The trace with every arrival multiplied by `factor`; sizes and think times stay."""
    if not 0 < factor < inf:
        raise ConfigurationError(f"arrivals are stretched by a factor above 0, not {factor:g}")
    first = trace.requests[0].arrival if trace.requests else 0.0
    return replace(
        trace, requests=tuple(replace(one, arrival=(one.arrival - first) * factor) for one in trace.requests)
    )
