"""Plans: a goal, and the subtasks that lead to it; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from penstock.workflows.cycles import in_order

USUAL_SECONDS = 60.0
"""The time of a subtask of which nobody said how long it takes."""


@dataclass(frozen=True, slots=True)
class Subtask:
    """One piece of the work. `dependencies` are ids of subtasks whose results it needs, `estimated_time` are
    seconds; with a `tool` it is a call of that with these `arguments`, else it is the model's to do."""

    id: str
    name: str
    description: str = ""
    dependencies: tuple[str, ...] = ()
    estimated_time: float = USUAL_SECONDS
    tool: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The form in which models write it and people may change it."""
        form: dict[str, Any] = {
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "dependencies": list(self.dependencies),
            "estimated_time": self.estimated_time,
        }
        if self.tool is not None:
            form |= {"tool": self.tool, "arguments": dict(self.arguments)}
        return form


@dataclass(frozen=True, slots=True)
class PlanEstimate:
    """What running a plan is expected to take: model calls (the report among them), their tokens, US dollars
    (`None`: the price is unknown), and seconds when nothing has to wait for a limit."""

    calls: int
    input_tokens: int
    output_tokens: int
    cost: Decimal | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Plan:
    """A goal and its subtasks, none of which needs itself, however indirectly. `mended` says what was put
    right in what the model wrote."""

    goal: str
    subtasks: tuple[Subtask, ...]
    mended: tuple[str, ...] = ()
    estimate: PlanEstimate | None = None

    def layers(self) -> list[list[Subtask]]:
        """The subtasks that may run side by side: each layer needs only those before it."""
        depth: dict[str, int] = {}
        for one in self.in_order():
            depth[one.id] = max((depth[need] + 1 for need in one.dependencies if need in depth), default=0)
        layers: list[list[Subtask]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
        for one in self.subtasks:
            layers[depth[one.id]].append(one)
        return layers

    def critical_path(self) -> list[Subtask]:
        """The chain of subtasks that takes longest, by their estimated times: no plan is done sooner."""
        ends: dict[str, float] = {}
        before: dict[str, str | None] = {}
        for one in self.in_order():
            last = max(
                (need for need in one.dependencies if need in ends), key=ends.__getitem__, default=None
            )
            before[one.id] = last
            ends[one.id] = one.estimated_time + (ends[last] if last is not None else 0.0)
        at = max(ends, key=ends.__getitem__, default=None)
        path = []
        by_id = {one.id: one for one in self.subtasks}
        while at is not None:
            path.append(by_id[at])
            at = before[at]
        return path[::-1]

    @property
    def seconds(self) -> float:
        """The estimated time of the critical path."""
        return sum(one.estimated_time for one in self.critical_path())

    def in_order(self) -> list[Subtask]:
        """The subtasks, each behind those that it needs."""
        by_id = {one.id: one for one in self.subtasks}
        needs = {id: [need for need in one.dependencies if need in by_id] for id, one in by_id.items()}
        return [by_id[id] for id in in_order(needs)]

    def as_dict(self) -> dict[str, Any]:
        """The plan as JSON: what a GOAL task takes for `plan`."""
        return {"subtasks": [one.as_dict() for one in self.subtasks]}
