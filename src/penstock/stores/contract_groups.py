"""What a store promises of groups: the tasks of a workflow, counted where they end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from penstock.model.group import Group, MemberView, NewMember
from penstock.model.states import TaskStatus


class GroupReader(Protocol):
    """What is asked of groups."""

    def group(self, id: int) -> Group | None:
        """How the group stands that the task number `id` leads; costs the same for ten members or ten
        thousand."""

    def group_of(self, seq: int) -> tuple[int, str] | None:
        """(number of the leading task, name of the node) of a member."""

    def members(
        self, id: int, nodes: Sequence[str] = (), limit: int = -1, after: int = 0
    ) -> list[MemberView]:
        """The members of a group, or those of these names, in the order in which they joined; `after` is the
        last seq of the page before."""

    def undoable(self, id: int) -> list[MemberView]:
        """The members that completed and say what undoes them, the one that ended last first."""

    def member_ids(self, id: int) -> dict[str, str]:
        """Task ids of all members, by node."""

    def member_needs(self, id: int) -> dict[str, list[str]]:
        """Of the members that need others of the group: the nodes that they need, by node."""

    def repeated_members(self, after: int) -> list[tuple[int, str, str, str]]:
        """(group, node, task id, `retry_of`) of members that are tasks tried again, in groups that came after
        the one of this number and are led by such tasks too; in the order in which they joined."""

    def inputs_of(self, seqs: Sequence[int]) -> dict[int, dict[str, tuple[TaskStatus, str | None]]]:
        """Of each of these tasks (status, result as JSON text) of the tasks that it needs, by id, in the
        order in which it named them."""


class GroupWriter(Protocol):
    """Making groups, and ending them."""

    def open_group(self, id: int, places: int | None = None, stops: bool = True) -> None:
        """Make the group of the task number `id`, which has not ended; `stops` is kept for who makes it grow.
        While it has not ended, its members are kept. When it ends in any way its open members are cancelled.

        Every end of a member is counted in the transaction of the end; `group:ID` is woken when none is open
        any more. When one that `stops` fails or is cancelled the group is closed, in the same transaction;
        not when it failed for another that it needed. With `places` no more members than that are on their
        way at a time: the others are blocked, and the one of the highest priority goes next."""

    def join_group(self, id: int, members: Sequence[NewMember]) -> bool:
        """Let tasks that were added in this transaction join, whatever their status; names must be new.
        False, and nothing is changed, when the group is closed."""

    def close_group(self, id: int, now: float) -> tuple[int, ...]:
        """Let nobody join any more and cancel what is open: what waits at once, what runs by control rows;
        the numbers of those that run."""
