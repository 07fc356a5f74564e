"""Runs one attempt of a task: handler in, end or put-back out."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from penstock.admission import Reject
from penstock.errors import JournalMismatch, Parked, PenstockError, StoreError
from penstock.model.json_text import json_text
from penstock.model.options import read_options
from penstock.model.states import TaskStatus
from penstock.model.task import Claimed, Ended, Finish, PutBack
from penstock.runtime.context import TaskContext
from penstock.runtime.fallbacks import prepared, stand_in
from penstock.runtime.figures import Deadlines
from penstock.runtime.handlers import Handler, Handlers
from penstock.runtime.outcomes import Judgement, judge
from penstock.runtime.position import enter
from penstock.runtime.services import Services
from penstock.runtime.versions import handler_of

log = logging.getLogger("penstock.tasks")

SAMPLE = 16

_NOT_STORABLE = "result_not_storable"


class Running:
    """An open task: it has a coroutine in memory, with or without a slot. `leave` says why it is being
    cancelled, `given_up` after which attempt its fallback took over."""

    __slots__ = ("begun", "context", "future", "given_up", "leave", "model", "task")

    def __init__(self, task: Claimed, context: TaskContext, model: str) -> None:
        self.task = task
        self.model = model
        self.context = context
        self.future: asyncio.Task[None] | None = None
        self.leave: str | None = None
        self.begun = False
        self.given_up: int | None = None


class Runner:
    """Turns what a handler does into the verbs of the store; ends of one turn of the loop go out together."""

    def __init__(
        self,
        services: Services,
        handlers: Handlers,
        on_end: Callable[[list[Finish]], None],
        on_put_back: Callable[[list[PutBack]], None],
        on_followed: Callable[[Ended], None],
    ) -> None:
        self.services = services
        self.handlers = handlers
        self._on_end = on_end
        self.returned = on_put_back
        self._on_followed = on_followed
        self._ends: list[Finish] = []
        self._completions = 0
        self.deadlines = Deadlines()

    def open(self, task: Claimed, model: str) -> Running:
        """Make the task's context; a slot was taken for it."""
        return Running(task, TaskContext(task, read_options(task.options), self.services), model)

    async def run(self, running: Running) -> None:
        """One attempt, to its end. Never raises but for what ends the loop."""
        context = running.context
        enter(context)
        context.root = running.future
        context.holding.begin(lambda: self.leave(running, "timeout"))
        running.begun = True
        completed = False
        try:
            context.check_parked()
            handler = await handler_of(self.handlers, context)
            if context.options.refs or context.options.fallback is not None:
                handler, running.given_up = await prepared(context, handler, self.handlers)
            result = await self._call(handler, context)
            if context.holding.under_way.turned_away():
                _warn_of_going_on(running)
                self._left(running)
            else:
                completed = self._completed(running, result)
        except (Parked, asyncio.CancelledError, BaseExceptionGroup) as error:
            self._interrupted(running, error)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # `sys.exit()` ends the attempt, not the process with all other tasks
            self._raised(running, error)
        finally:
            context.parked = True  # what outlives its attempt makes no more steps
            context.end_waits()
            self.services.pools.give(running.task)  # with the slot, or its next taker finds too little
            context.holding.end()
            context.footing.ended(completed)
            self.services.pools.learn(running.task.type, context.uses)

    async def _call(self, handler: Handler, context: TaskContext) -> Any:
        try:
            if handler.run == "async":
                result = await handler.function(context)
            elif handler.run == "thread":
                result = await self.services.in_thread(handler.function, context)
            else:
                result = await self.services.in_process(handler.function, context.data)
            context.recorder.check()
            return result
        finally:
            context.last_words()  # before the end, behind which the fence lets nothing more through

    def _learn(self, running: Running) -> None:
        """What a completed task used teaches what others like it will use."""
        task, footing = running.task, running.context.footing
        self._completions += 1
        # Tasks without steps are short and many: a sample tells enough of them.
        if footing.steps or self._completions % SAMPLE == 1:
            kind = (task.type, running.model, task.tenant)
            self.services.ranker.sizes.learn(kind, *footing.whole())

    def leave(self, running: Running, reason: str) -> None:
        """Cancel the attempt: `cancel`, `timeout` or `stop`."""
        if running.leave is None and running.future is not None:
            running.leave = reason
            running.context.parked = True
            if running.begun:  # cancelled any earlier, it would never come to its own end
                running.future.cancel()

    def refuse(self, task: Claimed, never: Reject) -> None:
        """Fail a task that can never have the units of pools that it needs."""
        error = json.dumps({"code": never.code, "message": never.message})
        now = self.services.clock.wall()
        self._end(Finish(task, TaskStatus.FAILED, now, error=error, keep=read_options(task.options).keep))

    def expire(self, task: Claimed) -> None:
        """Fail a task whose deadline passed before it could start."""
        now = self.services.clock.wall()
        late = now - (task.deadline or now)
        message = f"its deadline passed {late:.3g} seconds before it could start"
        self.deadlines.expired += 1
        error = json.dumps({"code": "expired", "message": message})
        self._end(Finish(task, TaskStatus.FAILED, now, error=error, keep=read_options(task.options).keep))

    def _completed(self, running: Running, result: Any) -> bool:
        """Whether the result can be kept."""
        if result is None:
            text = None
        else:
            try:
                text = json_text(result)
            except (TypeError, ValueError) as error:
                message = f"the handler of {running.task.type!r} returned what is no JSON: {error}"
                self._failed(running, Judgement("result_not_json", message, retryable=False))
                return False
        wall = self.services.clock.wall()
        self.deadlines.ended(running.task.deadline, wall)
        self._compare(running)
        self._learn(running)
        self._end(Finish(running.task, TaskStatus.COMPLETED, wall, text, keep=running.context.options.keep))
        return True

    def _compare(self, running: Running) -> None:
        """Track how far the estimate of this task's size was off."""
        task, footing, ranker = running.task, running.context.footing, self.services.ranker
        if task.standing is None or not (estimate := footing.standing.size):
            return
        tokens, seconds = footing.whole()
        true = tokens if ranker.unit == "tokens" else seconds
        if true is not None:
            ranker.sizes.compare(estimate, true)

    def _interrupted(self, running: Running, error: BaseException) -> None:
        """A task group wraps what its branches raised; a handler that cancels itself fails."""
        if isinstance(error, BaseExceptionGroup) and not _leaves(error):
            self._raised(running, error)
        elif isinstance(error, asyncio.CancelledError) and _by_itself(running):
            verdict = Judgement("handler_error", "the handler cancelled itself", retryable=True)
            self._failed(running, verdict)
        else:
            self._left(running)

    def _raised(self, running: Running, error: BaseException) -> None:
        if running.context.holding.under_way.turned_away() and not isinstance(error, JournalMismatch):
            _warn_of_going_on(running)
            self._left(running)
            return
        if not isinstance(error, PenstockError):
            log.debug("task %s raised", running.task.id, exc_info=True)
        self._failed(running, judge(error))

    def _failed(self, running: Running, verdict: Judgement) -> None:
        task, retry = running.task, running.context.options.retry
        wall = self.services.clock.wall()
        tries = task.attempt - (running.given_up or 0)
        if verdict.retryable and not retry.exhausted(tries):
            delay = retry.delay(tries, self.services.random.random(), verdict.retry_after)
            why = verdict.as_text(task.attempt)
            self._send_back(running, TaskStatus.RETRYING, wall + delay, why)
            return
        instead = None if running.given_up is not None else stand_in(running.context, verdict, wall)
        if isinstance(instead, Finish):
            self._end(instead)
            return
        if instead is not None:
            self._send_back(running, TaskStatus.RETRYING, error=verdict.as_text(task.attempt))
            return
        self._end(
            Finish(
                task,
                TaskStatus.FAILED,
                wall,
                error=verdict.as_text(task.attempt),
                keep=running.context.options.keep,
            )
        )

    def _left(self, running: Running) -> None:
        if running.leave == "cancel":
            error = json.dumps({"code": "cancelled", "message": "cancelled by request"})
            wall = self.services.clock.wall()
            keep = running.context.options.keep
            self._end(Finish(running.task, TaskStatus.CANCELLED, wall, error=error, keep=keep))
        elif running.leave == "timeout":
            limit = running.context.options.timeout
            message = f"handler and calls took longer than the timeout of {limit:g} seconds"
            self._failed(running, Judgement("timeout", message, retryable=True))
        elif running.context.suspended:
            self._send_back(running, TaskStatus.SUSPENDED, running.context.suspended_until)
        else:
            self._send_back(running, TaskStatus.QUEUED)

    def _send_back(
        self, running: Running, status: TaskStatus, due_at: float | None = None, error: str | None = None
    ) -> None:
        task = running.task
        self.put_back(
            PutBack(
                task,
                status,
                self.services.clock.wall(),
                task.rank,
                due_at,
                error,
                flow=task.flow,
                standing=running.context.footing.text(),
            )
        )

    def put_back(self, item: PutBack) -> None:
        """Let a claimed task wait again; one with which that cannot be done fails."""

        def deliver(outcomes: list[bool]) -> None:
            if outcomes[0]:
                self.returned([item])

        def fail(error: BaseException) -> None:
            if isinstance(error, StoreError):
                _lost(error)
                return
            why = Judgement("not_storable", f"it could not be put back: {type(error).__name__}", False)
            self._end(Finish(item.task, TaskStatus.FAILED, item.at, error=why.as_text(item.task.attempt)))

        self.services.committer.send("put_back", [item], deliver, fail)

    def _end(self, end: Finish) -> None:
        if not self._ends:
            self.services.loop.call_soon(self._flush)
        self._ends.append(end)

    def _flush(self) -> None:
        ends, self._ends = self._ends, []

        def deliver(outcomes: list[Ended]) -> None:
            self._stored(ends, outcomes)

        def fail(error: BaseException) -> None:
            self._not_stored(ends, error)

        self.services.committer.send("finish", ends, deliver, fail)

    def _stored(self, ends: list[Finish], outcomes: list[Ended]) -> None:
        self._on_end(
            ends if all(outcomes) else [end for end, kept in zip(ends, outcomes, strict=True) if kept]
        )
        for outcome in set(outcomes):  # one for the whole batch, as a rule
            if outcome.lanes or outcome.failed or outcome.doomed or outcome.due_at is not None:
                self._on_followed(outcome)

    def _not_stored(self, ends: list[Finish], error: BaseException) -> None:
        """The store refused these ends: one by one, so that only the culprit fails, and that it does fail."""
        if isinstance(error, StoreError) or (len(ends) == 1 and _NOT_STORABLE in (ends[0].error or "")):
            _lost(error)
        elif len(ends) == 1:
            message = f"its end cannot be stored: {type(error).__name__}"
            if ends[0].result is not None:
                message = f"its result cannot be stored: {error}"
            why = Judgement(_NOT_STORABLE, message, retryable=False).as_text(ends[0].task.attempt)
            self._end(replace(ends[0], status=TaskStatus.FAILED, result=None, error=why))
        else:
            for end in ends:
                self.services.committer.send(
                    "finish",
                    [end],
                    lambda outcomes, end=end: self._stored([end], outcomes),  # type: ignore[misc]
                    lambda error, end=end: self._not_stored([end], error),  # type: ignore[misc]
                )


def _warn_of_going_on(running: Running) -> None:
    """The handler caught what told it to leave, and ended as if something had failed: it leaves all the
    same, and its steps answer when it runs again."""
    log.warning(
        "task %s: its handler caught Parked, and ended; that counts for nothing, and it will run again. "
        "Do not catch BaseException, and use ctx.gather instead of asyncio.gather with return_exceptions",
        running.task.id,
    )


def _leaves(group: BaseExceptionGroup[BaseException]) -> bool:
    """Whether nothing went wrong in this group but that its branches had to leave."""
    return group.split((Parked, asyncio.CancelledError))[1] is None


def _by_itself(running: Running) -> bool:
    return running.leave is None and running.future is not None and not running.future.cancelling()


def _lost(error: BaseException) -> None:
    # The task stays claimed; whoever opens the store next finds it and goes on from its journal.
    log.error("the end of a task could not be stored: %s", error)
