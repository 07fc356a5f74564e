"""Those who wait for tasks: woken by the end that this process writes, or by the event of any other."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from penstock.errors import StoreError, TaskCancelled, TaskFailed, TaskNotFound, WaitTimeout
from penstock.model.states import TaskStatus
from penstock.model.task import Finish
from penstock.stores.contract import Event, Reader

Read = Callable[[Callable[[Reader], Any]], Awaitable[Any]]

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a task ended; texts are JSON."""

    id: str
    status: TaskStatus
    result: str | None
    error: str | None

    def value(self) -> Any:
        """The result; raises `TaskFailed` or `TaskCancelled`."""
        if self.status is TaskStatus.COMPLETED:
            return None if self.result is None else json.loads(self.result)
        error = {} if self.error is None else json.loads(self.error)
        reason = str(error.get("code", ""))
        message = str(error.get("message", "no reason was given"))
        if self.status is TaskStatus.CANCELLED:
            raise TaskCancelled(f"task {self.id} was cancelled", self.id, reason)
        raise TaskFailed(f"task {self.id} failed ({reason}): {message}", self.id, reason)


class Waiters:
    """Futures by task. Ends that this process did not write itself (a cancelled task that waited, a dependent
    that failed with what it depends on, another process) are read from the events, each once."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._futures: dict[str, list[asyncio.Future[Outcome]]] = {}
        self._seen: int | None = None
        self._looking: asyncio.Task[None] | None = None
        self._again = False

    def __bool__(self) -> bool:
        return bool(self._futures)

    async def outcome(self, id: str, timeout: float | None = None) -> Outcome:
        """How the task ended, as soon as it has.

        Raises `TaskNotFound`, or `WaitTimeout` after `timeout` seconds.
        """
        async with self.waiting([id]) as (known, futures):
            if id in known:
                return known[id]
            try:
                async with asyncio.timeout(timeout):
                    return await futures[id]
            except TimeoutError:
                raise WaitTimeout(f"task {id} was not done within {timeout:g} seconds; it goes on") from None

    async def outcomes(self, ids: Sequence[str], timeout: float | None = None) -> AsyncIterator[Outcome]:
        """How each of these tasks ended, in the order of their ends."""
        async with self.waiting(ids) as (known, futures):
            for outcome in known.values():
                yield outcome
            try:
                async with asyncio.timeout(timeout):
                    for one in asyncio.as_completed(futures.values()):
                        yield await one
            except TimeoutError:
                left = sum(not future.done() for future in futures.values())
                raise WaitTimeout(
                    f"{left} of {len(set(ids))} tasks were not done within {timeout:g} seconds; they go on"
                ) from None

    @asynccontextmanager
    async def waiting(
        self, ids: Sequence[str]
    ) -> AsyncIterator[tuple[dict[str, Outcome], dict[str, asyncio.Future[Outcome]]]]:
        """The outcomes that are there, and a future for each of the others."""
        loop = asyncio.get_running_loop()
        futures: dict[str, asyncio.Future[Outcome]] = {id: loop.create_future() for id in ids}
        for id, future in futures.items():
            self._futures.setdefault(id, []).append(future)
        try:
            if self._seen is None:
                # Before the tasks are looked at, so that no end falls between the two.
                self._seen = await self._read(lambda reader: reader.last_event())
            known = await self._ended_among(list(futures), strict=True)
            yield known, {id: future for id, future in futures.items() if id not in known}
        finally:
            for id, future in futures.items():
                self._forget(id, future)

    def ended(self, end: Finish) -> None:
        """This process ended a task."""
        if end.task.id in self._futures:
            self._tell(Outcome(end.task.id, end.status, end.result, end.error))

    def look_soon(self) -> None:
        """Tasks may have ended that this process did not end itself."""
        if not self._futures:
            self._seen = None
        elif self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._look())
        else:
            self._again = True

    def failed(self, error: BaseException) -> None:
        """Nothing will end any more."""
        for futures in self._futures.values():
            for future in futures:
                if not future.done():
                    future.set_exception(error)
                    future.exception()  # of several, only the first is looked at

    async def _look(self) -> None:
        while self._futures and self._seen is not None:
            self._again = False
            seen = self._seen
            try:
                events = await self._read(partial(_finished_after, seen))
                ids = {event.task_id for event in events} & self._futures.keys()
                for outcome in (await self._ended_among(sorted(ids))).values():
                    self._tell(outcome)
            except StoreError:
                return  # `failed` tells them, or the next look does
            if events:
                self._seen = events[-1].no
            elif not self._again:
                return

    async def _ended_among(self, ids: Sequence[str], strict: bool = False) -> dict[str, Outcome]:
        found: dict[str, Outcome] = {}
        for start in range(0, len(ids), _AT_ONCE):
            some = list(ids[start : start + _AT_ONCE])
            rows = await self._read(partial(_results_of, some))
            for id in some:
                if id in rows:
                    status, result, error = rows[id]
                    if status.final:
                        found[id] = Outcome(id, status, result, error)
                elif strict:
                    raise TaskNotFound(f"there is no task {id}", id)
        return found

    def _tell(self, outcome: Outcome) -> None:
        for future in self._futures.get(outcome.id, ()):
            if not future.done():
                future.set_result(outcome)

    def _forget(self, id: str, future: asyncio.Future[Outcome]) -> None:
        waiting = self._futures.get(id, [])
        if future in waiting:
            waiting.remove(future)
        if not waiting:
            self._futures.pop(id, None)


def _finished_after(seen: int, reader: Reader) -> list[Event]:
    return reader.events(seen, kinds=("finished",))


def _results_of(ids: list[str], reader: Reader) -> dict[str, tuple[TaskStatus, str | None, str | None]]:
    return reader.results_of(ids)
