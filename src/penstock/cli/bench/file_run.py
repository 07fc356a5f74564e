"""How `penstock run` takes in a large file: lines per second, memory, and how soon the first call is made."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2

from penstock.cli.bench.measurement import BenchOptions, Figure, Measurement, at_least, at_most
from penstock.cli.bench.processes import peak_bytes, simulator_process
from penstock.cli.bench.rig import CHUNK, raw, scratch
from penstock.errors import PenstockError, StoreError
from penstock.simulator import Latency, SimulatorConfig
from penstock.stores.contract import Reader
from penstock.stores.sqlite.store import Durability, SqliteStore

POLL_SECONDS, PATIENCE_SECONDS, LEAVE_SECONDS = 0.005, 900.0, 20.0
ENDED_CALLS = ("held", "settled", "released", "uncertain")


@dataclass(slots=True)
class Ingest:
    """What was seen from outside; seconds since the process was started."""

    lines: int = 0
    lines_at_first_call: int | None = None
    first_call_after: float | None = None
    read_all_after: float | None = None
    memory: int | None = None
    calls: int = 0


def _file(options: BenchOptions) -> Iterator[Figure]:
    count = options.size(1_000_000, 5_000)
    for durability in options.durable("normal"):
        with scratch(options.directory) as folder:
            _write_requests(folder / "requests.jsonl", count)
            with simulator_process(SimulatorConfig(latency=Latency(a=0.05))) as base_url:
                seen = _ingest(folder, base_url, durability)
                stats = httpx2.get(httpx2.URL(base_url).join("/simulator/stats")).json()
                seen.calls = stats["calls"]
        rows = raw(options, durability, options.size(50_000, 2_000), CHUNK).add
        yield from _figures(seen, durability, rows)


def _figures(seen: Ingest, durability: Durability, rows: float) -> Iterator[Figure]:
    assert seen.read_all_after is not None
    rate = seen.lines / seen.read_all_after
    note = f"{seen.lines:,} lines, calls going on beside it; from the start of the process"
    yield Figure(f"lines taken in, {durability}", rate, "lines/s", rows, at_least(10_000), note)
    yield Figure(f"calls made meanwhile, {durability}", seen.calls / seen.read_all_after, "calls/s")
    if seen.memory is not None:
        yield Figure(f"peak memory, {durability}", seen.memory / 1e6, "MB", None, at_most(300))
    if seen.lines_at_first_call is not None and seen.first_call_after is not None:
        name = f"lines read at the first call, {durability}"
        yield Figure(name, seen.lines_at_first_call, "lines", None, at_most(10_000))
        yield Figure(f"first call after, {durability}", seen.first_call_after, "s")


def _write_requests(path: Path, count: int) -> None:
    with path.open("w", encoding="ascii") as file:
        for number in range(count):
            message = {"role": "user", "content": f"say {number}"}
            file.write(json.dumps({"model": "simulated", "messages": [message], "max_tokens": 16}) + "\n")


def _ingest(folder: Path, base_url: str, durability: Durability) -> Ingest:
    """Run the file until all of it is read, watching the store; then leave."""
    store = folder / "run.db"
    command = [
        sys.executable,
        "-c",
        "from penstock.cli import main; main()",
        "run",
        str(folder / "requests.jsonl"),
    ]
    command += ["-o", str(folder / "results.jsonl"), "--store", str(store), "--base-url", base_url]
    command += ["--durability", durability, "--quiet"]
    log = folder / "run.log"
    environment = {**os.environ, "OPENAI_API_KEY": "key-of-the-bench"}
    with log.open("wb") as output:
        begun = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment
        )
        try:
            seen = _watch(process, store, begun)
        finally:
            _leave(process)
    if seen.read_all_after is None:
        tail = log.read_text(errors="replace")[-500:]
        raise PenstockError(
            f"penstock run ended (code {process.returncode}) before the file was read: {tail}"
        )
    return seen


def _watch(process: subprocess.Popen[bytes], path: Path, begun: float) -> Ingest:
    seen = Ingest()
    with contextlib.ExitStack() as stack:
        store: SqliteStore | None = None
        while seen.read_all_after is None and time.perf_counter() - begun < PATIENCE_SECONDS:
            ended = process.poll() is not None
            seen.memory = peak_bytes(process.pid) or seen.memory
            if store is None:
                with contextlib.suppress(StoreError):  # the file is still being made
                    store = stack.enter_context(SqliteStore.open(path, read_only=True))
            else:
                _look(store, seen, time.perf_counter() - begun)
            if ended:
                break
            time.sleep(POLL_SECONDS if seen.lines_at_first_call is None else 10 * POLL_SECONDS)
    return seen


def _look(store: SqliteStore, seen: Ingest, after: float) -> None:
    def look(reader: Reader) -> tuple[int, bool, bool]:
        batches = reader.batches()
        called = seen.lines_at_first_call is not None or bool(reader.reservations(ENDED_CALLS, limit=1))
        return (batches[-1].read_lines, batches[-1].read_all, called) if batches else (0, False, called)

    seen.lines, read_all, called = store.read(look)
    if called and seen.lines_at_first_call is None:
        seen.lines_at_first_call, seen.first_call_after = seen.lines, after
    if read_all:
        seen.read_all_after = after


def _leave(process: subprocess.Popen[bytes]) -> None:
    """Ask it to stop as Ctrl-C does, and do not wait for ever."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT if os.name == "posix" else signal.SIGTERM)
        try:
            process.wait(LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


FILE = Measurement("file", "penstock run on 1,000,000 short requests until all are read", _file, long=True)
