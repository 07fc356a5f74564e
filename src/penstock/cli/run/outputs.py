"""The two output files: appended to, cut to what the store says of them, rebuilt from it when they are
damaged."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO

from penstock.cli.run.books import Books
from penstock.cli.run.records import error_code, record, succeeded
from penstock.errors import ConfigurationError
from penstock.model.batch import Batch
from penstock.stores.contract import FinishedLine, Reader, Store

REBUILD_PAGE = 200

if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[bytes]) -> None:
        # One byte far behind any text, so that the file can still be read.
        file.seek(1 << 62)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: IO[bytes]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


class Outputs:
    """Both files of a batch, open for appending and locked: nobody else writes them."""

    def __init__(self, batch: Batch, sync: bool) -> None:
        self._sync = sync
        self.results = _open(Path(batch.output_path))
        try:
            self.errors = _open(Path(batch.errors_path))
        except BaseException:
            self.results.close()
            raise

    def reopen(self, batch: Batch) -> None:
        """Begin to append to the files that are there now (`mend` may have put others in their place), behind
        the recorded lengths: what is there was being written when an earlier run was killed."""
        self.close()
        self.results, self.errors = _open(Path(batch.output_path)), _open(Path(batch.errors_path))
        for file, length in ((self.results, batch.results_bytes), (self.errors, batch.errors_bytes)):
            file.truncate(length)
            file.seek(length)

    def append(self, lines: list[FinishedLine]) -> tuple[int, int]:
        """Write a record for each line; the bytes added to results and errors, safe on disk when that was
        asked for."""
        added = (
            _write(self.results, [record(line) for line in lines if succeeded(line)]),
            _write(self.errors, [record(line) for line in lines if not succeeded(line)]),
        )
        for file, size in zip((self.results, self.errors), added, strict=True):
            if size and self._sync:
                os.fsync(file.fileno())
        return added

    def close(self) -> None:
        self.results.close()
        self.errors.close()


def mend(store: Store, batch: Batch, say: Callable[[str], None]) -> Batch:
    """Make the files fit the batch: what is missing or stale is written again from the store.

    Raises `ConfigurationError` when the store does not have it any more.
    """
    books = Books.of(batch)
    results, errors = Path(batch.output_path), Path(batch.errors_path)
    if (shown := _shorter(results, batch.results_bytes)) is not None:
        say(f"{results} {shown}; writing it again from the store")
        size, count = _rebuild(store, batch, results, succeeded, batch.results_lines)
        batch = replace(batch, results_bytes=size, results_lines=count)
        _save(store, batch)
    shown = _shorter(errors, batch.errors_bytes)
    if books.stale or shown is not None:
        if shown is not None:
            say(f"{errors} {shown}; writing it again from the store")
        books.errors.clear()

        def belongs(line: FinishedLine) -> bool:
            if succeeded(line) or books.superseded(line):
                return False
            books.errors[error_code(line)] += 1
            return True

        expected = 0 if books.stale else batch.errors_lines
        size, count = _rebuild(store, batch, errors, belongs, expected)
        books.stale = False
        batch = books.on(replace(batch, errors_bytes=size, errors_lines=count))
        _save(store, batch)
    return batch


def _save(store: Store, batch: Batch) -> None:
    store.run(lambda transaction: transaction.update_batch(batch))


def _rebuild(
    store: Store, batch: Batch, path: Path, belongs: Callable[[FinishedLine], bool], expected: int
) -> tuple[int, int]:
    """Write a file anew, beside it first; its bytes and lines."""
    beside = path.with_name(path.name + ".rebuilding")
    count = 0
    with beside.open("wb") as file:
        for line in _written(store, batch):
            if belongs(line) and not (succeeded(line) and line.result is None):
                file.write(record(line).encode())
                count += 1
        file.flush()
        os.fsync(file.fileno())
        size = file.tell()
    if count < expected:
        beside.unlink()
        raise ConfigurationError(
            f"{path} is not what this job wrote, and {expected - count:,} of its {expected:,} lines are "
            "no longer in "
            "the store (--keep none, or pruned); put the file back, or begin anew with --restart"
        )
    beside.replace(path)
    return size, count


def _written(store: Store, batch: Batch) -> Iterator[FinishedLine]:
    after = 0
    while after < batch.written_no:
        page = store.read(partial(_page, batch.id, after))
        if not page:
            return
        yield from (line for line in page if line.no <= batch.written_no)
        after = page[-1].no


def _page(batch: int, after: int, reader: Reader) -> list[FinishedLine]:
    return reader.finished_lines(batch, after, REBUILD_PAGE)


def _shorter(path: Path, recorded: int) -> str | None:
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return "is missing" if recorded else None
    return f"has {size:,} bytes and should have {recorded:,}" if size < recorded else None


def _open(path: Path) -> IO[bytes]:
    file = os.fdopen(os.open(path, os.O_CREAT | os.O_RDWR, 0o666), "r+b")
    try:
        _lock(file)
    except OSError:
        file.close()
        raise ConfigurationError(
            f"{path} is being written by another process; wait for it, or name another output"
        ) from None
    return file


def _write(file: IO[bytes], records: list[str]) -> int:
    if not records:
        return 0
    data = "".join(records).encode()
    file.write(data)
    file.flush()
    return len(data)
