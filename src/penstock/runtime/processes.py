"""Functions that compute, in processes of their own.

Our own small pool: a call that is cancelled or runs into its timeout takes its process down with it, and a
process that crashes fails the one call that it ran. (With an executor of the standard library all calls fail
when one process crashes, and a running call cannot be stopped.)
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from penstock.errors import ConfigurationError, WorkerLost
from penstock.runtime.process_worker import READY, serve

# A worker that leaks is replaced in time.
CALLS_PER_WORKER = 200
PATIENCE = 2.0

_SPAWN = multiprocessing.get_context("spawn")


class Answer(NamedTuple):
    """What a function returned, and the most memory its process held meanwhile (0: unknown)."""

    result: Any
    peak_bytes: int


class Worker:
    """One process; started by its first call."""

    def __init__(self) -> None:
        self.calls = 0
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None
        self._over = False

    def call(self, message: bytes) -> bytes:
        """The answer to one call; blocks. Raises `EOFError` or `OSError` when the process is gone."""
        try:
            if self._pipe is None:
                self._start()
            assert self._pipe is not None
            self.calls += 1
            self._pipe.send_bytes(message)
            return self._pipe.recv_bytes()
        except BaseException:
            self.kill()
            self.end()  # here, where nobody else can be reading from the pipe
            raise

    def kill(self) -> None:
        """End the process at once, whatever it does; a call under way fails."""
        self._over = True
        if self._process is not None:
            self._process.kill()

    def end(self) -> None:
        """Let go of a process that has nothing to do, or was killed; blocks for a moment."""
        self._over = True
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None:
            self._process.join(PATIENCE)
            if self._process.exitcode is None:
                self._process.kill()
                self._process.join(PATIENCE)

    @property
    def alive(self) -> bool:
        return self._process is None or self._process.is_alive()

    def fate(self) -> str:
        """How the process ended."""
        code = None if self._process is None else self._process.exitcode
        if code is not None and code < 0:
            return f"was killed by signal {-code}" + (" (out of memory, perhaps)" if code == -9 else "")
        if self.calls:
            return f"ended with exit code {code}"
        guard = "a program that uses processes needs `if __name__ == '__main__':` around what it starts"
        return f"did not come to life (exit code {code}; {guard})"

    def _start(self) -> None:
        self._pipe, theirs = _SPAWN.Pipe()
        process = _SPAWN.Process(target=serve, args=(theirs,), name="penstock-worker", daemon=True)
        try:
            process.start()
        finally:
            theirs.close()
        self._process = process
        if self._over:  # killed while it was being started
            process.kill()
        assert self._pipe.recv_bytes() == READY


class Processes:
    """Runs functions in up to `most` processes (`None`: one per core), which are started when needed."""

    def __init__(self, most: int | None = None) -> None:
        self.most = most or os.cpu_count() or 1
        self._idle: list[Worker] = []
        self._busy: set[Worker] = set()
        self._places = asyncio.Semaphore(self.most)
        self._threads: ThreadPoolExecutor | None = None
        self._closed = False

    async def call(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        off_slot: Callable[[], AbstractAsyncContextManager[None]] = contextlib.nullcontext,
    ) -> Answer:
        """What the function returned; what it raised is raised here. Waits for a process inside `off_slot`.

        When this is cancelled, the process that ran the function is killed. Raises `WorkerLost` when it died,
        `ConfigurationError` for what cannot be sent to another process.
        """
        message = _message(function, args, kwargs)
        await self._enter(off_slot)
        try:
            return _read(await self._answered(message, _name(function)), function)
        finally:
            self._places.release()

    async def close(self) -> None:
        """End all processes, at once; calls under way fail."""
        self._closed = True
        for worker in self._busy:
            worker.kill()
        idle, self._idle = self._idle, []
        if idle:
            await asyncio.gather(*(asyncio.to_thread(worker.end) for worker in idle))
        if self._threads is not None:
            await asyncio.to_thread(self._threads.shutdown)

    async def _enter(self, off_slot: Callable[[], AbstractAsyncContextManager[None]]) -> None:
        if not self._places.locked():
            await self._places.acquire()
            return
        entered = False
        try:
            async with off_slot():
                await self._places.acquire()
                entered = True
        except BaseException:
            if entered:
                self._places.release()
            raise

    async def _answered(self, message: bytes, name: str) -> bytes:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(2 * self.most, thread_name_prefix="penstock-process")
        if self._closed:
            raise WorkerLost(f"{name} was not run: this node stops")
        loop = asyncio.get_running_loop()
        worker = self._next()
        self._busy.add(worker)
        try:
            answer = await loop.run_in_executor(self._threads, worker.call, message)
        except (EOFError, OSError):
            raise WorkerLost(f"the process that ran {name} {worker.fate()} before it had answered") from None
        except asyncio.CancelledError:
            worker.kill()
            raise
        finally:
            self._busy.discard(worker)
        self._put_by(worker)
        return answer

    def _put_by(self, worker: Worker) -> None:
        if self._closed or self._threads is None:
            worker.kill()
        elif worker.calls < CALLS_PER_WORKER:
            self._idle.append(worker)
        else:
            self._threads.submit(worker.end)

    def _next(self) -> Worker:
        while self._idle:
            worker = self._idle.pop()
            if worker.alive:
                return worker
            worker.end()
        return Worker()


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", None) or repr(function)


def _message(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    try:
        return pickle.dumps((function, args, kwargs))
    except Exception as error:
        raise ConfigurationError(
            f"{_name(function)} cannot be run in a process: {error}; a function for processes stands at the "
            "top of a module that can be imported, and takes plain data"
        ) from None


def _read(answer: bytes, function: Callable[..., Any]) -> Answer:
    well, outcome, peak = pickle.loads(answer)
    if well:
        return Answer(outcome, peak)
    if isinstance(outcome, Exception):
        raise outcome
    raise RuntimeError(f"{_name(function)} raised {type(outcome).__name__}: {outcome}")
