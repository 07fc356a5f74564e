"""Groups: the tasks of one workflow, counted together."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.model.states import TaskStatus


@dataclass(frozen=True, slots=True)
class NewMember:
    """A task that joins a group as the node of this name. `stops`: when it fails the others are cancelled.
    `undo` is JSON text: what is to be done when it completed and the whole fails later."""

    seq: int
    node: str
    stops: bool = True
    undo: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """How the tasks of a group stand. `id` is the number of the task that leads it.

    `stopped_by` is the node whose failure stopped it. `places` limits how many of its tasks are started and
    not ended at a time; `closed`: no more may join; `stops`: what holds for members that say nothing else.
    """

    id: int
    total: int
    open: int
    completed: int
    failed: int
    cancelled: int
    stopped_by: str | None = None
    places: int | None = None
    closed: bool = False
    stops: bool = True


@dataclass(frozen=True, slots=True)
class MemberView:
    """One task of a group, as its workflow sees it; times in seconds since the epoch, `cost` in
    pico-dollars, `error` JSON text. `ended_no` rises in the order in which tasks ended."""

    seq: int
    id: str
    node: str
    type: str
    status: TaskStatus
    stops: bool
    attempt: int
    created_at: float
    freed_at: float | None
    started_at: float | None
    finished_at: float | None
    ended_no: int | None
    input_tokens: int
    output_tokens: int
    cost: int
    error: str | None
    undo: str | None
