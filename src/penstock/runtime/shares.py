"""Shares: what flows have been charged on this node, where the policy measures any.

A claim holds the estimate of a task's first step; a reservation replaces it, settlement corrects it, release
gives it back. Without a flow every call here does nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import repeat
from typing import TYPE_CHECKING

from penstock.policies import Flows

if TYPE_CHECKING:
    from penstock.admission import Ask


class Shares:
    """The flows' counters, and which flows have tasks waiting in which lane."""

    def __init__(self, weight: Callable[[str], float]) -> None:
        self.flows = Flows(weight)
        self.waiting: dict[int, set[str]] = {}
        self._typical: dict[str, float] = {}
        self._any = 0.0

    def counter(self, flow: str | None) -> float:
        """Service per weight that a flow was charged; 0 where no shares are measured."""
        return 0.0 if flow is None else self.flows.view(flow).counter

    def typical(self, flow: str) -> float:
        """What a task of this flow is expected to take, before its own estimate is seen."""
        return self._typical.get(flow) or self._any or 1.0

    def arrive(self, lane: int, flow: str, now: float, size: float = 0.0) -> None:
        """A task of this flow, of this estimated size, waits in this lane."""
        if size > 0:
            self._learn(flow, size)
        self.waiting.setdefault(lane, set()).add(flow)
        self.flows.arrive(flow, now)

    def replace(self, waiting: list[tuple[int, str]], now: float) -> None:
        """What the store says of all lanes."""
        fresh: dict[int, set[str]] = {}
        for lane, flow in waiting:
            fresh.setdefault(lane, set()).add(flow)
        before = {flow for flows in self.waiting.values() for flow in flows}
        after = {flow for flows in fresh.values() for flow in flows}
        self.waiting = fresh
        for flow in before - after:
            self.flows.leave(flow)
        for flow in sorted(after):
            self.flows.arrive(flow, now)

    def pick(self, lane: int, count: int) -> Counter[str]:
        """How many tasks of which flow go next in this lane; each pick is charged a typical estimate."""
        mine = self.waiting.get(lane, set())

        def heads(flow: str) -> Iterator[float]:
            return repeat(self.typical(flow)) if flow in mine else iter(())

        return Counter(self.flows.pick_many(count, heads)) if mine else Counter()

    def claimed(self, lane: int, flow: str, asked: int, sizes: list[float]) -> list[float]:
        """What a claim brought of a flow: the charge that each task holds now. Nothing more waits in a flow
        that gave less than was asked."""
        charged = self.typical(flow)
        if len(sizes) < asked:
            self.flows.refund(flow, (asked - len(sizes)) * charged)
            self.waiting.get(lane, set()).discard(flow)
            if not any(flow in flows for flows in self.waiting.values()):
                self.flows.leave(flow)
        charges = [size if size > 0 else charged for size in sizes]
        for charge in charges:
            self.flows.correct(flow, charge - charged)
        for charge in charges:
            self._learn(flow, charge)
        return charges

    def _learn(self, flow: str, size: float) -> None:
        known = self._typical.get(flow)
        self._typical[flow] = size if known is None else known + 0.05 * (size - known)
        self._any = self._any + 0.05 * (size - self._any) if self._any else size

    def charge(self, flow: str | None, amount: float) -> None:
        if flow is not None:
            self.flows.charge(flow, amount)

    def correct(self, flow: str | None, delta: float) -> None:
        if flow is not None:
            self.flows.correct(flow, delta)


def weight_of(ask: Ask) -> float:
    """What a call is expected to use of its flow's share, in tokens."""
    return ask.input_tokens + ask.output_mean
