"""What stands in when a task has failed for good: a value, or another handler of the same task.

That the first handler was given up is recorded, so that after a crash the other one goes on by itself. Its
steps are in a scope of their own, and it is retried as often as the first.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from penstock.errors import ReferenceMissing
from penstock.model.json_text import json_text
from penstock.model.references import fill
from penstock.model.states import TaskStatus
from penstock.model.step import StepKey, StepRecord
from penstock.model.task import Claimed, Finish, Notice
from penstock.runtime.inputs import Results, filled
from penstock.runtime.position import enter

if TYPE_CHECKING:
    from penstock.runtime.context import TaskContext
    from penstock.runtime.handlers import Handler, Handlers
    from penstock.runtime.outcomes import Judgement

SCOPE = "fallback"


@dataclass(frozen=True, slots=True)
class Fallback:
    """A `type` with its data, or a value (as JSON text) where there is no type."""

    type: str | None
    data: Any = None

    @classmethod
    def read(cls, text: str) -> Fallback:
        """What `TaskOptions.fallback` says."""
        given = json.loads(text)
        return cls(given["type"], given.get("data")) if "type" in given else cls(None, given.get("value"))

    @property
    def text(self) -> str:
        """The same for `TaskOptions.fallback`."""
        said = {"value": self.data} if self.type is None else {"type": self.type, "data": self.data}
        return json_text(said)

    def result(self, task: Claimed, refers: bool) -> str | None:
        """The value as JSON text; `None` when it refers to a result that is not there."""
        try:
            value = fill(self.data, Results(task.inputs or {})) if refers else self.data
        except ReferenceMissing:
            return None
        return json_text(value)


async def prepared(context: TaskContext, handler: Handler, handlers: Handlers) -> tuple[Handler, int | None]:
    """What runs now, with the task's data filled in: its own handler or, once that one was given up, its
    fallback, and after which attempt that was."""
    options = context.options
    attempt = None if options.fallback is None else await _given_up(context)
    if attempt is not None:
        fallback = Fallback.read(options.fallback or "")
        handler = handlers[fallback.type or ""]
        enter(context, SCOPE)
        await filled(context, fallback.data, handler)
    elif options.refs:
        await filled(context, context.data, handler)
    return handler, attempt


def stand_in(context: TaskContext, verdict: Judgement, at: float) -> Finish | Literal["again"] | None:
    """What comes instead of a failure for good: an end with a value; another run, by the fallback; or
    nothing."""
    task, options, committer = context.task, context.options, context.services.committer
    if options.fallback is None:
        return None
    fallback = Fallback.read(options.fallback)
    result = None if fallback.type is not None else fallback.result(task, options.refs)
    if fallback.type is None and result is None:
        return None
    # What follows in the same transaction tells whether the claim was still held.
    committer.send("tell", [_notice(task, at, fallback, verdict)])
    if fallback.type is None:
        return Finish(task, TaskStatus.COMPLETED, at, result, keep=options.keep)
    committer.send("record", [_giving_up(task, at)])
    return "again"


async def _given_up(context: TaskContext) -> int | None:
    """The attempt after which the first handler was given up, if it was."""
    if not context.task.journaled:
        return None
    record = await context.recorder.find(_given_up_step(context.task))
    return None if record is None else int(json.loads(record)["attempt"])


def _giving_up(task: Claimed, at: float) -> StepRecord:
    value = json_text({"attempt": task.attempt}).encode()
    return StepRecord(task.seq, task.claim_no, _given_up_step(task), 0, "value", value, at)


def _given_up_step(task: Claimed) -> StepKey:
    # Of this task only: one that tries it again, with its journal, begins with the first handler.
    return StepKey(f"{SCOPE} of {task.id}", "given up", "")


def _notice(task: Claimed, at: float, fallback: Fallback, verdict: Judgement) -> Notice:
    """What is told of it, and kept in the task's metadata."""
    instead = "value" if fallback.type is None else fallback.type
    data = {"instead": instead, "code": verdict.code, "message": verdict.message[:500]}
    return Notice(task.seq, task.claim_no, at, "fallback", data)
