"""Whether the code still fits what was recorded for its task.

Code that makes its steps one after another asks for them in the order in which they were recorded. It may
ask for one that was not recorded only when it has used up those that were, or after a step that ended
without a result the last time. Where several branches make steps in one scope, their order says nothing.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Container, Iterator, Sequence
from contextvars import Context
from typing import Any

from penstock.errors import JournalMismatch, StepShown
from penstock.model.step import StepKey
from penstock.runtime.journal import Journal, ScopeRecords
from penstock.runtime.position import Position, owns, position_in

log = logging.getLogger("penstock.journal")

# Branches that are about to make their first step get so many turns of the loop, and threads so many seconds.
_TURNS, _GRACE, _LOOK = 10, 0.5, 0.05
_SHOWN = 8


async def check_fits(
    journal: Journal, key: StepKey, task_id: str, shared: Container[str], *, http: bool, strict: bool
) -> None:
    """A step was asked for that is not recorded: raise `JournalMismatch` if the code no longer fits, warn if
    it may not. `shared` are the scopes in which not only whoever entered them makes steps; `http`: the step
    is a request."""
    scope = journal.scopes.get(key.scope)
    if scope is None or not scope.unused:
        return
    if strict:
        await _settle()
        if scope.unused:
            raise _mismatch(scope, key, task_id)
        return
    certain = not http and not scope.diverged and key not in journal.unfinished
    if certain and scope.contradicts() and await _stays(scope, key.scope, shared):
        raise _mismatch(scope, key, task_id)
    if not scope.unused:
        return
    if http or scope.contradicts():
        scope.diverged = True
    if not scope.warned:
        scope.warned = True
        log.warning(_message(scope, key, task_id))


async def _stays(scope: ScopeRecords, name: str, shared: Container[str]) -> bool:
    """Whether the contradiction is still there when other branches had time to make their steps, and none is
    left that could."""
    if name in shared:
        return False
    await _settle()
    left = _GRACE
    while scope.contradicts() and name not in shared and not others_in(name):
        if left <= 0:
            return True
        left -= _LOOK
        await asyncio.sleep(_LOOK)
    return False


async def _settle() -> None:
    for _ in range(_TURNS):
        await asyncio.sleep(0)


def others_in(scope: str) -> bool:
    """Whether other code of the running task is under way that may make steps in this scope: in it, in a
    branch of it, or in one around it that does not wait for this one."""
    here = asyncio.current_task()
    mine = _position_of(here)
    for task in asyncio.all_tasks() if mine is not None else ():
        if task is here or (position := _position_of(task)) is None or mine is None:
            continue
        if position.context is mine.context and _may_reach(position, scope, task):
            return True
    return False


def _may_reach(position: Position, scope: str, task: asyncio.Task[Any]) -> bool:
    at = position.scope
    if at != scope and _is_around(scope, at):
        return True
    # Who entered a scope around this one (or this one, from a thread) waits for what is inside.
    return (at == scope or _is_around(at, scope)) and not owns(position, task)


def _is_around(outer: str, inner: str) -> bool:
    return inner.startswith(f"{outer}/") if outer else inner != ""


def _position_of(task: asyncio.Task[Any] | None) -> Position | None:
    return next((position_in(one) for one in _contexts_of(task)), None)


def _contexts_of(task: asyncio.Task[Any] | None) -> Iterator[Context]:
    get_context = getattr(task, "get_context", None)
    if get_context is not None:
        yield get_context()
    elif task is not None:  # before Python 3.12 only the collector knows
        yield from (one for one in gc.get_referents(task) if isinstance(one, Context))


def _mismatch(scope: ScopeRecords, key: StepKey, task_id: str) -> JournalMismatch:
    return JournalMismatch(_message(scope, key, task_id), *scope.both_sides())


def _message(scope: ScopeRecords, key: StepKey, task_id: str) -> str:
    recorded, asked = scope.both_sides()
    first = next((place for place, one in enumerate(recorded) if not one.used), 0)
    return (
        f"task {task_id}: step {asked[-1]} in scope {key.scope or 'top'!r} was not recorded, but "
        f"{_some([one for one in recorded if not one.used])} were and are not used yet. "
        f"Recorded: {_listed(recorded, first, 'used', 'NOT USED')}. "
        f"The code asks for: {_listed(asked, len(asked) - 1, 'recorded', 'NOT RECORDED')}. "
        "Did the code or a prompt change, or does its order depend on chance? Give the new code a version= "
        "and keep the old one registered for tasks that it began; or `penstock fork` the task before the "
        "first step that differs; or `penstock retry --fresh`. Use ctx.now, ctx.random and ctx.uuid for what "
        "varies, and ctx.gather or ctx.branch for what runs side by side."
    )


def _some(steps: Sequence[StepShown]) -> str:
    more = len(steps) - _SHOWN
    return ", ".join(map(str, steps[:_SHOWN])) + (f" and {more} more" if more > 0 else "")


def _listed(steps: Sequence[StepShown], at: int, yes: str, no: str) -> str:
    """The steps about this place, with their numbers and whether they were met."""
    begin = max(0, min(at - 2, len(steps) - _SHOWN))
    shown = steps[begin : begin + _SHOWN]
    texts = [f"{begin + n}. {one} {yes if one.used else no}" for n, one in enumerate(shown, 1)]
    before = [f"{begin} before"] if begin else []
    after = [f"{left} more"] if (left := len(steps) - begin - len(shown)) else []
    return "; ".join([*before, *texts, *after])
