"""Turns lines into tasks: chunk by chunk, each in one transaction with how far the input was read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from penstock.cli.run.desk import Desk
from penstock.cli.run.lines import DUPLICATE, BadLine, LineRules, Request, parse_line, shown, too_long
from penstock.cli.run.reading import Lines, RawLine
from penstock.cli.run.records import line_metadata
from penstock.cli.run.terms import Terms
from penstock.model.task import Existing, NewTask
from penstock.stores.contract import AddOutcome, Transaction

FIRST_CHUNK = 32
CHUNK = 500
LONGEST_COMMIT_SECONDS = 0.05
"""A chunk whose commit takes longer is followed by a smaller one: calls in flight share the committer."""


@dataclass(frozen=True, slots=True)
class FeedRules:
    """How lines become tasks: gaps filled by `lines`, bounded by `max_line_bytes`; at most `sample` lines."""

    lines: LineRules
    terms: Terms = field(default_factory=Terms)
    max_line_bytes: int = 50_000_000
    sample: int | None = None


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Lines on their way into the store, with the place behind them. `ended`: nothing follows."""

    tasks: list[NewTask]
    raw: dict[int, bytes]
    offset: int
    number: int
    fingerprint: str
    ended: bool


class Feeder:
    """Reads `lines` to their end and adds them to batch `batch`. Parsing happens in a thread, one chunk
    ahead."""

    def __init__(
        self, desk: Desk, batch: int, lines: Lines, rules: FeedRules, on_bad: Callable[[], None]
    ) -> None:
        self._desk = desk
        self._batch = batch
        self._lines = lines
        self._rules = rules
        self._on_bad = on_bad
        self._size = FIRST_CHUNK
        self._stopped = False
        self.done = False
        self.read_lines = lines.number

    async def run(self) -> None:
        """Feed everything, or until `stop`."""
        coming = asyncio.ensure_future(asyncio.to_thread(self._next))
        while True:
            chunk = await coming
            if self._stopped:
                return
            if not chunk.ended:
                coming = asyncio.ensure_future(asyncio.to_thread(self._next))
            await self._add(chunk)
            if chunk.ended:
                self.done = True
                return

    def stop(self) -> None:
        """Add no further chunk."""
        self._stopped = True

    def _next(self) -> _Chunk:
        most = self._size
        if self._rules.sample is not None:
            most = min(most, max(0, self._rules.sample - self._lines.number))
        before = self._lines.number
        raw = self._lines.take(most) if most else []
        tasks, kept = [], {}
        for position, line in enumerate(raw, before + 1):
            if line.text.isspace() or not line.text.strip(b"\xef\xbb\xbf"):
                continue
            tasks.append(self._task(line, position))
            kept[position] = line.text[:1000]
        fingerprint = self._lines.fingerprint().as_text()
        return _Chunk(tasks, kept, self._lines.offset, self._lines.number, fingerprint, not raw)

    def _task(self, line: RawLine, position: int) -> NewTask:
        text = line.text.removeprefix(b"\xef\xbb\xbf") if position == 1 else line.text
        if line.too_long:
            return self._bad(too_long(text, line.size, self._rules.max_line_bytes), position)
        found = parse_line(text, self._rules.lines)
        if isinstance(found, BadLine):
            return self._bad(found, position)
        return self._good(found, position)

    def _good(self, found: Request, position: int) -> NewTask:
        task = self._desk.prepare(
            self._rules.terms.submission(
                {"url": found.url, "body": found.body},
                metadata=line_metadata(found.custom_id, found.metadata),
                batch=self._batch,
                position=position,
            )
        )
        if found.custom_id is not None:
            task.idempotency_key = f"run:{self._batch}:{found.custom_id}"
            task.fingerprint = "line"  # the same id is a duplicate, whatever the request
        return task

    def _bad(self, bad: BadLine, position: int) -> NewTask:
        error = {"code": bad.code, "message": f"line {position}: {bad.message}", "attempt": 0, "raw": bad.raw}
        return self._desk.prepare(
            self._rules.terms.submission(
                None,
                metadata=line_metadata(bad.custom_id, None),
                batch=self._batch,
                position=position,
                error=error,
            )
        )

    async def _add(self, chunk: _Chunk) -> None:
        """Commit a chunk. Each transaction reads the row anew, for the writer changes it too."""

        def work(store: Transaction) -> list[AddOutcome]:
            outcomes = store.add(chunk.tasks) if chunk.tasks else []
            doubles = self._duplicates(chunk, outcomes)
            if doubles:
                outcomes += store.add(doubles)
            batch = store.batch(self._batch)
            assert batch is not None
            store.update_batch(
                replace(
                    batch,
                    read_bytes=chunk.offset,
                    read_lines=chunk.number,
                    fingerprint=chunk.fingerprint,
                    read_all=chunk.ended and self._rules.sample is None,
                )
            )
            return outcomes

        began = time.monotonic()
        outcomes = await self._desk.run(work)
        self._adapt(time.monotonic() - began)
        self.read_lines = chunk.number
        self._desk.notice(outcomes)
        if any(task.error is not None for task in chunk.tasks) or len(outcomes) > len(chunk.tasks):
            self._on_bad()

    def _duplicates(self, chunk: _Chunk, outcomes: Sequence[AddOutcome]) -> list[NewTask]:
        bad = []
        for task, outcome in zip(chunk.tasks, outcomes, strict=False):
            if isinstance(outcome, Existing) and task.position is not None:
                custom_id = (task.idempotency_key or "").split(":", 2)[2]
                message = f"custom_id {custom_id!r} was used on line {outcome.position} before"
                raw = shown(chunk.raw[task.position])
                bad.append(self._bad(BadLine(DUPLICATE, message, raw, custom_id), task.position))
        return bad

    def _adapt(self, seconds: float) -> None:
        if seconds > LONGEST_COMMIT_SECONDS:
            self._size = max(FIRST_CHUNK, self._size // 2)
        else:
            self._size = min(CHUNK, self._size * 2)
