"""Runs one attempt of a task: handler in, end or put-back out."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from penstock.errors import Parked, PenstockError, StoreError
from penstock.model.json_text import json_text
from penstock.model.options import read_options
from penstock.model.states import TaskStatus
from penstock.model.task import Claimed, Finish, PutBack
from penstock.runtime.context import Position, TaskContext, _position
from penstock.runtime.figures import Deadlines
from penstock.runtime.handlers import Handlers
from penstock.runtime.outcomes import Judgement, judge
from penstock.runtime.services import Services

log = logging.getLogger("penstock.tasks")

SAMPLE = 16


class Running:
    """An open task: it has a coroutine in memory, with or without a slot. `leave` says why it is being
    cancelled."""

    __slots__ = ("begun", "context", "future", "leave", "model", "task")

    def __init__(self, task: Claimed, context: TaskContext, model: str) -> None:
        self.task = task
        self.model = model
        self.context = context
        self.future: asyncio.Task[None] | None = None
        self.leave: str | None = None
        self.begun = False


class Runner:
    """Turns what a handler does into the verbs of the store; ends of one turn of the loop go out together."""

    def __init__(
        self,
        services: Services,
        handlers: Handlers,
        on_end: Callable[[list[Finish]], None],
        on_put_back: Callable[[list[PutBack]], None],
    ) -> None:
        self.services = services
        self.handlers = handlers
        self._on_end = on_end
        self.returned = on_put_back
        self._ends: list[Finish] = []
        self._attempts = 0
        self.deadlines = Deadlines()

    def open(self, task: Claimed, model: str) -> Running:
        """Make the task's context; a slot was taken for it."""
        return Running(task, TaskContext(task, read_options(task.options), self.services), model)

    async def run(self, running: Running) -> None:
        """One attempt, to its end. Never raises but for what ends the loop."""
        context = running.context
        _position.set(Position(context, ""))
        context.holding.begin(lambda: self.leave(running, "timeout"))
        running.begun = True
        try:
            context.check_parked()
            handler = self.handlers[running.task.type]
            if handler.is_async:
                result = await handler.function(context)
            else:
                result = await self.services.in_thread(handler.function, context)
            self._completed(running, result)
        except (Parked, asyncio.CancelledError, BaseExceptionGroup) as error:
            self._interrupted(running, error)
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:
            self._raised(running, error)
        finally:
            context.parked = True  # what outlives its attempt makes no more steps
            context.holding.end()
            self._learn(running)

    def _learn(self, running: Running) -> None:
        """What this attempt used teaches what others like it will use."""
        task, footing = running.task, running.context.footing
        seconds = self.services.clock.wall() - task.claimed_at
        footing.ended(seconds)
        self._attempts += 1
        # Tasks without steps are short and many: a sample tells enough of them.
        if footing.steps or self._attempts % SAMPLE == 0:
            kind = (task.type, running.model, task.tenant)
            self.services.ranker.sizes.learn(kind, footing.tokens, footing.seconds or seconds)

    def leave(self, running: Running, reason: str) -> None:
        """Cancel the attempt: `cancel`, `timeout` or `stop`."""
        if running.leave is None and running.future is not None:
            running.leave = reason
            running.context.parked = True
            if running.begun:  # cancelled any earlier, it would never come to its own end
                running.future.cancel()

    def expire(self, task: Claimed) -> None:
        """Fail a task whose deadline passed before it could start."""
        now = self.services.clock.wall()
        late = now - (task.deadline or now)
        message = f"its deadline passed {late:.3g} seconds before it could start"
        self.deadlines.expired += 1
        error = json.dumps({"code": "expired", "message": message})
        self._end(Finish(task, TaskStatus.FAILED, now, error=error, keep=read_options(task.options).keep))

    def _completed(self, running: Running, result: Any) -> None:
        if result is None:
            text = None
        else:
            try:
                text = json_text(result)
            except (TypeError, ValueError) as error:
                message = f"the handler of {running.task.type!r} returned what is no JSON: {error}"
                self._failed(running, Judgement("result_not_json", message, retryable=False))
                return
        wall = self.services.clock.wall()
        self.deadlines.ended(running.task.deadline, wall)
        self._compare(running)
        self._end(Finish(running.task, TaskStatus.COMPLETED, wall, text, keep=running.context.options.keep))

    def _compare(self, running: Running) -> None:
        """Track how far the estimate of this task's size was off."""
        task, footing, ranker = running.task, running.context.footing, self.services.ranker
        if task.standing is None or not (estimate := footing.standing.size):
            return
        seconds = self.services.clock.wall() - task.claimed_at
        true = footing.standing.attained or ranker.service(footing.tokens, footing.seconds or seconds)
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
        if not isinstance(error, PenstockError):
            log.debug("task %s raised", running.task.id, exc_info=True)
        self._failed(running, judge(error))

    def _failed(self, running: Running, verdict: Judgement) -> None:
        task, retry = running.task, running.context.options.retry
        wall = self.services.clock.wall()
        if verdict.retryable and not retry.exhausted(task.attempt):
            delay = retry.delay(task.attempt, self.services.random.random(), verdict.retry_after)
            why = verdict.as_text(task.attempt)
            self._send_back(running, TaskStatus.RETRYING, wall + delay, why)
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
        else:
            self._put_back(running)

    def _put_back(self, running: Running) -> None:
        self._send_back(running, TaskStatus.QUEUED)

    def _send_back(
        self, running: Running, status: TaskStatus, due_at: float | None = None, error: str | None = None
    ) -> None:
        task = running.task
        item = PutBack(
            task,
            status,
            self.services.clock.wall(),
            task.rank,
            due_at,
            error,
            flow=task.flow,
            standing=running.context.footing.text(),
        )

        def deliver(outcomes: list[bool]) -> None:
            if outcomes[0]:
                self.returned([item])

        self.services.committer.send("put_back", [item], deliver, _lost)

    def _end(self, end: Finish) -> None:
        if not self._ends:
            self.services.loop.call_soon(self._flush)
        self._ends.append(end)

    def _flush(self) -> None:
        ends, self._ends = self._ends, []

        def deliver(outcomes: list[bool]) -> None:
            self._on_end(
                ends if all(outcomes) else [end for end, kept in zip(ends, outcomes, strict=True) if kept]
            )

        def fail(error: BaseException) -> None:
            self._not_stored(ends, error)

        self.services.committer.send("finish", ends, deliver, fail)

    def _not_stored(self, ends: list[Finish], error: BaseException) -> None:
        """The store refused these ends: one by one, so that only the culprit fails, and that it does fail."""
        if isinstance(error, StoreError) or (len(ends) == 1 and ends[0].result is None):
            _lost(error)
        elif len(ends) == 1:
            message = f"its result cannot be stored: {error}"
            why = Judgement("result_not_storable", message, retryable=False).as_text(ends[0].task.attempt)
            self._end(replace(ends[0], status=TaskStatus.FAILED, result=None, error=why))
        else:
            for end in ends:
                self.services.committer.send(
                    "finish",
                    [end],
                    lambda outcomes, end=end: self._on_end([end] if outcomes[0] else []),  # type: ignore[misc]
                    lambda error, end=end: self._not_stored([end], error),  # type: ignore[misc]
                )


def _leaves(group: BaseExceptionGroup[BaseException]) -> bool:
    """Whether nothing went wrong in this group but that its branches had to leave."""
    return group.split((Parked, asyncio.CancelledError))[1] is None


def _by_itself(running: Running) -> bool:
    return running.leave is None and running.future is not None and not running.future.cancelling()


def _lost(error: BaseException) -> None:
    # The task stays claimed; whoever opens the store next finds it and goes on from its journal.
    log.error("the end of a task could not be stored: %s", error)
