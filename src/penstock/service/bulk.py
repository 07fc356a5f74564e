"""Many tasks in one request: lines of JSON in, one line of outcome each out, in memory that does not grow.

The lines of a chunk go into one transaction, and its outcomes are told when it is durable. A client that
sends everything before it reads a word must not stop us from reading, so outcomes that it does not take yet
go to a temporary file.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from penstock.errors import PenstockError, StoreError
from penstock.manager.submission import Submission
from penstock.model.states import TaskStatus
from penstock.model.task import Existing, NewTask
from penstock.service.auth import Principal
from penstock.service.errors import HttpProblem
from penstock.service.intake import KNOWN, check_after, entered, prepare, submission_of
from penstock.service.json_body import read_json, reply_text
from penstock.service.schemas import TaskIn
from penstock.service.service import Service

CHUNK_LINES, CHUNK_BYTES = 500, 1_000_000
PATIENCE_SECONDS = 0.1
_IN_MEMORY, _PIECE = 256_000, 64_000


@dataclass(slots=True)
class Terms:
    """What holds for all lines."""

    key: str | None = None
    batch: str | None = None


class LineCutter:
    """Cuts a stream of bytes into numbered lines; `None` stands for one that was too long."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._rest = bytearray()
        self._skipping = False
        self.number = 0

    def cut(self, data: bytes) -> Iterator[tuple[int, bytes | None]]:
        """The lines that end in this data, empty ones left out."""
        *whole, rest = data.split(b"\n")
        for part in whole:
            yield from self._line(part)
        self._take(rest)

    def last(self) -> Iterator[tuple[int, bytes | None]]:
        """What is left when nothing follows."""
        yield from self._line(b"")

    def _take(self, part: bytes) -> None:
        if len(self._rest) + len(part) > self._longest:
            self._skipping = True
            self._rest.clear()
        elif not self._skipping:
            self._rest += part

    def _line(self, part: bytes) -> Iterator[tuple[int, bytes | None]]:
        self._take(part)
        line, skipped = bytes(self._rest), self._skipping
        self._rest.clear()
        self._skipping = False
        self.number += 1
        if skipped:
            yield self.number, None
        elif line.strip():
            yield self.number, line


class Spool:
    """Bytes on their way to a client that may read slowly: what is not taken lies on disk."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - closed by `close`
        self._read = self._written = 0
        self._news = asyncio.Event()
        self._ended = False

    def put(self, data: bytes) -> None:
        self._file.seek(self._written)
        self._file.write(data)
        self._written += len(data)
        self._news.set()

    def end(self) -> None:
        """Nothing follows."""
        self._ended = True
        self._news.set()

    async def pieces(self) -> AsyncIterator[bytes]:
        """What was put, in order, until the end."""
        while True:
            self._news.clear()
            if self._read < self._written:
                self._file.seek(self._read)
                piece = self._file.read(min(_PIECE, self._written - self._read))
                self._read += len(piece)
                if self._read == self._written:
                    self._file.seek(0)
                    self._file.truncate()
                    self._read = self._written = 0
                yield piece
            elif self._ended:
                return
            else:
                await self._news.wait()

    def close(self) -> None:
        self._file.close()


@dataclass(slots=True)
class Tally:
    lines: int = 0
    accepted: int = 0
    refused: int = 0


@dataclass(slots=True)
class Chunk:
    """Lines that go into the store together."""

    lines: list[tuple[int, bytes | None]] = field(default_factory=list)
    size: int = 0

    def add(self, number: int, line: bytes | None) -> None:
        self.lines.append((number, line))
        self.size += len(line or b"")

    @property
    def full(self) -> bool:
        return len(self.lines) >= CHUNK_LINES or self.size >= CHUNK_BYTES


class BulkReply(Response):
    """Reads the request's lines while it answers them."""

    def __init__(self, service: Service, principal: Principal, terms: Terms) -> None:
        super().__init__(status_code=200, media_type="application/x-ndjson")
        self._service = service
        self._principal = principal
        self._terms = terms
        self._tally = Tally()

    def init_headers(self, headers: Any = None) -> None:
        super().init_headers(headers)
        self.raw_headers = [one for one in self.raw_headers if one[0] != b"content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        spool = Spool()
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        reading = asyncio.create_task(self._read(receive, spool))
        try:
            async for piece in spool.pieces():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await reading
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading
            spool.close()

    async def _read(self, receive: Receive, spool: Spool) -> None:
        try:
            async for chunk in self._chunks(receive):
                spool.put(await self._outcomes(chunk))
            done = {"done": True, "lines": self._tally.lines} | {
                "accepted": self._tally.accepted,
                "refused": self._tally.refused,
            }
            spool.put(f"{reply_text(done)}\n".encode())
        except ConnectionResetError:
            pass  # the client is gone; what it sent in whole chunks is in
        except (PenstockError, HTTPException) as error:
            stopped = {"done": False, "lines": self._tally.lines, "error": _error(error)}
            spool.put(f"{reply_text(stopped)}\n".encode())
        finally:
            spool.end()

    async def _chunks(self, receive: Receive) -> AsyncIterator[Chunk]:
        """Chunks as they fill, or when nothing came for a moment."""
        cutter, chunk = LineCutter(self._service.config.max_bulk_line), Chunk()
        async for data in _parts(receive):
            for number, line in cutter.cut(data):
                chunk.add(number, line)
                if chunk.full:
                    yield chunk
                    chunk = Chunk()
            if not data and chunk.lines:
                yield chunk
                chunk = Chunk()
        for number, line in cutter.last():
            chunk.add(number, line)
        if chunk.lines:
            yield chunk

    async def _outcomes(self, chunk: Chunk) -> bytes:
        """Add what can be added; a line of outcome for each."""
        told: dict[int, dict[str, Any]] = {}
        ready: list[tuple[int, Submission]] = []
        for number, line in chunk.lines:
            try:
                ready.append((number, self._submission(number, line)))
            except (PenstockError, HttpProblem) as error:
                told[number] = {"line": number, "error": _error(error)}
        told |= await self._add(ready)
        self._tally.lines += len(told)
        refused = sum("error" in one for one in told.values())
        self._tally.refused += refused
        self._tally.accepted += len(told) - refused
        return b"".join(f"{reply_text(told[number])}\n".encode() for number, _ in chunk.lines)

    def _submission(self, number: int, line: bytes | None) -> Submission:
        if line is None:
            most = self._service.config.max_bulk_line
            raise HttpProblem(413, "too_large", f"the line is longer than {most:,} bytes")
        try:
            one = TaskIn.model_validate(read_json(line))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise HttpProblem(422, "invalid_request", f"{where}: {first['msg']}", param=where) from None
        except ValueError as error:
            raise HttpProblem(422, "invalid_json", f"the line is no JSON: {error}") from None
        key = None
        if self._terms.key is not None and one.idempotency_key is None:
            key = f"{self._terms.key}:{number}"
        return submission_of(self._service, self._principal, one, key, self._terms.batch)

    async def _add(self, ready: Sequence[tuple[int, Submission]]) -> dict[int, dict[str, Any]]:
        told: dict[int, dict[str, Any]] = {}
        tasks: list[tuple[int, NewTask]] = []
        for number, one in ready:
            try:
                await check_after(self._service, self._principal, [one])
                tasks.append((number, prepare(self._service, one)))
            except PenstockError as error:
                if isinstance(error, StoreError):
                    raise
                told[number] = {"line": number, "error": _error(error)}
        new = [task for _, task in tasks]
        outcomes = await self._service.engine.node.committer.do("add", new) if new else []
        self._service.engine.notice(*entered(outcomes, new))
        for (number, _), outcome in zip(tasks, outcomes, strict=True):
            if _refused(outcome):
                told[number] = {"line": number, "error": _error(outcome)}
            else:
                told[number] = {"line": number, "task_id": outcome.id, "status": str(TaskStatus.QUEUED)}
                if isinstance(outcome, Existing):
                    told[number] = {"line": number, "task_id": outcome.id, "message": KNOWN}
        return told


async def _parts(receive: Receive) -> AsyncIterator[bytes]:
    """The body's parts, and empty ones when none came for a moment. Raises `ConnectionResetError`."""
    waiting: asyncio.Task[Message] | None = None
    try:
        while True:
            if waiting is None:
                waiting = asyncio.ensure_future(receive())
            done, _ = await asyncio.wait({waiting}, timeout=PATIENCE_SECONDS)
            if not done:
                yield b""
                continue
            message, waiting = waiting.result(), None
            if message["type"] == "http.disconnect":
                raise ConnectionResetError
            if message.get("body"):
                yield message["body"]
            if not message.get("more_body"):
                return
    finally:
        if waiting is not None:
            waiting.cancel()


def _refused(outcome: Any) -> bool:
    return isinstance(outcome, PenstockError)


def _error(error: PenstockError | HttpProblem | HTTPException) -> dict[str, Any]:
    if isinstance(error, HTTPException):
        return {"code": "http_error", "message": str(error.detail)}
    told = {"code": error.code, "message": str(error)}
    param = getattr(error, "param", None)
    return told if param is None else {**told, "param": param}
