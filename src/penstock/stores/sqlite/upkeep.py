"""Looking after a file: giving space back, copying it while it is used, verifying it."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing, nullcontext
from pathlib import Path

from penstock.errors import StoreError
from penstock.stores.sqlite.connection import STATEMENTS, SqliteDatabase, connect
from penstock.stores.sqlite.failures import translate_os

_PAGES_PER_STEP = 1000


def free_some(connection: sqlite3.Connection) -> bool:
    """Give some of the freed pages back to the file system; whether there are more."""
    before = connection.execute("pragma page_count").fetchone()[0]
    connection.execute(f"pragma incremental_vacuum({_PAGES_PER_STEP})").fetchall()
    after: int = connection.execute("pragma page_count").fetchone()[0]
    return after < before and bool(connection.execute("pragma freelist_count").fetchone()[0])


def empty_log(connection: sqlite3.Connection) -> None:
    """Move the write-ahead log into the file and cut it, unless a reader stays in the way."""
    patience = connection.execute("pragma busy_timeout").fetchone()[0]
    connection.execute("pragma busy_timeout = 200").fetchall()
    try:
        connection.execute("pragma wal_checkpoint(truncate)").fetchall()
    finally:
        connection.execute(f"pragma busy_timeout = {patience}").fetchall()


def backup(memory: sqlite3.Connection | None, path: str, target: str, lock: threading.RLock) -> None:
    """Copy the store into the new file `target`, private to the user; writers go on meanwhile."""
    file = Path(target).expanduser().resolve()
    try:
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        raise StoreError(f"{file} exists already; name a new file for the backup") from None
    except OSError as error:
        raise translate_os(error, str(file)) from error
    try:
        # A connection of its own reads one consistent state; that in memory has no other.
        source = memory or connect(path, write=False, durability="full", busy_seconds=30.0)
        with nullcontext() if memory is None else lock, closing(sqlite3.connect(file)) as copy:
            try:
                source.execute("begin")
                source.execute("select count(*) from counters").fetchall()
                source.backup(copy, pages=_PAGES_PER_STEP)
                source.execute("rollback")
            finally:
                if memory is None:
                    source.close()
            copy.execute("pragma journal_mode = wal").fetchall()
    except BaseException:
        file.unlink(missing_ok=True)
        raise


def verify(database: SqliteDatabase) -> list[str]:
    """What is wrong with the file and with the data in it, one line per fault."""
    checked = database.connection.execute("pragma integrity_check(20)").fetchall()
    faults = [text for (text,) in checked if text != "ok"]
    for name in STATEMENTS:
        if name.startswith("verify_"):
            faults += [text for (text,) in database.rows(name)]
    return faults
