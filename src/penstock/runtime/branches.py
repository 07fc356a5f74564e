"""The branches of a handler: code of it that runs beside other code, as far as `ctx.gather` made it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar


class Branch:
    """Code of a handler that runs beside other code of it, in an asyncio task of its own (or in a thread)."""

    __slots__ = ("busy", "joined", "owner", "task", "waits")

    def __init__(self, owner: Branches, task: asyncio.Task[object] | None) -> None:
        self.owner = owner
        self.task = task
        self.busy = True
        self.joined = 0
        self.waits = 0


_branch: ContextVar[Branch | None] = ContextVar("penstock_branch", default=None)
_from_thread: ContextVar[bool] = ContextVar("penstock_from_thread", default=False)


class _Exit(Exception):
    """Carries a `SystemExit` out of an asyncio task: raised there by itself it would end the event loop."""

    def __init__(self, error: SystemExit) -> None:
        super().__init__(error)
        self.error = error


@contextlib.contextmanager
def carried() -> Iterator[None]:
    """A `sys.exit()` inside reaches the code that waits for this asyncio task, and nobody else."""
    try:
        yield
    except SystemExit as error:
        raise _Exit(error) from None


def uncarried(error: BaseException) -> BaseException:
    """The error as the branch raised it."""
    return error.error if isinstance(error, _Exit) else error


def comes_from_thread() -> None:
    """Say that the running asyncio task works for a thread of the handler."""
    _from_thread.set(True)


class Branches:
    """Counts those that are `busy`: neither wait durably nor for others that do. Other asyncio tasks that a
    handler made are not known: as long as its own code waits for them, nobody can tell whether that will end
    by itself."""

    def __init__(self, root: asyncio.Task[object] | None, on_end: Callable[[], None]) -> None:
        self._root = Branch(self, root)
        self._on_end = on_end
        self.busy = 1

    def fork(self, count: int) -> list[Branch]:
        """So many new branches; the running one waits for them from now on."""
        branches = [Branch(self, None) for _ in range(count)]
        self.busy += count
        here = self._here()
        here.joined += 1
        self._changed(here)
        return branches

    def join(self, branches: Sequence[Branch]) -> None:
        """These branches are over, and the running one goes on."""
        for branch in branches:
            self._end(branch)
        here = self._here()
        here.joined -= 1
        self._changed(here)

    @contextlib.contextmanager
    def running(self, branch: Branch) -> Iterator[None]:
        """The running asyncio task is this branch inside."""
        branch.task = asyncio.current_task()
        token = _branch.set(branch)
        try:
            yield
        finally:
            _branch.reset(token)
            self._end(branch)
            self._on_end()

    def _here(self) -> Branch:
        branch = _branch.get()
        return branch if branch is not None and branch.owner is self else self._root

    def known(self) -> Branch | None:
        """The branch whose own code is running; `None` for other tasks of the handler."""
        branch = self._here()
        return branch if _from_thread.get() or asyncio.current_task() is branch.task else None

    def _end(self, branch: Branch) -> None:
        branch.joined += 1  # for ever: it keeps nobody from leaving
        self._changed(branch)

    def rests(self, branch: Branch, change: int) -> None:
        """This branch has one durable wait more that rests, or one less."""
        branch.waits += change
        self._changed(branch)

    def _changed(self, branch: Branch) -> None:
        busy = not branch.joined and not branch.waits
        if busy is not branch.busy:
            branch.busy = busy
            self.busy += 1 if busy else -1
