"""What SQLite and the operating system say, as errors that a user can act on."""

from __future__ import annotations

import errno
import sqlite3

from penstock.errors import (
    InvalidTask,
    PenstockError,
    StoreBusy,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreReadOnly,
)

# Extended codes of SQLITE_IOERR that come from writing: a quota and a file-size limit end here, a full disk
# mostly as SQLITE_FULL.
_WRITE_FAILED = {
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_IOERR_TRUNCATE,
}


def translate(error: sqlite3.Error, path: str) -> PenstockError | None:
    """The error of ours that says the same, naming the file; `None` when it is a fault of the program."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return None
    if code in _WRITE_FAILED:
        return StoreFull(
            f"{path} could not be written ({error}): the disk, a quota or a file-size limit is exhausted, "
            "or the disk fails; make room and start again, everything acknowledged is kept"
        )
    found = _BY_CODE.get(code & 0xFF)
    if found is None:
        return _refused_row(error, code)
    kind, advice = found
    return kind(f"{path}: {error}; {advice}")


_BY_CODE: dict[int, tuple[type[StoreError], str]] = {
    sqlite3.SQLITE_FULL: (
        StoreFull,
        "the disk is full: make room and start again, everything acknowledged is kept",
    ),
    sqlite3.SQLITE_READONLY: (
        StoreReadOnly,
        "the file or its folder may not be written by this user: change owner or mode, or name another store",
    ),
    sqlite3.SQLITE_PERM: (StoreReadOnly, "change the owner or mode of the file, or name another store"),
    sqlite3.SQLITE_BUSY: (
        StoreBusy,
        "another process holds its lock and did not let go in time; see who has it open, then try again",
    ),
    sqlite3.SQLITE_LOCKED: (StoreBusy, "another connection holds its lock; try again"),
    sqlite3.SQLITE_CORRUPT: (
        StoreCorrupt,
        "the file is damaged: keep a copy, restore a backup, and see what `penstock db verify` finds in it",
    ),
    sqlite3.SQLITE_NOTADB: (
        StoreCorrupt,
        "this is no SQLite file, or its beginning is damaged: restore a backup, or name another store",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        StoreError,
        "the file cannot be opened: check that its folder exists and may be read and written by this user",
    ),
    sqlite3.SQLITE_IOERR: (
        StoreError,
        "reading or writing failed: check the disk, then run `penstock db verify`",
    ),
}


def _refused_row(error: sqlite3.Error, code: int) -> PenstockError | None:
    if code in (sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY) and "tasks.id" in str(
        error
    ):
        return InvalidTask("a task of this id is in the store already")
    return None


def translate_os(error: OSError, path: str) -> StoreError:
    """The same for the operating system's errors while files are made."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StoreFull(f"{path}: {error.strerror}; make room and start again")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StoreReadOnly(
            f"{path}: {error.strerror}; name a store in a folder that this user may write, or change its mode"
        )
    return StoreError(f"{path}: {error.strerror or error}; name another store")
