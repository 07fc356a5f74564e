"""Replays under rate limits: the real gate in front of a virtual provider."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from heapq import heapify, heappop, heappush
from itertools import count
from random import Random
from typing import Literal

from penstock.admission import (
    Admit,
    Ask,
    Gate,
    GateLimits,
    Grant,
    Observed,
    OutputEstimator,
    RateLimit,
    Reject,
)
from penstock.errors import ConfigurationError
from penstock.lab.calls import Call
from penstock.lab.engine import Replay, Segment
from penstock.lab.lines import Line, line_for
from penstock.lab.programs import ProgramBook
from penstock.lab.provider import KINDS, Kind, VirtualProvider
from penstock.lab.setup import Setup
from penstock.lab.traces import Trace
from penstock.model.rank import Policy
from penstock.model.usage import Usage

_MODEL = "lab"


@dataclass(frozen=True, slots=True)
class RateSetup:
    """What the provider bears, and how calls reach it. Seconds of virtual time.

    A call is under way for a time between the two of `transit`, each way. `output_cap` is the cap of every
    call; `None`: the smallest power of two that cuts no reply of the trace. `until` ends the replay there,
    calls in line and in flight are left out; use is measured after `warmup`. `reserve` is what the gate holds
    for a reply: what it has learned, or always the cap.
    """

    tokens: int | None = None
    requests: int | None = None
    window_seconds: float = 60.0
    kind: Kind = "sliding"
    phase: float = 3.7
    transit: tuple[float, float] = (0.002, 0.03)
    headers: bool = True
    output_cap: int | None = None
    reserve: Literal["learned", "cap"] = "learned"
    warmup: float = 300.0
    until: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.tokens is None and self.requests is None:
            raise ConfigurationError("a replay under limits needs tokens or requests per window")
        given = [limit for limit in (self.tokens, self.requests) if limit is not None]
        if min(given) < 1 or self.window_seconds <= 0:
            raise ConfigurationError("rate limits and their window are above 0")
        if self.kind not in KINDS:
            raise ConfigurationError(f"provider {self.kind!r} is unknown: choose one of {', '.join(KINDS)}")

    def gate_limits(self, slots: int) -> GateLimits:
        """The same limits for the gate, as a user would set them."""
        rates = []
        if self.tokens:
            rates.append(RateLimit("tokens", self.tokens, self.window_seconds))
        if self.requests:
            rates.append(RateLimit("requests", self.requests, self.window_seconds))
        return GateLimits(rates=tuple(rates), max_in_flight=slots)


@dataclass(slots=True)
class LimitedReplay(Replay):
    """A replay with what became of the limits, by `tokens` and `requests`."""

    use: dict[str, float] = field(default_factory=dict)
    """share of the limit that was used after the warm-up, while calls waited"""
    worst: dict[str, float] = field(default_factory=dict)
    """the fullest window after the warm-up, as a share of the limit: above 1 the limit was passed"""
    refused: int = 0
    """calls that the provider answered with 429"""
    never_fit: int = 0
    """calls larger than a limit, which the gate refused at once"""


@dataclass(slots=True)
class _Flight:
    call: Call
    ask: Ask
    grant: Grant
    seen: list[Observed] = field(default_factory=list)


class GatedEngine:
    """A call goes when it is first in line, a slot is free and the gate admits it; it is one step."""

    def __init__(self, trace: Trace, policy: Policy, setup: Setup, rates: RateSetup) -> None:
        setup = replace(setup, service=replace(setup.service, step_tokens=None))  # a call is one step
        self.rates, self.setup = rates, setup
        self.calls = [Call(one, setup.service) for one in trace.requests]
        self.book = ProgramBook(self.calls, setup)
        self.line: Line = line_for(policy, setup)
        self.gate = Gate(rates.gate_limits(setup.slots))
        self.estimator = OutputEstimator(rates.reserve)
        self.provider = VirtualProvider(
            rates.kind, rates.requests, rates.tokens, rates.window_seconds, rates.phase
        )
        self.free = setup.slots
        self.cap = rates.output_cap or 1 << (max(one.output for one in trace.requests) - 1).bit_length()
        self.result = LimitedReplay(trace, setup, [])
        self._chance = Random(f"{rates.seed}:transit")
        self._number = count()
        self._events: list[tuple[float, int, Callable[[float], None]]] = [
            (one.arrival, next(self._number), self._arrival(one)) for one in self.book.roots(self.calls)
        ]
        self._wake = -1.0
        self._waited_until = 0.0
        self._asked: tuple[int, Ask] | None = None

    def play(self) -> LimitedReplay:
        began = time.perf_counter()
        events, until = self._events, self.rates.until
        heapify(events)
        while events and (until is None or events[0][0] <= until):
            now, _, happen = heappop(events)
            happen(now)
            self._look(now)
        result, provider = self.result, self.provider
        end = self._waited_until if until is None else until
        for name, limit in provider.limits.items():
            result.use[name] = limit.use_between(self.rates.warmup, end)
            result.worst[name] = limit.worst_after(self.rates.warmup)
        result.calls = [one for one in self.calls if one.finish >= 0]
        result.run_seconds = time.perf_counter() - began
        return result

    def _at(self, when: float, happen: Callable[[float], None]) -> None:
        heappush(self._events, (when, next(self._number), happen))

    def _arrival(self, call: Call) -> Callable[[float], None]:
        def arrive(now: float) -> None:
            call.standing = self.book.standing(call, now)
            self._queue(call, now)

        return arrive

    def _queue(self, call: Call, now: float) -> None:
        self.line.put(call, now)
        self.book.queued(call)

    def _look(self, now: float) -> None:
        """Let go who can go: in rank order, the first in line never overtaken by a smaller one."""
        while self.free and len(self.line):
            call = self.line.peek(now)
            ask = self._ask(call)
            decision = self.gate.consider(ask, now)
            if isinstance(decision, Admit):
                self._send(self.line.take(now), ask, now)
            elif isinstance(decision, Reject):
                self.book.seated(self.line.take(now))
                self.line.ended(call, now)
                self.result.never_fit += 1
            else:
                self._waited_until = now
                if decision.until is not None and decision.until != self._wake:
                    self._wake = decision.until
                    self._at(max(now, decision.until), lambda now: None)
                return
            self._asked = None

    def _ask(self, call: Call) -> Ask:
        """What the call asks for; estimated when it becomes first in line."""
        if self._asked is None or self._asked[0] != call.row:
            request = call.request
            known = self.estimator.estimate(_MODEL, "", request.prompt, self.cap)
            ask = Ask(
                _MODEL,
                tenant=request.tenant,
                input_tokens=request.prompt,
                output_mean=known.output_mean,
                output_variance=known.output_variance,
                output_cap=self.cap,
                reserved_tokens=request.prompt + self.cap,
            )
            self._asked = (call.row, ask)
        return self._asked[1]

    def _send(self, call: Call, ask: Ask, now: float) -> None:
        self.book.seated(call)
        self.free -= 1
        if call.start < 0:
            call.start = now
        grant = self.gate.admit(ask, now)
        self.gate.sent(grant, now)
        flight = _Flight(call, ask, grant)
        self._at(now + self._transit(), lambda now: self._reach_provider(flight, now))

    def _transit(self) -> float:
        return self._chance.uniform(*self.rates.transit)

    def _reach_provider(self, flight: _Flight, now: float) -> None:
        call = flight.call
        fine = self.provider.arrive(call.request.prompt, now)
        flight.seen = self.provider.headers(now) if self.rates.headers else []
        if fine:
            self._at(now + call.service, lambda now: self._complete(flight, now))
        else:
            self._at(now + self._transit(), lambda now: self._refusal(flight, now))

    def _complete(self, flight: _Flight, now: float) -> None:
        self.provider.complete(flight.call.request.output, now)
        self._at(now + self._transit(), lambda now: self._reply(flight, now))

    def _refusal(self, flight: _Flight, now: float) -> None:
        """A 429: the call goes back to its place in line."""
        self.result.refused += 1
        self.gate.observe(flight.grant, flight.seen, now)
        self.gate.release(flight.grant, now)
        self.gate.refused(flight.ask, "limited", None, now)
        self.free += 1
        self.line.ended(flight.call, now)
        self._queue(flight.call, now)

    def _reply(self, flight: _Flight, now: float) -> None:
        call, request = flight.call, flight.call.request
        call.finish, call.left = now, 0
        self.free += 1
        self.gate.observe(flight.grant, flight.seen, now)
        self.gate.settle(flight.grant, Usage(request.prompt, request.output), 0, now)
        self.gate.succeeded(flight.ask, now - call.start, request.output, now)
        self.estimator.learn(
            _MODEL,
            "",
            cap=self.cap,
            prompt_estimate=request.prompt,
            prompt_true=request.prompt,
            output_true=request.output,
        )
        self.result.segments.append(Segment(call, call.start, now, request.prompt, request.output))
        self.line.ended(call, now)
        for waiting in self.book.serve(call, call.size(self.setup.unit)):
            self.line.rerank(waiting, now)
        for child in self.book.ended(call, now):
            arrive = self._arrival(child)
            if child.takes_its_place(now):
                arrive(now)
            else:
                self._at(child.arrival, arrive)


def limited_replay(trace: Trace, policy: Policy, setup: Setup, rates: RateSetup) -> LimitedReplay:
    """Play a trace through a policy and the real gate; the same inputs give the same result."""
    return GatedEngine(trace, policy, setup, rates).play()


def saturated(trace: Trace) -> Trace:
    """The same requests, all there from the start: whoever limits them is always asked for more."""
    return replace(trace, requests=tuple(replace(one, arrival=0.0) for one in trace.requests))
