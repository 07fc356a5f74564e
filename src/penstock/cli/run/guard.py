"""Keeps a job from failing line after line for one cause that its user can mend.

A wrong key, an unknown model, an empty account, an endpoint that is not there: every line would fail the same
way. So such a failure does not end its line at once; it waits for a verdict. A success of another line says
that the failure was the line's own. Twenty failures of one cause with no success between them say that it is
not: the job stops, and the lines go back to the queue, unspent.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from penstock.errors import CallFailed, Parked
from penstock.runtime.context import TaskContext

ENOUGH = 20
UNREACHABLE = "unreachable"
FATAL = frozenset({"auth", "not_found", "quota_exhausted", UNREACHABLE})
UNREACHABLE_AT_FIRST_SECONDS = 3.0
UNREACHABLE_LATER_SECONDS = 120.0
LONGEST_RETRY_SECONDS = 5.0

Handle = Callable[[TaskContext], Awaitable[Any]]


class Guard:
    """Judges failures that have a common cause. `on_trip` is called once, with the error that stops the
    job."""

    def __init__(self, on_trip: Callable[[CallFailed], None], enough: int = ENOUGH) -> None:
        self._on_trip = on_trip
        self._enough = enough
        self._suspects: dict[str, set[TaskContext]] = {}
        self._verdict = asyncio.Event()
        self._silent_since: float | None = None
        self._succeeded = False
        self._last: CallFailed | None = None
        self.tripped: CallFailed | None = None
        self.closed = False

    def around(self, handle: Handle) -> Handle:
        """The handler under guard."""

        async def guarded(context: TaskContext) -> Any:
            tries = 0
            while True:
                try:
                    result = await handle(context)
                except CallFailed as error:
                    if error.reason not in FATAL:
                        raise
                    tries += 1
                    if not await self._judge(context, error, tries):
                        raise
                else:
                    self._success()
                    return result

        return guarded

    def close(self) -> None:
        """The job is being left: whoever waits for a verdict goes back to the queue."""
        self.closed = True
        self._announce()

    def settle(self, running: int) -> None:
        """`running` tasks are open and nothing else moves: when all of them are suspects, nobody will clear
        them."""
        waiting = sum(len(suspects) for suspects in self._suspects.values())
        if not waiting or waiting < running or self._last is None:
            return
        if self._succeeded:
            self._clear()
        else:
            self._trip(self._last)

    def _success(self) -> None:
        self._succeeded = True
        self._silent_since = None
        if self._suspects:
            self._clear()

    def _clear(self) -> None:
        for suspects in self._suspects.values():
            suspects.clear()
        self._announce()

    async def _judge(self, context: TaskContext, error: CallFailed, tries: int) -> bool:
        """Whether to make the call again; raises `Parked` when the job stops."""
        if self.tripped is not None or self.closed:
            raise Parked
        self._last = error
        if error.reason == UNREACHABLE:
            return await self._wait_for_endpoint(context, error, tries)
        suspects = self._suspects.setdefault(error.reason, set())
        suspects.add(context)
        if len(suspects) >= self._enough:
            self._trip(error)
            raise Parked
        try:
            async with context.off_slot():
                await self._wait(None, lambda: context not in suspects)
                if self.tripped is not None or self.closed:
                    raise Parked
        finally:
            suspects.discard(context)
        return False

    async def _wait_for_endpoint(self, context: TaskContext, error: CallFailed, tries: int) -> bool:
        """An endpoint that cannot be reached costs no attempt: wait for it, within reason."""
        now = asyncio.get_running_loop().time()
        if self._silent_since is None:
            self._silent_since = now
        patience = UNREACHABLE_LATER_SECONDS if self._succeeded else UNREACHABLE_AT_FIRST_SECONDS
        if tries > 1 and now - self._silent_since > patience:
            self._trip(error)
            raise Parked
        async with context.off_slot():
            await self._wait(min(LONGEST_RETRY_SECONDS, 0.25 * 2**tries), lambda: False)
            if self.tripped is not None or self.closed:
                raise Parked
        return True

    async def _wait(self, seconds: float | None, cleared: Callable[[], bool]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.tripped is None and not self.closed and not cleared():
                    await self._verdict.wait()

    def _trip(self, error: CallFailed) -> None:
        if self.tripped is None:
            self.tripped = error
            self._on_trip(error)
            self._announce()

    def _announce(self) -> None:
        self._verdict.set()
        self._verdict = asyncio.Event()


def advice(error: CallFailed, base_url: str, key_name: str, keys: Iterable[str] = ()) -> str:
    """What to mend, and what became of the lines. Providers repeat keys in complaints; `keys` are hidden."""
    said = str(error).rstrip(". ")
    for key in keys:
        said = said.replace(key, "[key]")
    said = "".join(one if one.isprintable() else " " for one in said)
    if error.reason == "auth":
        what = f"the provider refuses the key: {said}. Check {key_name} (or --api-key-env) and --base-url"
    elif error.reason == "not_found":
        what = f"{said}. Check the model's name and --base-url {base_url}; another model needs --restart"
    elif error.reason == "quota_exhausted":
        what = f"{said}. Check the account's credit and spend limits at the provider"
    else:
        what = f"cannot reach {base_url}: {said}. {_connection_advice(said.lower())}"
    return f"{what}. No line is lost: run the same command again, or with --keep-going to let such lines fail"


def _connection_advice(said: str) -> str:
    if "certificate" in said or "ssl" in said:
        return "Its certificate is not trusted; SSL_CERT_FILE names a file of authorities to trust"
    if "getaddrinfo" in said or "resol" in said or "name or service" in said:
        return "Check the host name in --base-url and the network"
    return "Check --base-url, and that a server listens there"
