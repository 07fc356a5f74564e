"""The words of the gate: what a call asks for, what the gate answers, and what it then holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from penstock.admission.meter import Meter

Dimension = Literal["requests", "tokens", "input_tokens", "output_tokens"]
Counts = Literal["actual", "reserved"]
WaitReason = Literal[
    "requests", "tokens", "money", "concurrency", "pool", "cooldown", "probing", "period", "slots"
]
RefusalKind = Literal["limited", "slow_down", "overloaded", "timeout"]
GrantState = Literal["held", "settled", "released", "uncertain"]
Scope = tuple[str, str, str]
"""(endpoint, model, tenant)"""


@dataclass(frozen=True, slots=True)
class Ask:
    """What one call wants from the gate. Tokens are counts, money is pico-dollars (1e-12 USD)."""

    model: str
    tenant: str = ""
    endpoint: str = ""
    type: str = ""
    requests: int = 1
    input_tokens: int = 0
    output_mean: float = 0.0
    output_variance: float = 0.0
    output_cap: int | None = None
    """the caller's explicit cap; None: the length of the reply is not guaranteed"""
    reserved_tokens: int = 0
    """input and cap together: what a provider that counts `reserved` books at once"""
    cost: int = 0
    cost_known: bool = True
    pools: tuple[tuple[str, int], ...] = ()
    program: str = ""
    """whose budget binds it too; empty where none does"""


@dataclass(frozen=True, slots=True)
class Admit:
    """The call may go now."""


@dataclass(frozen=True, slots=True)
class Wait:
    """The call fits later: `until` is the earliest monotonic instant, None when only a settlement helps."""

    reason: WaitReason
    key: str
    until: float | None


@dataclass(frozen=True, slots=True)
class Reject:
    """The call can never go as things are; `message` says what happened and what to do."""

    code: str
    message: str


Decision = Admit | Wait | Reject
ADMIT = Admit()


class Load(NamedTuple):
    """What one call weighs in one dimension."""

    sent: int
    """counted by the provider when the call arrives"""
    mean: float
    """expected to be counted when it completes"""
    variance: float
    bias: float
    """what a reply still in flight is longer than `mean`, for long replies stay longer: variance / mean"""
    cap: int
    """most that can be counted at completion; -1: no guarantee"""

    @property
    def expected(self) -> float:
        return self.sent + self.mean

    @property
    def full(self) -> int:
        """The most this reply is believed to count at completion: its cap, or mean and three deviations."""
        return self.cap if self.cap >= 0 else int(self.mean + 3.0 * self.variance**0.5 + 0.999999)


def load_of(ask: Ask, dimension: Dimension, counts: Counts) -> Load:
    """Weigh `ask` in one dimension, as a provider counts it."""
    if dimension == "requests":
        return Load(ask.requests, 0.0, 0.0, 0.0, 0)
    if dimension == "tokens" and counts == "reserved":
        return Load(max(ask.reserved_tokens, ask.input_tokens), 0.0, 0.0, 0.0, 0)
    if dimension == "input_tokens":
        return Load(ask.input_tokens, 0.0, 0.0, 0.0, 0)
    mean, variance = ask.output_mean, ask.output_variance
    cap = -1 if ask.output_cap is None else ask.output_cap
    if 0 <= cap < mean:
        mean = float(cap)
    bias = variance / mean if mean > 0.0 else 0.0
    return Load(0 if dimension == "output_tokens" else ask.input_tokens, mean, variance, bias, cap)


class Grant:
    """An admitted call: everything it holds, until it is settled, released or uncertain."""

    __slots__ = ("ask", "cost", "marks", "number", "placed", "sent_at", "state")

    def __init__(self, number: int, ask: Ask) -> None:
        self.number = number
        self.ask = ask
        self.cost = ask.cost
        self.sent_at: float | None = None
        self.state: GrantState = "held"
        self.placed: list[tuple[Meter, Load]] = []
        self.marks: dict[Dimension, tuple[float, float]] = {}
        """per dimension what the provider had seen of us when this call was sent (see remaining.py)"""

    def __repr__(self) -> str:
        return f"Grant({self.number}, {self.ask.model!r}, {self.state})"


@dataclass(frozen=True, slots=True)
class Observed:
    """What a reply's headers said of one dimension, as of the provider's admission of that call."""

    dimension: Dimension
    limit: int | None = None
    remaining: int | None = None
    reset_in: float | None = None
    """seconds until the limit is back to full"""


@dataclass(frozen=True, slots=True)
class Past:
    """A call made before a restart. Ages in seconds, a negative age counts as 0 (the careful side)."""

    model: str
    tenant: str = ""
    endpoint: str = ""
    age_sent: float = 0.0
    age_done: float | None = None
    """None: never settled, its reply is counted at `held` as of now"""
    requests: int = 1
    input: int = 0
    output: int = 0
    held: int = 0
    """output tokens held for it"""
    reserved: int = 0
    """input and cap, for providers that count `reserved`"""


@dataclass(frozen=True, slots=True)
class LimitUse:
    """How full one rate limit is now."""

    key: str
    used: int
    held: int
    limit: int
    window_seconds: float
    dimension: Dimension = "requests"
    empty_in: float = 0.0
    """seconds until nothing of what is used counts any more"""


@dataclass(frozen=True, slots=True)
class BudgetUse:
    """How full one budget is now, in pico-dollars."""

    key: str
    spent: int
    held: int
    uncertain: int
    limit: int
