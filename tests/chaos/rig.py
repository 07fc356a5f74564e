"""What these proofs stand on: the real `penstock run` in a process, the simulator in another, the store as a
killed process left it."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from penstock.model.reservation import ReservationState, ReservationView
from penstock.model.states import TaskStatus
from penstock.simulator import SimulatorConfig, SimulatorThread, request_hash
from penstock.stores.contract import Reader, TaskFilter
from penstock.stores.sqlite.store import SqliteStore

MODEL = "sim-1"
PATH = "/v1/chat/completions"
EVERY_STATE = tuple(state.value for state in ReservationState)
PENSTOCK = [sys.executable, "-c", "from penstock.cli import main; main()"]


def wait_until(condition: Callable[[], Any], seconds: float = 60.0, every: float = 0.005) -> Any:
    """Poll until `condition` is true; its value."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"not true within {seconds} s"
        time.sleep(every)
    return found


# --- the provider


class Provider:
    """The simulator in a process of its own, asked over a pipe: what it counts costs the others nothing."""

    def __init__(self, config: SimulatorConfig) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._say(config)
        self.base_url: str = self._hear()

    def stats(self) -> dict[str, Any]:
        return self._ask("stats")

    def paid(self) -> dict[str, list[int]]:
        """By request hash: how often it was answered whole, and how often it was billed otherwise."""
        return self._ask("paid")

    def quiet(self, seconds: float = 20.0) -> dict[str, Any]:
        """The statistics once no call is in flight any more: those of a dead client are billed by then."""
        return wait_until(lambda: (found := self.stats())["in_flight"] == 0 and found, seconds)

    def close(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()

    def _ask(self, question: str) -> Any:
        self._say(question)
        return self._hear()

    def _say(self, what: Any) -> None:
        assert self._process.stdin
        pickle.dump(what, self._process.stdin)
        self._process.stdin.flush()

    def _hear(self) -> Any:
        assert self._process.stdout
        return pickle.load(self._process.stdout)


def _be_provider() -> None:
    """The other end of the pipe, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def say(what: Any) -> None:
        pickle.dump(what, sys.stdout.buffer)
        sys.stdout.buffer.flush()

    with SimulatorThread(pickle.load(sys.stdin.buffer)) as simulator:
        say(simulator.base_url)
        answers = {
            "stats": simulator.stats,
            "paid": lambda: simulator._ask(simulator._simulator.provider.run.stats.paid),
        }
        while True:
            try:
                question = pickle.load(sys.stdin.buffer)
            except EOFError:
                return
            say(answers[question]())


# --- the job


def body(number: int, max_tokens: int, text: str = "Question") -> dict[str, Any]:
    """A request that no other line makes; all are of one length."""
    message = {"role": "user", "content": f"{text} {number:06}"}
    return {"model": MODEL, "messages": [message], "max_tokens": max_tokens}


@dataclass
class Job:
    """One command and its files. `options` are what every run of it is given."""

    folder: Path
    base_url: str
    options: Sequence[str] = ()
    digests: list[str] = field(default_factory=list)
    process: subprocess.Popen[str] | None = None

    @property
    def input(self) -> Path:
        return self.folder / "in.jsonl"

    @property
    def results(self) -> Path:
        return self.folder / "out.jsonl"

    @property
    def errors(self) -> Path:
        return self.folder / "out.errors.jsonl"

    @property
    def store(self) -> Path:
        return self.folder / "jobs.db"

    def write(self, bodies: Iterable[dict[str, Any]]) -> None:
        """Write the input; line n is known to the provider by `digests[n - 1]`."""
        with self.input.open("w") as file:
            for one in bodies:
                self.digests.append(request_hash(PATH, one))
                file.write(json.dumps(one) + "\n")

    @property
    def command(self) -> list[str]:
        return [
            *PENSTOCK, "run", str(self.input), "-o", str(self.results), "--store", str(self.store),
            "--base-url", self.base_url, *self.options,
        ]  # fmt: skip

    def start(self, **how: Any) -> None:
        """Start the command in a process group of its own."""
        self.process = subprocess.Popen(
            self.command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            **how,
        )

    def kill(self) -> None:
        """`kill -9` the whole process group."""
        assert self.process
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()

    def interrupt(self, seconds: float = 60.0) -> int:
        """One Ctrl-C, and wait for the end; the exit code."""
        assert self.process
        self.process.send_signal(signal.SIGINT)
        return self.end(seconds)[0]

    def end(self, seconds: float = 300.0) -> tuple[int, str]:
        """Wait for the end of the command: exit code and everything it said."""
        assert self.process
        said, _ = self.process.communicate(timeout=seconds)
        return self.process.returncode, said

    def run(self, seconds: float = 300.0, **how: Any) -> tuple[int, str]:
        """Start the command and wait for its end."""
        self.start(**how)
        return self.end(seconds)

    def reach(self, condition: Callable[[], Any], seconds: float = 60.0, every: float = 0.005) -> Any:
        """Poll until `condition` is true, which must be before the command ends; its value."""

        def reached() -> Any:
            assert self.process
            assert self.process.poll() is None, f"it ended first: {self.end()}"
            return condition()

        return wait_until(reached, seconds, every)

    def close(self) -> None:
        """End what a failed test left."""
        if self.process is not None and self.process.poll() is None:
            self.kill()


def penstock(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Any other command, to its end."""
    return subprocess.run([*PENSTOCK, *arguments], capture_output=True, text=True, timeout=60, check=False)


def records(path: Path) -> Iterator[dict[str, Any]]:
    """The records of an output file; every line of it must be whole."""
    text = path.read_bytes()
    assert text == b"" or text.endswith(b"\n"), f"{path.name} ends in a torn line"
    return map(json.loads, text.splitlines())


def check_files(job: Job) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Results and errors; every line of the input must be in one of them, once."""
    good, bad = list(records(job.results)), list(records(job.errors))
    seen = Counter(record["line"] for record in good + bad)
    assert sorted(seen) == list(range(1, len(job.digests) + 1)), "lines are missing or were made up"
    assert set(seen.values()) <= {1}, "lines are there twice"
    assert all(record["response"]["status_code"] == 200 and record["error"] is None for record in good)
    assert all(record["response"] is None and record["error"]["message"] for record in bad)
    return good, bad


# --- the store


@dataclass
class Snapshot:
    """The store at one instant, tasks named by their lines: how many intents each has open, and whose reply
    is in the journal."""

    unsettled: Counter[int]
    recorded: set[int]


def read_store(path: Path, work: Callable[[Reader], Any]) -> Any:
    with SqliteStore.open(path, read_only=True) as store:
        return store.read(work)


def snapshot(path: Path) -> Snapshot:
    """What a killed process left."""

    def read(reader: Reader) -> Snapshot:
        tasks = reader.tasks(TaskFilter(), limit=1_000_000)
        lines = {task.seq: task.position for task in tasks}
        held = reader.reservations((ReservationState.HELD.value,), 1_000_000)
        ended = {task.position for task in tasks if task.status is TaskStatus.COMPLETED}
        started = [task for task in tasks if task.claim_no and task.position not in ended]
        recorded = {task.position for task in started if reader.journal(task.seq)}
        return Snapshot(
            Counter(lines[one.task] for one in held if one.task is not None),
            ended | recorded,
        )

    return read_store(path, read)


def reservations(path: Path) -> list[ReservationView]:
    """Every reservation there ever was, oldest first."""
    found = read_store(path, lambda reader: reader.reservations(EVERY_STATE, 1_000_000))
    return sorted(found, key=lambda one: one.id)


def most_booked(rows: Sequence[ReservationView]) -> int:
    """The highest that spent plus held ever stood, event by event; pico-dollars."""
    moves: list[tuple[float, int, int]] = []
    for one in rows:
        moves.append((one.at, 1, one.cost_held))
        if one.done_at is not None:
            # Of one instant the settlements come first: the next ones are held from what they give back.
            moves.append((one.done_at, 0, one.cost - one.cost_held))
    booked = highest = 0
    for _, _, amount in sorted(moves):
        booked += amount
        highest = max(highest, booked)
    return highest


if __name__ == "__main__":
    _be_provider()
