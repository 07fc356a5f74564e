"""What every wire format is turned into and made from: a call, a reply, a failure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from penstock.simulator.limits import Gauge, Resource

Json = dict[str, Any]
Gauges = Mapping[Resource, Gauge]
Frame = tuple[bytes, int]


@dataclass(frozen=True, slots=True)
class Failure:
    """An answer that is an error; `retry_after` in seconds, `None` when no such header is sent."""

    status: int
    message: str
    type: str
    code: str | None = None
    param: str | None = None
    retry_after: float | None = None


class BadCall(Exception):
    """The request is refused before it reaches the model."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def invalid(param: str, message: str, code: str | None = None) -> BadCall:
    """A 400 that names the parameter at fault."""
    return BadCall(Failure(400, message, "invalid_request_error", code, param))


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool the caller offers, with the JSON schema of its arguments."""

    name: str
    schema: Json


@dataclass(frozen=True, slots=True)
class Call:
    """A valid request, whatever its wire format. `cap`: output tokens per choice, `None` without a cap."""

    model: str
    input_tokens: int
    cap: int | None = None
    choices: int = 1
    stream: bool = False
    include_usage: bool = False
    user_text: str = ""
    json_schema: Json | None = None
    tools: tuple[Tool, ...] = ()
    forced_tool: str | None = None
    called: frozenset[str] = frozenset()
    """tools that the model called since the user last spoke"""
    extra: Json = field(default_factory=dict)

    @property
    def total_cap(self) -> int | None:
        """Output tokens of all choices together, at most."""
        return None if self.cap is None else self.cap * self.choices


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model says: text, or the call of a tool. `cut` tells that the cap ended it.

    Tokens per choice.
    """

    text: str
    output_tokens: int
    cut: bool = False
    tool: str | None = None


class Wire(Protocol):
    """One wire format."""

    def parse(self, body: Json, path_parameters: Json) -> Call:
        """The call a body asks for; raises `BadCall`."""

    def plain(self, call: Call, reply: Reply, number: int) -> Json:
        """The body of a whole reply; `number` makes its ids unique."""

    def frames(self, call: Call, reply: Reply, number: int, chunk_tokens: int) -> Iterator[Frame]:
        """The reply as server-sent events, each with the output tokens it carries."""

    def failure(self, failure: Failure, request_id: str) -> tuple[int, Json]:
        """Status and body of an error."""

    def limit_headers(self, gauges: Gauges) -> list[tuple[bytes, bytes]]:
        """Headers that tell the limits."""


def dump(value: Any) -> bytes:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def event(value: Any, name: str | None = None) -> bytes:
    """One server-sent event."""
    head = b"" if name is None else b"event: %s\n" % name.encode("ascii")
    return head + b"data: " + dump(value) + b"\n\n"


def retry_headers(failure: Failure) -> list[tuple[bytes, bytes]]:
    """`retry-after` in whole seconds and `retry-after-ms`.

    Both rounded up so that nobody comes back too early.
    """
    if failure.retry_after is None:
        return []
    milliseconds = math.ceil(failure.retry_after * 1000)
    return [
        (b"retry-after", b"%d" % max(1, math.ceil(failure.retry_after))),
        (b"retry-after-ms", b"%d" % max(1, milliseconds)),
    ]


def go_duration(seconds: float) -> str:
    """A duration as the rate-limit headers write it: `12ms`, `7.66s`, `6m0s`, `1h0m2s`.

    Rounded up to milliseconds.
    """
    milliseconds = math.ceil(seconds * 1000 - 1e-6)
    if milliseconds <= 0:
        return "0s"
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    tail = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{tail}"
    return f"{minutes}m{tail}" if minutes else tail
