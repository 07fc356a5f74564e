"""Runs `penstock run` as a process of its own, and kills it at the worst moment."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from penstock.errors import PenstockError
from penstock.manager import open_store
from penstock.model.states import TaskStatus
from penstock.runtime.settings import Settings
from penstock.simulator import SimulatorThread, request_hash
from penstock.stores.contract import Reader, TaskFilter

_LOOK_SECONDS = 0.02
_LEAST_IN_FLIGHT = 3
_SETTLE_SECONDS = 5.0
_PAGE = 500
_START = "from penstock.cli import main; main()"


@dataclass(frozen=True, slots=True)
class Crash:
    """What there was when the process was gone.

    For the provider: replies it had sent, calls it was working on. For the store: intents without an end, and
    the request hashes of recorded replies.
    """

    at_seconds: float
    answered: int
    in_flight: int
    intents: int
    recorded: frozenset[str]


class Child:
    """One `penstock run`. `log` takes its output where a terminal must not (None: it writes where we do)."""

    def __init__(self, words: Sequence[str], folder: Path, log: IO[bytes] | None = None) -> None:
        sys.stdout.flush()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, *words],
            cwd=folder,
            env={**os.environ, "OPENAI_API_KEY": "demo"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=None if log is None else subprocess.STDOUT,
        )

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL (TerminateProcess on Windows): nothing of it gets to tidy up."""
        self._process.kill()
        self._process.wait()

    def wait(self) -> int:
        """Its exit code; it does not outlive an impatient user."""
        try:
            return self._process.wait()
        except BaseException:
            self.kill()
            raise


def crash(child: Child, simulator: SimulatorThread, after_replies: int, store: Path) -> Crash:
    """Kill the child once `after_replies` are answered and calls are in flight; what was known then."""
    started = time.monotonic()
    try:
        while True:
            stats = simulator.stats()
            if stats["answered"] >= after_replies and stats["in_flight"] >= _LEAST_IN_FLIGHT:
                break
            if not child.running:
                raise PenstockError(
                    f"`penstock run` ended (exit code {child.wait()}) before the crash that was planned"
                )
            time.sleep(_LOOK_SECONDS)
    finally:
        child.kill()
    at_seconds = time.monotonic() - started
    _wait_until_dropped(simulator)
    intents, recorded = _read(store)
    return Crash(at_seconds, stats["answered"], stats["in_flight"], intents, recorded)


def _wait_until_dropped(simulator: SimulatorThread) -> None:
    deadline = time.monotonic() + _SETTLE_SECONDS
    while simulator.stats()["in_flight"] and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)


def _read(path: Path) -> tuple[int, frozenset[str]]:
    """Intents without an end, and the hashes of the requests whose reply is recorded."""
    store = open_store(Settings(store=str(path)), read_only=True)
    try:
        return store.read(lambda reader: (len(reader.reservations(["held"])), frozenset(_recorded(reader))))
    finally:
        store.close()


def _recorded(reader: Reader) -> list[str]:
    hashes: list[str] = []
    after = 0
    while page := reader.tasks(TaskFilter(statuses=(TaskStatus.COMPLETED,)), after, _PAGE, newest=False):
        hashes += [request_hash(task.payload["url"], task.payload["body"]) for task in page]
        after = page[-1].seq
    return hashes
