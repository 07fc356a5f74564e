"""What an input was when it was read: a chain of hashes over blocks of 256 KiB, and a hash of the rest.

A chain, so that reading can go on from any place without hashing from the beginning.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

BLOCK = 256 * 1024


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """`chained` bytes (whole blocks) gave `chain`, those behind them `rest`. `size` and `modified`
    (nanoseconds) are the file's own word for not having changed."""

    chain: str = ""
    chained: int = 0
    rest: str = hashlib.sha256().hexdigest()
    size: int = -1
    modified: int = -1

    def as_text(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def read(cls, text: str) -> Fingerprint:
        return cls(**json.loads(text)) if text else cls()


class Chain:
    """Hashes bytes as they are read; it can begin where an earlier fingerprint had whole blocks."""

    def __init__(self, chain: str = "", chained: int = 0) -> None:
        self.chain = chain
        self.chained = chained
        self._block = bytearray()

    def add(self, data: bytes) -> None:
        self._block += data
        while len(self._block) >= BLOCK:
            inner = hashlib.sha256(self._block[:BLOCK]).digest()
            self.chain = hashlib.sha256(self.chain.encode() + inner).hexdigest()
            self.chained += BLOCK
            del self._block[:BLOCK]

    def fingerprint(self, file: IO[bytes] | None = None) -> Fingerprint:
        """Everything added so far; with what the file system says of `file`."""
        size, modified = -1, -1
        if file is not None:
            about = os.fstat(file.fileno())
            size, modified = about.st_size, about.st_mtime_ns
        return Fingerprint(self.chain, self.chained, hashlib.sha256(self._block).hexdigest(), size, modified)


def changed(path: Path, read_bytes: int, seen: Fingerprint) -> str | None:
    """How the first `read_bytes` of the file differ from what was seen, in words; None when they do not."""
    with path.open("rb") as file:
        about = os.fstat(file.fileno())
        if about.st_size < read_bytes:
            return f"it has {about.st_size:,} bytes now, and {read_bytes:,} had been read"
        trusted = (about.st_size, about.st_mtime_ns) == (seen.size, seen.modified)
        chain = Chain(seen.chain, seen.chained) if trusted else Chain()
        file.seek(chain.chained)
        for piece in _pieces(file, read_bytes - chain.chained):
            chain.add(piece)
        found = chain.fingerprint()
        if (found.chain, found.rest) != (seen.chain, seen.rest):
            return f"its first {read_bytes:,} bytes are not what had been read"
        if _ends_inside_line(file, read_bytes):
            return "the last line that had been read goes on now"
    return None


def _pieces(file: IO[bytes], size: int) -> Iterator[bytes]:
    while size > 0 and (data := file.read(min(BLOCK, size))):
        size -= len(data)
        yield data


def _ends_inside_line(file: IO[bytes], offset: int) -> bool:
    if offset == 0:
        return False
    file.seek(offset - 1)
    around = file.read(2)
    return len(around) == 2 and around[:1] != b"\n" and around[1:] != b"\n"
