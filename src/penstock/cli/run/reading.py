"""Lines of the input in bounded memory, from a file or from standard input by way of a private file."""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from penstock.cli.run.fingerprint import Chain, Fingerprint

READ_BYTES = 256 * 1024
SHOWN_BYTES = 1000


class Source(Protocol):
    """Where bytes come from."""

    def read(self, size: int, wait: bool) -> bytes | None:
        """Some bytes; b"" at the end; None when there are none now and the caller would not wait."""

    def seen(self, chain: Chain) -> Fingerprint:
        """The fingerprint of what was read."""

    def size(self) -> int | None:
        """Bytes in all, when that is known."""

    def release(self) -> None:
        """Let a reader that waits for more go on as if this were the end."""

    def close(self) -> None: ...


class FileSource:
    """A file that is there."""

    def __init__(self, path: Path, offset: int) -> None:
        self._file = path.open("rb")
        self._file.seek(offset)

    def read(self, size: int, wait: bool) -> bytes | None:
        return self._file.read(size)

    def seen(self, chain: Chain) -> Fingerprint:
        return chain.fingerprint(self._file)

    def size(self) -> int | None:
        return os.fstat(self._file.fileno()).st_size

    def release(self) -> None:
        """A file keeps nobody waiting."""

    def close(self) -> None:
        self._file.close()


class Spool:
    """Copies a stream (standard input) into a private file while others read that, so that a later run can
    check and use it again."""

    def __init__(self, path: Path, stream: IO[bytes] | None = None) -> None:
        self.path = path
        self._stream = stream if stream is not None else sys.stdin.buffer
        self._writer = os.fdopen(
            os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb", buffering=0
        )
        self._reader = path.open("rb")
        self._grown = threading.Condition()
        self._written = 0
        self._ended = False
        self._failure: OSError | None = None
        self._thread = threading.Thread(target=self._copy, name="penstock-stdin", daemon=True)
        self._thread.start()

    def wait_for(self, size: int) -> int:
        """Bytes that are there, once these are at least `size` or all there will be."""
        with self._grown:
            self._grown.wait_for(lambda: self._written >= size or self._ended)
            return self._written

    def seek(self, offset: int) -> None:
        self._reader.seek(offset)

    def read(self, size: int, wait: bool) -> bytes | None:
        place = self._reader.tell()
        with self._grown:
            while self._written <= place and not self._ended:
                if not wait:
                    return None
                self._grown.wait()
            if self._failure is not None:
                raise self._failure
        return self._reader.read(size)

    def seen(self, chain: Chain) -> Fingerprint:
        return chain.fingerprint()

    def size(self) -> int | None:
        return self._written if self._ended else None

    def release(self) -> None:
        with self._grown:
            self._ended = True
            self._grown.notify_all()

    def close(self) -> None:
        self.release()
        self._reader.close()

    def _copy(self) -> None:
        try:
            while not self._ended and (data := os.read(self._stream.fileno(), READ_BYTES)):
                self._writer.write(data)
                with self._grown:
                    self._written += len(data)
                    self._grown.notify_all()
        except OSError as error:
            self._failure = error
        finally:
            self._writer.close()
            self.release()


class StreamSource:
    """Standard input, read once and not kept."""

    def read(self, size: int, wait: bool) -> bytes | None:
        return os.read(sys.stdin.fileno(), size)

    def seen(self, chain: Chain) -> Fingerprint:
        return chain.fingerprint()

    def size(self) -> int | None:
        return None

    def release(self) -> None:
        """Nobody else waits."""

    def close(self) -> None:
        """Standard input is not ours to close."""


@dataclass(frozen=True, slots=True)
class RawLine:
    """A line without its end. `size` are its bytes; `text` only its beginning when that is above the
    limit."""

    text: bytes
    size: int
    too_long: bool = False


class Lines:
    """Takes lines from a source; `offset` and `number` say how far, `fingerprint()` what went by."""

    def __init__(self, source: Source, longest: int, chain: Chain, offset: int = 0, number: int = 0) -> None:
        self._source = source
        self._longest = longest
        self._chain = chain
        self._unhashed: list[bytes] = []
        self._ready: deque[bytes] = deque()
        self._rest = b""
        self._ended = False
        self.offset = offset
        self.number = number

    def take(self, most: int) -> list[RawLine]:
        """Up to `most` lines; empty only at the end. Waits for the first line, not for more."""
        taken: list[RawLine] = []
        while len(taken) < most:
            if self._ready:
                line = self._ready.popleft()
                taken.append(self._took(line, line + b"\n"))
            elif self._ended:
                if self._rest:
                    taken.append(self._took(self._rest, self._rest))
                    self._rest = b""
                break
            elif len(self._rest) > self._longest:
                taken.append(self._pass_over())
            elif not self._fill(wait=not taken):
                break
        return taken

    def fingerprint(self) -> Fingerprint:
        """Of everything that was taken."""
        self._hash()
        return self._source.seen(self._chain)

    def _fill(self, wait: bool) -> bool:
        data = self._source.read(READ_BYTES, wait)
        if data is None:
            return False
        self._ended = not data
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        self._ready.extend(lines)
        return True

    def _took(self, line: bytes, whole: bytes) -> RawLine:
        self._unhashed.append(whole)
        self.offset += len(whole)
        self.number += 1
        if len(line) > self._longest:
            return RawLine(line[:SHOWN_BYTES], len(line), True)
        return RawLine(line, len(line))

    def _pass_over(self) -> RawLine:
        """Read to the end of a line that is too long, keeping only its beginning."""
        self._hash()
        beginning, size, piece = self._rest[:SHOWN_BYTES], 0, self._rest
        while True:
            line, newline, behind = piece.partition(b"\n")
            self._chain.add(line + newline)
            size += len(line)
            if newline:
                lines = behind.split(b"\n")
                self._rest = lines.pop()
                self._ready.extend(lines)
                break
            piece = self._source.read(READ_BYTES, wait=True) or b""
            if not piece:
                self._ended, self._rest = True, b""
                break
        self.offset += size + len(newline)
        self.number += 1
        return RawLine(beginning, size, True)

    def _hash(self) -> None:
        self._chain.add(b"".join(self._unhashed))
        self._unhashed.clear()


def lines_from(
    source: FileSource | Spool, longest: int, seen: Fingerprint, offset: int, number: int
) -> Lines:
    """Lines behind `offset` of a source that stands at `seen.chained`."""
    chain = Chain(seen.chain, seen.chained)
    while (missing := offset - seen.chained) > 0:
        data = source.read(min(missing, READ_BYTES), wait=True)
        if not data:
            break
        chain.add(data)
        seen = Fingerprint(seen.chain, seen.chained + len(data))
    return Lines(source, longest, chain, offset, number)
