"""Lines: who waits, in the order of a production policy; shares between flows by the production counters."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Protocol

from penstock.lab.calls import Call
from penstock.lab.setup import Setup
from penstock.model.rank import Policy
from penstock.model.standing import Standing
from penstock.policies import Flows


class Line(Protocol):
    """Calls that wait for a slot."""

    def __len__(self) -> int: ...
    def put(self, call: Call, now: float) -> None:
        """A call stands in line; its rank is taken now."""

    def peek(self, now: float) -> Call:
        """Who goes next; the line must not be empty."""

    def take(self, now: float) -> Call:
        """Let the next one go; the line must not be empty."""

    def swap(self, call: Call, now: float) -> Call:
        """The step of `call` has ended: who gets its slot, `call` again or one that takes its place."""

    def rerank(self, call: Call, now: float) -> None:
        """The standing of a call in line has changed."""

    def ended(self, call: Call, now: float) -> None:
        """A call that was taken has ended."""


class RankedLine:
    """One line in rank order; ties by arrival, then by row.

    A rank holds later or gets worse, never better (the contract of policies): the head is asked again before
    it goes, and the order is exact without re-ranking what waits.
    """

    def __init__(self, policy: Policy) -> None:
        self._rank = policy.rank
        self._heap: list[tuple[int, float, float, int, int, Call]] = []
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def put(self, call: Call, now: float) -> None:
        self._waiting += 1
        self._push(call, now)

    def _push(self, call: Call, now: float) -> None:
        band, key = self._rank(call.standing, now)
        call.ticket += 1
        heappush(self._heap, (band, key, call.arrival, call.row, call.ticket, call))

    def peek(self, now: float) -> Call:
        heap = self._heap
        while True:
            band, key, _, _, ticket, call = heap[0]
            if ticket != call.ticket:
                heappop(heap)
            elif self._rank(call.standing, now) > (band, key):
                heappop(heap)
                self._push(call, now)
            else:
                return call

    def take(self, now: float) -> Call:
        self.peek(now)
        return self._pop()

    def _pop(self) -> Call:
        call = heappop(self._heap)[5]
        call.ticket += 1
        self._waiting -= 1
        return call

    def swap(self, call: Call, now: float) -> Call:
        """A slot changes hands for a strictly lower rank, for an equal one when `call` went to the back."""
        if not self._waiting:
            return call
        self.peek(now)
        band, key = self._heap[0][:2]
        own = self._rank(call.standing, now)
        if own < (band, key) or (own == (band, key) and call.standing.turn_at < now):
            return call
        other = self._pop()
        self.put(call, now)
        return other

    def rerank(self, call: Call, now: float) -> None:
        self._push(call, now)

    def ended(self, call: Call, now: float) -> None:
        """Nothing to settle: a line without flows keeps no accounts."""


class SharedLine:
    """A line for each flow; the flow with the lowest counter goes next.

    A flow is charged when a call, or under a preemptive policy a step, is let go: by its estimate, corrected
    to the truth when the call has ended.
    """

    def __init__(self, policy: Policy, setup: Setup) -> None:
        self._policy, self._setup = policy, setup
        self._flows = Flows(getattr(policy, "weight", lambda flow: 1.0))
        self._lines: dict[str, RankedLine] = {}
        self._charged: dict[int, float] = {}
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def _flow(self, call: Call) -> str:
        return self._policy.flow(call.standing) or ""

    def put(self, call: Call, now: float) -> None:
        flow = self._flow(call)
        line = self._lines.get(flow)
        if line is None:
            line = self._lines[flow] = RankedLine(self._policy)
        line.put(call, now)
        self._waiting += 1
        if len(line) == 1:
            self._flows.arrive(flow, now)

    def _next_line(self) -> RankedLine:
        flow = self._flows.pick()
        if flow is None:
            raise IndexError("nobody waits")
        return self._lines[flow]

    def peek(self, now: float) -> Call:
        return self._next_line().peek(now)

    def take(self, now: float) -> Call:
        line = self._next_line()
        call = line.take(now)
        flow = self._flow(call)
        amount = self._estimate(call)
        self._flows.charge(flow, amount)
        self._charged[call.row] = self._charged.get(call.row, 0.0) + amount
        self._waiting -= 1
        if not len(line):
            self._flows.leave(flow)
        return call

    def _estimate(self, call: Call) -> float:
        """What a flow is charged for what goes now: a step, whose length is known, or a whole call."""
        request, weights = call.request, self._setup.weights
        noise = 1.0 if self._setup.exact else request.noise
        prompt = request.prompt if call.left == request.output else 0
        step = self._setup.service.step_tokens
        if self._policy.preemptive and step is not None:
            return weights.of(prompt, min(step, call.left))
        return weights.of(prompt, call.left * noise)

    def swap(self, call: Call, now: float) -> Call:
        """The next step of `call` competes with what waits, inside its flow and between flows."""
        self.put(call, now)
        return self.take(now)

    def rerank(self, call: Call, now: float) -> None:
        self._lines[self._flow(call)].rerank(call, now)

    def ended(self, call: Call, now: float) -> None:
        request, done = call.request, call.request.output - call.left
        prompt = request.prompt if call.finish >= 0 else 0
        true = self._setup.weights.of(prompt, done)
        self._flows.correct(self._flow(call), true - self._charged.pop(call.row, 0.0))


def line_for(policy: Policy, setup: Setup) -> Line:
    """The line that a policy asks for: with flows where it names them."""
    return RankedLine(policy) if policy.flow(Standing(0.0)) is None else SharedLine(policy, setup)
