"""Keeps what flows, programs and running tasks attained, in the transactions that happen anyway."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from penstock.model.flow_standing import FlowStanding
from penstock.model.rank import Rank
from penstock.model.standing import Standing, standing_text
from penstock.model.task import Claimed, TaskStanding
from penstock.stores.contract import Transaction


class Keeper:
    """Told of every change on the loop's thread; writes what changed with the next transaction of whatever
    kind, so that a restart loses nothing but what a crash lost anyway.

    `standing_of` says how a flow stands now, for a next life of this node.
    """

    def __init__(self) -> None:
        self.standing_of: Callable[[str], FlowStanding] = lambda flow: FlowStanding(flow, 0.0, 0, None)
        self._moved: deque[str] = deque()
        self._served: deque[tuple[str, float]] = deque()
        self._flows: dict[str, None] = {}
        self._programs: dict[str, float] = {}
        self._stepped: deque[tuple[int, int, Rank, Standing]] = deque()
        self._tasks: dict[int, tuple[int, Rank, Standing]] = {}

    def moved(self, flow: str) -> None:
        """The counter of this flow changed, or whether it has tasks waiting."""
        self._moved.append(flow)

    def served(self, program: str, amount: float) -> None:
        """A program attained so much more, in the scarce unit."""
        self._served.append((program, amount))

    def stepped(self, task: Claimed, standing: Standing) -> None:
        """A running task stands so after a step; written with the record of the step, as a rule."""
        self._stepped.append((task.seq, task.claim_no, task.rank, standing))

    def write(self, store: Transaction) -> None:
        """Write what is not durable yet; called in a transaction, on the thread of the store."""
        while self._moved:
            self._flows[self._moved.popleft()] = None
        while self._served:
            program, amount = self._served.popleft()
            self._programs[program] = self._programs.get(program, 0.0) + amount
        while self._stepped:
            seq, claim_no, rank, standing = self._stepped.popleft()
            self._tasks[seq] = claim_no, rank, standing
        if self._tasks:
            store.keep_standings(
                [
                    TaskStanding(seq, claim_no, rank, standing_text(standing))
                    for seq, (claim_no, rank, standing) in self._tasks.items()
                ]
            )
        if self._flows or self._programs:
            store.keep_flows([self.standing_of(flow) for flow in self._flows])
            for program, amount in self._programs.items():
                store.serve_program(program, amount)

    def kept(self) -> None:
        """Called when that transaction is durable."""
        self._flows.clear()
        self._programs.clear()
        self._tasks.clear()
