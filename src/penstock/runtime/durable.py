"""Durable waits of a handler: sleep, events, approvals, child tasks. One mechanism: what came is recorded in
the transaction in which it was taken, and a task that only waits is suspended and held by nobody's memory."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, TypeVar

from penstock.errors import EventTimeout, Parked, StepError
from penstock.model.decision import Decision
from penstock.model.seconds import is_seconds
from penstock.model.step import StepKey
from penstock.model.waits import APPROVAL, EVENT, LONGEST_NAME, Wait, is_event_name
from penstock.runtime.asking import Asking, default_name, question_text
from penstock.runtime.child_tasks import Child, Work, begin_child
from penstock.runtime.committer import run_whole
from penstock.runtime.holding import Holding
from penstock.runtime.task_facts import TaskFacts
from penstock.runtime.task_waits import OpenWait, TaskWaits
from penstock.stores.contract import Transaction

if TYPE_CHECKING:
    from penstock.runtime.recorder import Recorder

T = TypeVar("T")

Look = Callable[[Transaction], T | None]
Landed = Callable[[tuple[Any, Any]], None]


class DurableContext(TaskFacts):
    """The part of a `TaskContext` that waits for more than the gate."""

    parked: bool
    holding: Holding
    recorder: Recorder
    root: asyncio.Task[None] | None = None
    """the asyncio task that runs the handler"""
    _waits: TaskWaits | None = None

    if TYPE_CHECKING:  # what `TaskContext` has

        @property
        def scope(self) -> str: ...
        def check_parked(self) -> None: ...
        def off_slot(self) -> AbstractAsyncContextManager[None]: ...
        def step_key(
            self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], key: str | None = None
        ) -> StepKey: ...

    async def sleep(self, seconds: float) -> None:
        """Wait so long, for a month if need be: the instant at which it is over is recorded, and nothing is
        held meanwhile but for waits of a second or two."""
        if not (is_seconds(seconds) and seconds >= 0):
            raise ValueError(f"a task sleeps for a number of seconds from 0 up, not {seconds!r:.80}")
        await self._rest_until(await self._instant("sleep", (seconds,), seconds))

    async def sleep_until(self, instant: float) -> None:
        """Wait until this instant, in seconds since the epoch; it is recorded."""
        if not is_seconds(instant):
            raise ValueError(
                "a task sleeps until an instant in seconds since the epoch (`timestamp()` of an aware "
                f"datetime), not {instant!r:.80}"
            )
        seconds = instant - self.services.clock.wall()
        await self._rest_until(await self._instant("sleep_until", (), seconds))

    async def wait_for_event(self, name: str, timeout: float | None = None) -> Any:
        """The data of the next event of this name that is sent to this task, or was and is not taken yet.

        Raises `EventTimeout` after `timeout` seconds. What came, or that nothing did, is recorded.
        """
        if check_name(name).startswith(APPROVAL):
            raise StepError(f"events named {APPROVAL}... answer approvals; ask with ctx.approve")
        return (await self.event(name, timeout))["data"]

    def approve(
        self,
        question: str,
        *,
        details: Any = None,
        name: str | None = None,
        timeout: float | None = None,
    ) -> Coroutine[Any, Any, Decision]:
        """Ask a person, and await it; their decision is recorded. `details` (JSON) are shown with the
        question; an answer names the approval by `name` where a task asks for several at once.

        Raises `EventTimeout` after `timeout` seconds.
        """
        return Asking(self._approve(question, details, name, timeout))

    async def _approve(
        self, question: str, details: Any, name: str | None, timeout: float | None
    ) -> Decision:
        asked = question_text(question, details)
        name = check_name(default_name(asked, self.scope) if name is None else name)
        answer = await self.event(APPROVAL + name, timeout, asked)
        return Decision(**answer["data"], at=answer["at"])

    async def start_child(
        self, type: Work, data: Any = None, *, key: str | None = None, detached: bool = False, **details: Any
    ) -> Child:
        """Submit a task from within this one: exactly once, whatever happens to this process. `type` may be a
        task function, `data` are then its arguments by name.

        It has this one's tenant, priority, deadline and program unless `details` (fields of `Submission`) say
        otherwise. When this task fails or is cancelled it is cancelled too, unless `detached`. `key` tells
        children apart whose data cannot be compared.
        """
        return await begin_child(self, type, data, key, detached, details)  # type: ignore[arg-type]

    async def child(self, type: Work, data: Any = None, *, key: str | None = None, **details: Any) -> Any:
        """The result of a child task: `start_child` and `Child.result`."""
        return await (await self.start_child(type, data, key=key, **details)).result()

    # The mechanism

    async def waiting(
        self,
        wait: Wait,
        look: Look[T],
        patience: float | None = None,
        landed: Landed = lambda outcome: None,
    ) -> T:
        """What `look` finds, as soon as it finds anything but `None`.

        It is asked inside a write transaction: at first, whenever `wait.what` was woken, and at `wait.until`.
        While it is not there the slot is somebody else's; after `patience` seconds (of the settings, if not
        given) in which all branches of the handler did nothing but wait, the task is suspended, and the
        handler runs again when one of them has something to look at. `landed` is told (what was found,
        whether this node still had the task) behind each look, even when the caller was cancelled meanwhile.
        """
        self.check_parked()
        waits = self.waits
        one = waits.open(wait.what, wait.until, math.inf if patience is None else patience, self.scope)
        found: T | None = None
        shared = True
        try:
            found, shared = await self._look(one, wait, look, landed)
            if found is None:
                async with self.off_slot():
                    while found is None:
                        await waits.rest(one)
                        found, shared = await self._look(one, wait, look, landed)
            return found
        finally:
            last = waits.close(one)
            if last and (found is None or shared) and not self.parked:
                self.no_longer_waits(wait.what)  # a branch gave up, or others waited for the same

    async def recorded_wait(
        self, step: StepKey, wait: Wait, look: Look[Any], patience: float | None = None
    ) -> Any:
        """The same for what is JSON, recorded as this step in the transaction in which it is found."""
        known = await self.recorder.find(step)
        if known is not None:
            return json.loads(known)
        async with self.recorder.making(step) as made:
            if made.known is not None:
                return json.loads(made.known)

            def look_and_record(store: Transaction) -> Any:
                found = look(store)
                if found is not None:
                    made.write(store, found)
                return found

            return await self.waiting(wait, look_and_record, patience, made.landed)

    @property
    def waits(self) -> TaskWaits:
        """The branches of this attempt and their waits."""
        if self._waits is None:
            wakes = self.services.wakes
            clock = self.services.clock
            self._waits = TaskWaits(self.root, self.holding, clock, wakes.patience, wakes.full, self._park)
            wakes.enter(self.task.seq, self._waits)
        return self._waits

    def end_waits(self) -> None:
        """The attempt is over."""
        if self._waits is not None:
            self._waits.over()
            self.services.wakes.leave(self.task.seq, self._waits)

    @property
    def suspended(self) -> bool:
        """Whether the attempt is left because nothing of the handler does anything but wait."""
        return self._waits is not None and self._waits.suspended

    @property
    def suspended_until(self) -> float | None:
        return None if self._waits is None else self._waits.due_at

    def _park(self) -> None:
        self.parked = True

    async def _look(self, one: OpenWait, wait: Wait, look: Look[T], landed: Landed) -> tuple[T | None, bool]:
        """(what is there, whether others wait for the same)"""
        task, now = self.task, self.services.clock.wall()
        shared = self.waits.shares(one)

        def work(store: Transaction) -> tuple[T | None, bool]:
            if not store.begin_wait(task.seq, task.claim_no, wait, now):
                return None, False
            found = look(store)
            if found is not None and not shared:
                store.end_wait(task.seq, wait.what)
            return found, True

        found, held = await run_whole(self.services.committer, work, landed)
        if not held:
            raise Parked
        return found, shared

    def no_longer_waits(self, what: str) -> None:
        """Forget that the task waits for this."""
        task = self.task

        def work(store: Transaction) -> None:
            if store.holds(task.seq, task.claim_no):
                store.end_wait(task.seq, what)

        self.services.committer.send_run(work, lambda _: None, lambda _: None)

    async def _instant(self, name: str, args: tuple[Any, ...], seconds: float) -> float:
        """The instant so many seconds from now, recorded."""
        step = self.step_key(name, args, {})
        known = await self.recorder.find(step)
        if known is not None:
            return float(json.loads(known))
        self.check_parked()
        instant = self.services.clock.wall() + seconds
        await self.recorder.record(step, "value", json.dumps(instant).encode())
        return instant

    async def _rest_until(self, instant: float) -> None:
        clock = self.services.clock
        if instant <= clock.wall():
            return
        self.check_parked()
        waits = self.waits
        one = waits.open("", instant, 0.0, self.scope)
        try:
            async with self.off_slot():
                while clock.wall() < instant:
                    await waits.rest(one)
        finally:
            waits.close(one)

    async def event(self, name: str, timeout: float | None = None, question: str | None = None) -> Any:
        """{data, at} of the next event of this name; `question` (JSON text) is what a person is asked."""
        if timeout is not None and not (is_seconds(timeout) and timeout >= 0):
            raise ValueError(f"timeout is a number of seconds from 0 up, not {timeout!r:.80}")
        until = None if timeout is None else await self._instant("timeout", (name, timeout), timeout)
        seq, clock = self.task.seq, self.services.clock

        def look(store: Transaction) -> Any:
            letter = store.take(seq, name)
            if letter is not None:
                return {"data": None if letter.data is None else json.loads(letter.data), "at": letter.at}
            return {"timeout": until} if until is not None and until <= clock.wall() else None

        step = self.step_key("event", (name,), {})
        wait = Wait(EVENT + name, until, question)
        found = await self.recorded_wait(step, wait, look, None if question is None else 0.0)
        if "timeout" in found:
            if question is not None:
                raise EventTimeout(
                    f"nobody answered {json.loads(question)['question']!r:.200} in {timeout:g} seconds"
                )
            raise EventTimeout(f"no event {name!r} came in {timeout:g} seconds")
        return found


def check_name(name: Any) -> str:
    """The name of an event; raises `StepError` when it is none."""
    if not is_event_name(name):
        raise StepError(f"the name of an event is a text of 1 to {LONGEST_NAME} characters, not {name!r:.80}")
    return str(name)
