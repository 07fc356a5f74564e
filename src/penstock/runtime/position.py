"""Where the running code is: in which task, and in which scope of it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import weakref
from collections.abc import Callable, Iterator
from contextvars import Context, ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

if TYPE_CHECKING:
    from penstock.runtime.context import TaskContext

P = ParamSpec("P")
R = TypeVar("R")


class Position(NamedTuple):
    """A task's context, and a scope of its journal.

    `narrow` says anew at each step what is to be added to the scope: what runs other people's code side by
    side (the nodes of a graph, say) knows only then which part of it makes the step. `owner` entered the
    scope: an asyncio task (weakly, for it holds this) or a thread; tasks started since share it.
    """

    context: TaskContext
    scope: str
    narrow: Callable[[], str] | None = None
    owner: Callable[[], Any] | int | None = None


_position: ContextVar[Position | None] = ContextVar("penstock_position", default=None)


def current_position() -> Position | None:
    """The task and scope of the running code; `None` outside any handler."""
    position = _position.get()
    if position is None or position.narrow is None:
        return position
    return Position(position.context, position.scope + position.narrow(), None, position.owner)


def position_in(context: Context) -> Position | None:
    """The same for code that runs in these context variables."""
    return context.get(_position)


def enter(context: TaskContext, scope: str = "") -> None:
    """What runs from here on belongs to this task."""
    _position.set(Position(context, scope, None, _owner()))


@contextlib.contextmanager
def within(context: TaskContext, scope: str, narrow: Callable[[], str] | None = None) -> Iterator[None]:
    """What runs inside belongs to this scope of the task; `narrow` names the part of it where each step is
    made, and no longer counts inside of these steps."""
    token = _position.set(Position(context, scope, narrow, _owner()))
    try:
        yield
    finally:
        _position.reset(token)


def owns(position: Position, maker: Any) -> bool:
    """Whether this asyncio task, or thread by its number, entered the scope itself."""
    owner = position.owner
    return owner == maker if owner is None or isinstance(owner, int) else owner() is maker


def owns_scope() -> bool:
    """Whether the running code has its scope to itself: nothing else was started in it by `create_task` and
    the like, or what was is somebody else."""
    position = _position.get()
    return position is not None and position.owner is not None and owns(position, _maker())


def handed_over(function: Callable[P, R]) -> Callable[P, R]:
    """The function, to be run in a thread while the calling code waits: it owns the scope there if the
    calling code does."""
    if not owns_scope():
        return function
    position = _position.get()
    assert position is not None

    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with within(position.context, position.scope, position.narrow):
            return function(*args, **kwargs)

    return run


def _maker() -> Any:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no loop runs in this thread
        return threading.get_ident()


def _owner() -> Callable[[], Any] | int | None:
    maker = _maker()
    return maker if maker is None or isinstance(maker, int) else weakref.ref(maker)
