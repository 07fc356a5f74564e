"""The replay: a trace through a production policy on so many slots, in virtual time."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from math import inf
from typing import NamedTuple

from penstock.lab.calls import Call
from penstock.lab.lines import Line, line_for
from penstock.lab.programs import ProgramBook
from penstock.lab.setup import Setup
from penstock.lab.traces import Trace
from penstock.model.rank import Policy


class Segment(NamedTuple):
    """An uninterrupted stay of a call on a slot; the prompt is served at its start, in the first one."""

    call: Call
    start: float
    end: float
    prompt: int
    output: int


@dataclass(slots=True)
class Replay:
    """What came out: every call with its instants, and every stay on a slot."""

    trace: Trace
    setup: Setup
    calls: list[Call]
    segments: list[Segment] = field(default_factory=list)
    preemptions: int = 0
    run_seconds: float = 0.0
    """real seconds the replay took"""

    @property
    def makespan(self) -> float:
        """Seconds from the first arrival to the last end."""
        return max(one.finish for one in self.calls) - min(one.arrival for one in self.calls)


class Engine:
    """Event by event: arrivals before step ends at equal instants; ties by arrival, then by row.

    The first step of a call takes its start and its prompt besides; a resumed call takes up where it was.
    Under a preemptive policy a slot changes hands at the end of a step only.
    """

    def __init__(self, trace: Trace, policy: Policy, setup: Setup) -> None:
        self.policy, self.setup = policy, setup
        self.calls = [Call(one, setup.service) for one in trace.requests]
        self.book = ProgramBook(self.calls, setup)
        self.line: Line = line_for(policy, setup)
        self.free = setup.slots
        self.result = Replay(trace, setup, self.calls)
        self._coming = [(one.arrival, one.row, one) for one in self.book.roots(self.calls)]
        self._busy: list[tuple[float, float, int, Call]] = []
        step = setup.service.step_tokens
        self._step: float = step if policy.preemptive and step is not None else inf
        self._segments: dict[int, tuple[float, int]] = {}
        self._in_programs = trace.has_programs

    def play(self) -> Replay:
        began = time.perf_counter()
        coming, busy = self._coming, self._busy
        heapify(coming)
        while coming or busy:
            if coming and (not busy or coming[0][0] <= busy[0][0]):
                now, _, call = heappop(coming)
                self._arrive(call, now)
            else:
                now, _, _, call = heappop(busy)
                self._step_ended(call, now)
        self.result.run_seconds = time.perf_counter() - began
        return self.result

    def _stand(self, call: Call, now: float) -> None:
        call.standing = self.book.standing(call, now)
        self.line.put(call, now)
        if self._in_programs:
            self.book.queued(call)

    def _arrive(self, call: Call, now: float) -> None:
        self._stand(call, now)
        if self.free:
            self.free -= 1
            self._seat(self.line.take(now), now)

    def _seat(self, call: Call, now: float) -> None:
        """Give a slot to a call that comes from the line."""
        if self._in_programs:
            self.book.seated(call)
        first = call.start < 0
        if first:
            call.start = now
        self._segments[call.row] = (now, call.left)
        self._begin_step(call, now, call.head_seconds if first else 0.0)

    def _begin_step(self, call: Call, now: float, head_seconds: float) -> None:
        tokens = call.left if call.left <= self._step else int(self._step)
        call.step_tokens = tokens
        call.step_seconds = head_seconds + tokens * call.token_seconds
        heappush(self._busy, (now + call.step_seconds, call.arrival, call.row, call))

    def _step_ended(self, call: Call, now: float) -> None:
        call.left -= call.step_tokens
        amount = call.step_size(self.setup.unit)
        if self._in_programs:
            for waiting in self.book.serve(call, amount):
                self.line.rerank(waiting, now)
        if not call.left:
            self._finish(call, now)
            return
        call.standing = self.policy.stepped(call.standing, amount, call.step_seconds, now)
        if self._in_programs:
            self.book.refresh(call)
        other = self.line.swap(call, now)
        if other is call:
            self._begin_step(call, now, 0.0)
        else:
            self._leave(call, now)
            self.result.preemptions += 1
            if self._in_programs:
                self.book.queued(call)
            self._seat(other, now)

    def _leave(self, call: Call, now: float) -> None:
        start, left = self._segments.pop(call.row)
        prompt = call.request.prompt if left == call.request.output else 0
        self.result.segments.append(Segment(call, start, now, prompt, left - call.left))

    def _finish(self, call: Call, now: float) -> None:
        call.finish = now
        self._leave(call, now)
        self.line.ended(call, now)
        for child in self.book.ended(call, now):
            if child.takes_its_place(now):
                self._stand(child, now)
            else:
                heappush(self._coming, (child.arrival, child.row, child))
        self.free += 1
        while self.free and len(self.line):
            self.free -= 1
            self._seat(self.line.take(now), now)


def replay(trace: Trace, policy: Policy, setup: Setup | None = None) -> Replay:
    """Play a trace through a policy; the same inputs give the same result."""
    return Engine(trace, policy, setup or Setup()).play()
