"""What a simulated provider does, as frozen data of plain types.

Build one, hand it to `create_app` or `Simulator`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

WindowKind = Literal["bucket", "fixed", "sliding"]
Counting = Literal["actual", "reserved", "reserved_refund"]
HeadersAt = Literal["admission", "end"]

FAULT_NAMES = (
    "error_500",
    "error_503",
    "overloaded",
    "insufficient_quota",
    "burst_429",
    "hang",
    "cut",
    "malformed",
)


@dataclass(frozen=True)
class Latency:
    """Seconds a reply takes: `a + b * input_tokens + c * output_tokens`.

    A stream spreads its chunks over `c`'s part.
    """

    a: float = 0.0
    b: float = 0.0
    c: float = 0.0

    def __post_init__(self) -> None:
        if min(self.a, self.b, self.c) < 0:
            raise ValueError("latency: a, b and c are seconds and must not be negative")

    def first(self, input_tokens: int) -> float:
        """Seconds until the first output token."""
        return self.a + self.b * input_tokens


@dataclass(frozen=True)
class Limits:
    """What a window of `window_seconds` may hold; `None` is no limit.

    `kind`: `bucket` refills at limit/window and holds a full limit; `fixed` windows start at the first call
    (minus `phase_seconds`); `sliding` counts what lies less than a window back.
    `counting`: `actual` counts input on arrival and output on completion; `reserved` counts input plus the
    output cap on arrival and never corrects; `reserved_refund` corrects that to the actual usage on
    completion, where it was counted.
    `uncapped_reserve` stands for the cap of a request without one. `headers_at` says as of when a good
    reply's headers tell what remains: the call's `admission`, as a limiter in front of a model does, or its
    `end`.
    """

    requests_per_window: int | None = None
    tokens_per_window: int | None = None
    window_seconds: float = 60.0
    kind: WindowKind = "bucket"
    counting: Counting = "actual"
    phase_seconds: float = 0.0
    uncapped_reserve: int = 2048
    headers_at: HeadersAt = "admission"

    def __post_init__(self) -> None:
        if self.kind not in get_args(WindowKind):
            raise ValueError(
                f"limits: kind must be one of {', '.join(get_args(WindowKind))}, not {self.kind!r}"
            )
        if self.counting not in get_args(Counting):
            raise ValueError(
                f"limits: counting must be one of {', '.join(get_args(Counting))}, not {self.counting!r}"
            )
        if self.headers_at not in get_args(HeadersAt):
            raise ValueError(f"limits: headers_at must be admission or end, not {self.headers_at!r}")
        if self.window_seconds <= 0:
            raise ValueError("limits: window_seconds must be above zero")
        for name in ("requests_per_window", "tokens_per_window"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"limits: {name} must be at least 1, or None for no limit")
        if not 0 <= self.phase_seconds < self.window_seconds:
            raise ValueError("limits: phase_seconds must be at least 0 and below window_seconds")


@dataclass(frozen=True)
class Output:
    """Output tokens of a reply: `mean` exactly, or lognormal around it when `sigma` is above zero.

    It is never over `maximum` unless the prompt asks with `[[out=N]]`.
    """

    mean: float = 64
    sigma: float = 0.0
    maximum: int = 4096

    def __post_init__(self) -> None:
        if self.mean < 1 or self.sigma < 0 or self.maximum < 1:
            raise ValueError("output: mean and maximum must be at least 1, sigma at least 0")


@dataclass(frozen=True)
class Faults:
    """Probability (0..1) of each fault per call, drawn from the seed and the number of the arrival.

    The sum is at most 1. Billed: `hang` (no reply until the client goes), `cut` (the connection drops
    inside the reply), `malformed` (200 with broken JSON). Not billed: the rest. `burst_429` begins
    `burst_seconds` of refusals. During the first `slow_start_seconds` after the first call latencies are
    multiplied by `slow_start_factor`. With `errors_count` calls that end in 500, 503, overloaded or
    insufficient quota use up the limits as others do.
    """

    error_500: float = 0.0
    error_503: float = 0.0
    overloaded: float = 0.0
    insufficient_quota: float = 0.0
    burst_429: float = 0.0
    hang: float = 0.0
    cut: float = 0.0
    malformed: float = 0.0
    burst_seconds: float = 2.0
    slow_start_seconds: float = 0.0
    slow_start_factor: float = 10.0
    errors_count: bool = False

    def __post_init__(self) -> None:
        chances = [getattr(self, name) for name in FAULT_NAMES]
        if min(chances) < 0 or sum(chances) > 1 + 1e-9:
            raise ValueError("faults: probabilities must be between 0 and 1 and their sum at most 1")
        if self.burst_seconds < 0 or self.slow_start_seconds < 0 or self.slow_start_factor < 1:
            raise ValueError("faults: seconds must not be negative, slow_start_factor must be at least 1")


@dataclass(frozen=True)
class Script:
    """A reply for calls in whose last user text the regular expression `pattern` is found; the first wins.


    `$0`..`$9` in `reply` become the groups of the match. `tool` makes it a call of that tool with
    `tool_arguments`; with `once` only until that tool was called, and the scripts behind it say what follows.
    """

    pattern: str
    reply: str = ""
    tool: str | None = None
    tool_arguments: Mapping[str, Any] | None = None
    once: bool = False

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern)
        except re.error as problem:
            raise ValueError(
                f"script: pattern {self.pattern!r} is no regular expression: {problem}"
            ) from problem


@dataclass(frozen=True)
class SimulatorConfig:
    """The whole provider: equal configurations give equal replies, sizes and faults.

    `limits` hold for all models together except those named in `limits_by_model`, which have their own.
    `models` empty accepts every model; `api_key` `None` accepts every key. `stream_chunk_tokens`: output
    tokens a chunk.
    """

    seed: int = 0
    latency: Latency = field(default_factory=Latency)
    limits: Limits = field(default_factory=Limits)
    limits_by_model: Mapping[str, Limits] = field(default_factory=dict)
    output: Output = field(default_factory=Output)
    faults: Faults = field(default_factory=Faults)
    scripts: tuple[Script, ...] = ()
    models: tuple[str, ...] = ()
    api_key: str | None = None
    embedding_dimensions: int = 256
    stream_chunk_tokens: int = 8

    def __post_init__(self) -> None:
        if self.embedding_dimensions < 1 or self.stream_chunk_tokens < 1:
            raise ValueError("embedding_dimensions and stream_chunk_tokens must be at least 1")
