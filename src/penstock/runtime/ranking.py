"""Where tasks stand and in which order they go: the policy, with what it needs to know of each task."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Literal, NamedTuple

from penstock.model.rank import Policy, Rank
from penstock.model.standing import Program, Standing, read_standing, standing_text
from penstock.model.task import Claimed, NewTask, Waiting
from penstock.policies import Guarded
from penstock.policies.deadline import Deadline, expired
from penstock.runtime.charges import Unit
from penstock.runtime.programs import Programs
from penstock.runtime.sizes import Kind, Sizes
from penstock.stores.contract import Reader


class Place(NamedTuple):
    """Where a call or a handler stands in front of the gate, lowest first: `stage` 0 before 1 (under policies
    whose steps do not compete, what has started goes before what has not), then the counter of its flow, then
    its rank, then arrival."""

    stage: int
    counter: float
    rank: Rank
    order: int


class Ranker:
    """Ranks tasks by the policy in force; `unit` is the scarce resource in which sizes are measured."""

    def __init__(self, policy: Policy, unit: Unit = "seconds") -> None:
        self.use(policy)
        self.unit: Unit = unit
        self.sizes = Sizes()
        self.programs = Programs()
        self.on_served: Callable[[str, float], None] = lambda program, amount: None
        self.tenant_weights: Mapping[str, float] = {}

    def use(self, policy: Policy) -> None:
        """Switch the policy; what waits has to be ranked anew by the caller."""
        self.policy = policy if isinstance(policy, Guarded) else Guarded(policy)
        self.follows_programs = _follows_programs(self.policy.policy)

    def weight(self, flow: str) -> float:
        """The share of a flow under the policy in force; of tenants that were granted a weight, that one."""
        granted = self.tenant_weights.get(flow) if self.tenant_weights else None
        return self.policy.weight(flow) if granted is None else granted

    @property
    def has_flows(self) -> bool:
        """Whether the policy measures shares."""
        return self.policy.flow(Standing(0.0)) is not None

    def at_the_head(self, task: Claimed, now: float) -> Literal["go", "worse", "expired"]:
        """Whether a task that came to the head of its line may start: its deadline may have passed meanwhile,
        or its rank have got worse (it is given to the task then)."""
        if isinstance(self.policy.policy, Deadline) and expired(task, now):
            return "expired"
        rank = self.policy.rank(self.standing(task), now)
        if rank <= task.rank:
            return "go"
        task.rank = rank
        return "worse"

    @property
    def preemptive(self) -> bool:
        return self.policy.preemptive

    def enter(self, task: NewTask, size: float, seconds: float, now: float) -> None:
        """Give a new task its standing, rank and flow. `size` in the scarce unit, 0 when nobody knows."""
        program = None
        if task.program is not None:
            program = self.programs.join(task.program, task.entered_at or now, size)
        standing = Standing(
            task.entered_at,
            task.priority,
            task.deadline,
            task.tenant,
            size=size,
            seconds_left=seconds,
            program=program,
        )
        task.rank = self.policy.rank(standing, now)
        task.flow = self.policy.flow(standing)
        task.standing = standing_text(standing)

    def size_of(self, task: NewTask) -> float:
        """The estimated size of a task that just entered."""
        return float(json.loads(task.standing).get("size", 0.0)) if task.standing else 0.0

    def standing(self, task: Claimed | Waiting) -> Standing:
        """The standing of a task that was in the store."""
        return read_standing(
            task.standing,
            entered_at=task.entered_at,
            priority=task.priority,
            deadline=task.deadline,
            tenant=task.tenant,
            program=None if task.program is None else self.programs.get(task.program),
        )

    def learn_programs(self, reader: Reader, tasks: Sequence[Claimed | Waiting]) -> None:
        """Get to know the programs of these tasks, as the store has them."""
        self.programs.learn(reader, [task.program for task in tasks if task.program is not None])

    def again(
        self, task: Waiting, now: float, program: Program | None = None
    ) -> tuple[int, Rank, str | None]:
        """A waiting task's rank and flow under the policy in force; `program` where that is known better."""
        standing = self.standing(task)
        if program is not None:
            standing = replace(standing, program=program)
        return task.seq, self.policy.rank(standing, now), self.policy.flow(standing)

    def rank_of_program(self, program: Program, now: float) -> Rank:
        """The rank of a task of this program that is like any other."""
        return self.policy.rank(Standing(program.entered_at, program=program), now)

    def latest(self, standing: Standing) -> Standing:
        """With all that other tasks of the program were served since."""
        if standing.program is None:
            return standing
        return replace(standing, program=self.programs.get(standing.program.id) or standing.program)

    def stepped(self, standing: Standing, tokens: int, seconds: float, now: float) -> Standing:
        """The standing after a step; its program has attained the same."""
        service = self.service(tokens, seconds)
        after = self.policy.stepped(self.latest(standing), service, seconds, now)
        if after.program is not None:
            self.programs.put(after.program)
            if service > 0:
                self.on_served(after.program.id, service)
        return after

    def service(self, tokens: int, seconds: float) -> float:
        """What was used, in the scarce unit."""
        return float(tokens) if self.unit == "tokens" else seconds

    def expected(self, kind: Kind, tokens: float | None = None) -> tuple[float, float]:
        """(size in the scarce unit, seconds) of a task of this kind; `tokens` when the caller knows
        better."""
        learned = self.sizes.tokens(kind)
        seconds = self.sizes.seconds(kind)
        likely_tokens = tokens if tokens is not None else learned.mean if learned is not None else 0.0
        likely_seconds = seconds.mean if seconds is not None else 0.0
        return (likely_tokens if self.unit == "tokens" else likely_seconds), likely_seconds


def _follows_programs(policy: Policy) -> bool:
    """Whether a task's rank changes as its program is served."""
    with suppress(Exception):  # `Guarded` tells of those, with a task of somebody's
        fresh, served = (
            policy.rank(Standing(0.0, program=Program("", 0.0, 1e6, attained)), 0.0)
            for attained in (0.0, 1e5)
        )
        return fresh != served
    return False
