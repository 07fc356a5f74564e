"""Where the running code is: in which task, and in which scope of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import Context, ContextVar
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from penstock.runtime.context import TaskContext


class Position(NamedTuple):
    """A task's context, and a scope of its journal."""

    context: TaskContext
    scope: str


_position: ContextVar[Position | None] = ContextVar("penstock_position", default=None)


def current_position() -> Position | None:
    """The task and scope of the running code; `None` outside any handler."""
    return _position.get()


def position_in(context: Context) -> Position | None:
    """The same for code that runs in these context variables."""
    return context.get(_position)


def enter(context: TaskContext) -> None:
    """What runs from here on belongs to this task."""
    _position.set(Position(context, ""))


@contextlib.contextmanager
def within(context: TaskContext, scope: str) -> Iterator[None]:
    """What runs inside belongs to this scope of the task."""
    token = _position.set(Position(context, scope))
    try:
        yield
    finally:
        _position.reset(token)
